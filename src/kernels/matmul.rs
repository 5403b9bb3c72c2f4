//! The product with many rows of x: `shaders/matmul.wgsl`.

use burn::tensor::Tensor;

use super::activation::Activation;
use super::launch::{Arg, Host, Launch, Shader, Work, kernel};
use super::matrix::Matrix;
use super::product::{Epilogue, finish, product};
use crate::gpu;
use crate::quant::Format;

kernel! {
    name: "matmul",
    parts: ["activation", "multiply_add"],
    params: { m: u32, n: u32, k: u32 },
    variants: variants,
}

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

/// `[batch, rows, k]` times `[n, k]` transposed, see [`linear`](super::linear()).
pub(super) fn matmul(x: &Tensor<3>, weight: &Matrix, epilogue: Epilogue<'_>) -> Tensor<3> {
    let [batch, rows, k] = x.dims();
    let (m, n) = (batch * rows, weight.n());
    assert_eq!(k, weight.k(), "input features");
    let mut inputs = weight.args();
    inputs.push(Arg::from(x));
    inputs.extend(epilogue.bias.map(Arg::from));
    inputs.extend(epilogue.residual.map(Arg::from));
    let variant = Variant {
        format: weight.format(),
        activation: epilogue.activation,
        bias: epilogue.bias.is_some(),
        residual: epilogue.residual.is_some(),
    };
    let params = Params { m: m as u32, n: n as u32, k: k as u32 };
    let (tile, grid) = plan(params);
    let launch = Launch {
        shader: variant.shader(tile),
        inputs,
        output: m * n,
        params: &params,
        workgroup: tile.thread_rows * THREAD_COLUMNS * tile.slices,
        grid,
        work: Work {
            flops: 2 * (m * n * k) as u64,
            weight_bytes: weight.byte_len(),
            ..Work::default()
        },
    };
    launch.run(|host| variant.oracle(host, n, k)).reshape([batch, rows, n])
}

/// How a workgroup is laid out: `THREAD_ROWS`, `SLICES` and whether x is read as vectors.
#[derive(Clone, Copy)]
struct Tile {
    thread_rows: u32,
    slices: u32,
    vectors: bool,
}

/// How a product is cut, and the grid of its workgroups.
fn plan(Params { m, n, k }: Params) -> (Tile, [u32; 3]) {
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
    (Tile { thread_rows, slices, vectors: k.is_multiple_of(4) }, grid)
}

#[derive(Clone, Copy)]
struct Variant {
    format: Format,
    activation: Option<Activation>,
    bias: bool,
    residual: bool,
}

impl Variant {
    /// Weight access, activation, then the kernel itself.
    fn shader(self, tile: Tile) -> Shader {
        let mut shader = Matrix::shader(KERNEL.name, self.format);
        shader.parts.push(Activation::wgsl(self.activation));
        shader.parts.extend(KERNEL.parts);
        shader.constants.extend([
            ("THREAD_ROWS", tile.thread_rows),
            ("SLICES", tile.slices),
            // Slices halve what each does between two barriers, so they go deeper: up to 16 KiB
            // of workgroup memory, which more invocations then share.
            ("DEPTH", if tile.slices > 1 { 32 } else { 16 }),
        ]);
        let flags = [("VECTORS", tile.vectors), ("BIAS", self.bias), ("RESIDUAL", self.residual)];
        shader.flags.extend(flags.into_iter().filter_map(|(flag, on)| on.then_some(flag)));
        shader
    }

    /// Plain triple loop, sums in f64.
    fn oracle(self, host: &[Host], n: usize, k: usize) -> Vec<f32> {
        let weights = Matrix::unpack(host, self.format, n, k);
        let mut rest = host[Matrix::arg_count(self.format)..].iter().map(Host::floats);
        let x: Vec<f64> = rest.next().unwrap_or_default().iter().map(|x| f64::from(*x)).collect();
        let added = [self.bias, self.residual].map(|there| there.then(|| rest.next()).flatten());
        finish(&product(&x, &weights, k), n, self.activation, added, None)
    }
}

fn variants() -> Vec<Shader> {
    let tiles =
        [(11, 1, true), (11, 1, false), (8, 1, true), (8, 4, true), (4, 2, true), (4, 1, false)];
    let mut shaders = Vec::new();
    for format in Format::ALL {
        for (bias, residual) in [(false, false), (true, false), (false, true), (true, true)] {
            let variant = Variant { format, activation: Some(Activation::Gelu), bias, residual };
            shaders.extend(tiles.map(|(thread_rows, slices, vectors)| {
                variant.shader(Tile { thread_rows, slices, vectors })
            }));
        }
    }
    shaders
}
