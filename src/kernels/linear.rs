//! `y = act(x W^T + b) + residual` over any weight format: `shaders/matvec.wgsl` for up to eight
//! rows of x, `shaders/matmul.wgsl` for more.

use burn::tensor::Tensor;

use super::activation::{self, Activation};
use super::launch::{Arg, Host, Launch, Shader, Work};
use super::matrix::Matrix;
use super::{matmul, matvec};
use crate::quant::Format;

/// Rows of x up to which the matrix-vector kernel is used.
pub const MATVEC_ROWS: usize = 8;

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
    let size = [m, n, k].map(|count| count as u32);
    let plan = if m <= MATVEC_ROWS { matvec::plan(size) } else { matmul::plan(size) };
    let launch = Launch {
        shader: variant.shader(plan.kernel),
        inputs,
        output: m * n,
        params: &size,
        workgroup: plan.workgroup,
        grid: plan.grid,
        work: Work {
            flops: 2 * (m * n * k) as u64,
            weight_bytes: weight.byte_len(),
            ..Work::default()
        },
    };
    launch.run(|host| variant.oracle(host, m, n, k)).reshape([batch, rows, n])
}

/// Shader and grid of a bare product, for measuring it alone. It binds the matrix's buffers, x,
/// the output and the size.
pub(crate) fn alone(format: Format, size: [u32; 3]) -> (Shader, [u32; 3]) {
    let plan = if size[0] <= MATVEC_ROWS as u32 { matvec::plan(size) } else { matmul::plan(size) };
    let variant = Variant { format, activation: None, bias: false, residual: false };
    (variant.shader(plan.kernel), plan.grid)
}

/// How a product is cut into workgroups.
pub(super) struct Plan {
    pub(super) kernel: Shader,
    pub(super) workgroup: u32,
    pub(super) grid: [u32; 3],
}

#[derive(Clone, Copy)]
struct Variant {
    format: Format,
    activation: Option<Activation>,
    bias: bool,
    residual: bool,
}

impl Variant {
    /// The whole shader: weight access, activation, then the kernel itself.
    fn shader(self, kernel: Shader) -> Shader {
        let mut shader = Matrix::shader(kernel.name, self.format);
        shader.parts.push(include_str!("../../shaders/activation.wgsl"));
        shader.parts.extend(kernel.parts);
        shader.constants.push(("ACTIVATION", activation::constant(self.activation)));
        shader.constants.extend(kernel.constants);
        if self.bias {
            shader.flags.push("BIAS");
        }
        if self.residual {
            shader.flags.push("RESIDUAL");
        }
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
            let kernels = matvec::variants().into_iter().chain(matmul::variants());
            shaders.extend(kernels.map(|kernel| variant.shader(kernel)));
        }
    }
    shaders
}
