//! The product with few rows of x: `shaders/matvec.wgsl`.

use super::launch::{Shader, fold_grid};
use super::linear::Plan;

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// For x `[m, k]` and weights `[n, k]`, m at most 8.
pub(super) fn plan([m, n, k]: [u32; 3]) -> Plan {
    let lanes = lanes(k);
    Plan {
        kernel: kernel(m, lanes),
        workgroup: WORKGROUP,
        grid: fold_grid(n.div_ceil(WORKGROUP / lanes) as usize),
    }
}

/// Invocations that share a row: one for every eight columns, a power of two up to 32.
fn lanes(k: u32) -> u32 {
    k.div_ceil(8).next_power_of_two().min(32)
}

fn kernel(rows: u32, lanes: u32) -> Shader {
    Shader {
        name: "matvec",
        parts: vec![include_str!("../../shaders/matvec.wgsl")],
        constants: vec![("ROWS", rows), ("LANES", lanes), ("WORKGROUP", WORKGROUP)],
        flags: Vec::new(),
    }
}

pub(super) fn variants() -> Vec<Shader> {
    [1, 3, 8].map(|rows| kernel(rows, lanes(100))).into()
}
