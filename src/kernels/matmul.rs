//! The product with many rows of x: `shaders/matmul.wgsl`.

use super::launch::Shader;
use super::linear::Plan;
use crate::gpu;

/// Invocations side by side in a workgroup, each with eight columns.
const THREAD_COLUMNS: u32 = 8;
const COLUMNS: u32 = 8 * THREAD_COLUMNS;

/// Invocations on top of each other, each with eight rows. Few choices, since each is a pipeline
/// to compile; 11 is there because three times 88 rows hold the 257 tokens of a picture.
const THREAD_ROWS: [u32; 3] = [11, 8, 4];

/// Invocations that keep a small GPU busy.
const ENOUGH: u64 = 8192;

/// Columns of x below which a product is so short that adding up slices costs as much.
const SLICED_K: u32 = 768;

/// How a workgroup is laid out: `THREAD_ROWS`, `SLICES` and whether x is read as vectors.
#[derive(Clone, Copy)]
struct Tile {
    thread_rows: u32,
    slices: u32,
    vectors: bool,
}

/// For x `[m, k]` and weights `[n, k]`.
pub(super) fn plan([m, n, k]: [u32; 3]) -> Plan {
    let tiles = |thread_rows: &u32| m.div_ceil(8 * thread_rows);
    let [largest, ..] = THREAD_ROWS;
    let thread_rows =
        THREAD_ROWS.into_iter().min_by_key(|rows| tiles(rows) * rows).unwrap_or(largest);
    let grid = [n.div_ceil(COLUMNS), tiles(&thread_rows), 1];
    let threads = thread_rows * THREAD_COLUMNS;
    let workgroups = u64::from(grid[0]) * u64::from(grid[1]);
    let slices = match ENOUGH / (workgroups * u64::from(threads)) {
        0..=1 => 1,
        // A processor is busy with any number of invocations, and meetings are dear there.
        _ if gpu::is_software() => 1,
        // 88 rows and their columns of w leave no room for more depth, and seldom need it.
        _ if k < SLICED_K || thread_rows == largest => 1,
        2..=3 => 2,
        _ => 4,
    };
    let tile = Tile { thread_rows, slices, vectors: k % 4 == 0 };
    Plan { kernel: tile.kernel(), workgroup: threads * slices, grid }
}

impl Tile {
    fn kernel(self) -> Shader {
        // Slices halve what each does between two barriers, so they go deeper: up to 16 KiB of
        // workgroup memory, which more invocations then share.
        let depth = if self.slices > 1 { 32 } else { 16 };
        Shader {
            name: "matmul",
            parts: vec![include_str!("../../shaders/matmul.wgsl")],
            constants: vec![
                ("THREAD_ROWS", self.thread_rows),
                ("SLICES", self.slices),
                ("DEPTH", depth),
            ],
            flags: if self.vectors { vec!["VECTORS"] } else { Vec::new() },
        }
    }
}

pub(super) fn variants() -> Vec<Shader> {
    [(11, 1, true), (11, 1, false), (8, 1, true), (8, 4, true), (4, 2, true), (4, 1, false)]
        .map(|(thread_rows, slices, vectors)| Tile { thread_rows, slices, vectors }.kernel())
        .into()
}
