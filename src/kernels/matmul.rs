//! The product with many rows of x: `shaders/matmul.wgsl`.

use super::launch::Shader;
use super::linear::Plan;

/// For x `[m, k]` and weights `[n, k]`.
pub(super) fn plan([m, n, _]: [u32; 3]) -> Plan {
    let tile_m = if m <= 32 { 2 } else { 4 };
    Plan {
        kernel: kernel(tile_m),
        workgroup: 256,
        grid: [n.div_ceil(64), m.div_ceil(16 * tile_m), 1],
    }
}

fn kernel(tile_m: u32) -> Shader {
    Shader {
        name: "matmul",
        parts: vec![include_str!("../../shaders/matmul.wgsl")],
        constants: vec![("TILE_M", tile_m)],
        flags: Vec::new(),
    }
}

pub(super) fn variants() -> Vec<Shader> {
    [2, 4].map(kernel).into()
}
