//! `y = act(x W^T + b) + residual` over any weight format: `shaders/matvec.wgsl` for up to eight
//! rows of x, `shaders/matmul.wgsl` for more.

use burn::tensor::Tensor;

use super::activation::{self, Activation};
use super::launch::{Arg, Host, Launch, Shader, fold_grid};
use super::matrix::Matrix;
use crate::quant::Format;

/// Rows of x up to which the matrix-vector kernel is used.
pub const MATVEC_ROWS: usize = 8;
/// Invocations of a matrix-vector workgroup.
const WORKGROUP: usize = 64;

/// What happens to the product before it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added to every row, `[n]`.
    pub bias: Option<&'a Tensor<1>>,
    /// Applied after the bias.
    pub activation: Option<Activation>,
    /// Added last, `[batch, rows, n]`.
    pub residual: Option<&'a Tensor<3>>,
}

/// `[batch, rows, k]` times `[n, k]` transposed gives `[batch, rows, n]`.
///
/// # Panics
/// The last dimension of x is not the matrix's `k`: a bug in the model code, since shapes of
/// weights are checked when they are read.
#[must_use]
pub fn linear(x: &Tensor<3>, weight: &Matrix, epilogue: Epilogue<'_>) -> Tensor<3> {
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
    let (m32, n32, k32) = (m as u32, n as u32, k as u32);
    let vector = m <= MATVEC_ROWS;
    let lanes = lanes(k);
    let launch = if vector {
        Launch {
            shader: variant.matvec(m32, lanes),
            inputs,
            output: m * n,
            params: &[n32, k32],
            workgroup: WORKGROUP as u32,
            grid: fold_grid(n.div_ceil(WORKGROUP / lanes as usize)),
        }
    } else {
        let tile_m = if m <= 32 { 2 } else { 4 };
        Launch {
            shader: variant.matmul(tile_m),
            inputs,
            output: m * n,
            params: &[m32, n32, k32],
            workgroup: 256,
            grid: [n.div_ceil(64) as u32, m.div_ceil(16 * tile_m as usize) as u32, 1],
        }
    };
    launch.run(|host| variant.oracle(host, m, n, k)).reshape([batch, rows, n])
}

/// Invocations that share a row: one for every eight columns, a power of two up to 32.
fn lanes(k: usize) -> u32 {
    (k.div_ceil(8).next_power_of_two() as u32).min(32)
}

#[derive(Clone, Copy)]
struct Variant {
    format: Format,
    activation: Option<Activation>,
    bias: bool,
    residual: bool,
}

impl Variant {
    fn shader(self, name: &'static str, main: &'static str) -> Shader {
        let mut shader = Matrix::shader(name, self.format);
        shader.parts.extend([include_str!("../../shaders/activation.wgsl"), main]);
        shader.constants.push(("ACTIVATION", activation::constant(self.activation)));
        if self.bias {
            shader.flags.push("BIAS");
        }
        if self.residual {
            shader.flags.push("RESIDUAL");
        }
        shader
    }

    fn matvec(self, rows: u32, lanes: u32) -> Shader {
        let mut shader = self.shader("matvec", include_str!("../../shaders/matvec.wgsl"));
        shader.constants.extend([
            ("ROWS", rows),
            ("LANES", lanes),
            ("WORKGROUP", WORKGROUP as u32),
        ]);
        shader
    }

    fn matmul(self, tile_m: u32) -> Shader {
        let mut shader = self.shader("matmul", include_str!("../../shaders/matmul.wgsl"));
        shader.constants.push(("TILE_M", tile_m));
        shader
    }

    /// Plain triple loop, sums in f64.
    fn oracle(self, host: &[Host], m: usize, n: usize, k: usize) -> Vec<f32> {
        let weights = Matrix::unpack(host, self.format, n, k);
        let mut rest = host[Matrix::arg_count(self.format)..].iter().map(Host::floats);
        let x = rest.next().unwrap_or_default();
        let bias = self.bias.then(|| rest.next()).flatten();
        let residual = self.residual.then(|| rest.next()).flatten();
        let mut out = Vec::with_capacity(m * n);
        for i in 0..m {
            let row = &x[i * k..(i + 1) * k];
            for j in 0..n {
                let mut sum: f64 = row
                    .iter()
                    .zip(&weights[j * k..(j + 1) * k])
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum();
                sum += bias.map_or(0.0, |bias| f64::from(bias[j]));
                sum = activation::apply(self.activation, sum);
                sum += residual.map_or(0.0, |residual| f64::from(residual[i * n + j]));
                out.push(sum as f32);
            }
        }
        out
    }
}

pub(super) fn variants() -> Vec<Shader> {
    let mut shaders = Vec::new();
    for format in Format::ALL {
        for (bias, residual) in [(false, false), (true, false), (false, true), (true, true)] {
            let variant = Variant { format, activation: Some(Activation::Gelu), bias, residual };
            shaders.extend([1, 3, 8].map(|rows| variant.matvec(rows, lanes(100))));
            shaders.extend([2, 4].map(|tile_m| variant.matmul(tile_m)));
        }
    }
    shaders
}
