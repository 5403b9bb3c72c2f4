//! `y = act(x W^T + b) + residual` over any weight format, alone or together with what T5 does
//! before and after it: `shaders/matvec.wgsl` for few rows of x, where all is one dispatch;
//! `shaders/matmul.wgsl` for more, with norm and gate as dispatches of their own.

use burn::tensor::{Int, Tensor};

use super::activation::{self, Activation};
use super::launch::{Arg, Host, Launch, Shader, Work};
use super::matrix::Matrix;
use super::matvec::{Matvec, Role};
use super::{gated_activation, matmul, rms_norm};
use crate::quant::Format;

/// Rows of x up to which the matrix-vector kernel is used: as many as texts are decoded at once.
pub const MATVEC_ROWS: usize = 10;

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

/// T5's norm, of the rows of x before the product.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// `[k]`.
    pub gain: &'a Tensor<1>,
    /// Added to the mean of the squares.
    pub epsilon: f32,
}

impl Norm<'_> {
    fn apply(self, x: &Tensor<3>) -> Tensor<3> {
        rms_norm(x, self.gain, self.epsilon)
    }
}

/// `[batch, rows, k]` times `[n, k]` transposed gives `[batch, rows, n]`.
///
/// # Panics
/// The last dimension of x is not the matrix's `k`: a bug in the model code, since shapes of
/// weights are checked when they are read.
#[must_use]
pub fn linear(x: &Tensor<3>, weight: &Matrix, epilogue: Epilogue<'_>) -> Tensor<3> {
    if few_rows(x) {
        return Matvec::new(x, weight, epilogue).run();
    }
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
    let plan = matmul::plan(size);
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
    launch.run(|host| variant.oracle(host, n, k)).reshape([batch, rows, n])
}

/// [`linear`] of the normed x.
#[must_use]
pub fn linear_normed(
    x: &Tensor<3>,
    norm: Norm<'_>,
    weight: &Matrix,
    epilogue: Epilogue<'_>,
) -> Tensor<3> {
    if few_rows(x) {
        return Matvec { norm: Some(norm), ..Matvec::new(x, weight, epilogue) }.run();
    }
    linear(&norm.apply(x), weight, epilogue)
}

/// `act(gate y) * up y` with y the normed x: the first half of T5's feed-forward.
#[must_use]
pub fn linear_gated(
    x: &Tensor<3>,
    norm: Norm<'_>,
    [gate, up]: [&Matrix; 2],
    activation: Activation,
) -> Tensor<3> {
    let epilogue = Epilogue { activation: Some(activation), ..Epilogue::default() };
    // One shader reads both matrices, so they must be packed alike.
    if few_rows(x) && gate.format() == up.format() {
        let matvec = Matvec::new(x, gate, epilogue);
        return Matvec { norm: Some(norm), role: Role::Gate(up), ..matvec }.run();
    }
    let y = norm.apply(x);
    let plain = Epilogue::default();
    gated_activation(&linear(&y, gate, plain), &linear(&y, up, plain), activation)
}

/// Keys and values of the normed x `[rows, 1, k]`, one token of every text, written to the row
/// `position` of `cache` `[rows, capacity, 2 * n]`, which is returned: keys first, then values.
/// The memory is changed under every clone of it.
///
/// # Panics
/// There are more rows than [`MATVEC_ROWS`].
#[must_use]
pub fn linear_cached(
    x: &Tensor<3>,
    norm: Norm<'_>,
    [key, value]: [&Matrix; 2],
    cache: Tensor<3>,
    position: &Tensor<1, Int>,
) -> Tensor<3> {
    assert!(few_rows(x), "rows of a step");
    let capacity = cache.dims()[1];
    let run = |weight, second, column, cache| {
        let matvec = Matvec::new(x, weight, Epilogue::default());
        let role = Role::Cache { second, position, capacity, column };
        Matvec { norm: Some(norm), role, ..matvec }.run_in_place(cache)
    };
    // One shader reads both matrices, so they must be packed alike.
    if key.format() == value.format() {
        return run(key, Some(value), 0, cache);
    }
    let cache = run(key, None, 0, cache);
    run(value, None, key.n(), cache)
}

fn few_rows(x: &Tensor<3>) -> bool {
    let [batch, rows, _] = x.dims();
    batch * rows <= MATVEC_ROWS
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
        shader.flags.extend(kernel.flags);
        if self.bias {
            shader.flags.push("BIAS");
        }
        if self.residual {
            shader.flags.push("RESIDUAL");
        }
        shader
    }

    /// Plain triple loop, sums in f64.
    fn oracle(self, host: &[Host], n: usize, k: usize) -> Vec<f32> {
        let weights = Matrix::unpack(host, self.format, n, k);
        let mut rest = host[Matrix::arg_count(self.format)..].iter().map(Host::floats);
        let x: Vec<f64> = rest.next().unwrap_or_default().iter().map(|x| f64::from(*x)).collect();
        let bias = self.bias.then(|| rest.next()).flatten();
        let residual = self.residual.then(|| rest.next()).flatten();
        let sums = product(&x, &weights, k).into_iter().enumerate();
        sums.map(|(i, sum)| {
            let sum = sum + bias.map_or(0.0, |bias| f64::from(bias[i % n]));
            let sum = activation::apply(self.activation, sum);
            (sum + residual.map_or(0.0, |residual| f64::from(residual[i]))) as f32
        })
        .collect()
    }
}

/// Rows of x times rows of w, all `k` wide.
pub(super) fn product(x: &[f64], w: &[f32], k: usize) -> Vec<f64> {
    let dot = |x: &[f64], w: &[f32]| x.iter().zip(w).map(|(a, b)| a * f64::from(*b)).sum();
    x.chunks(k).flat_map(|x| w.chunks(k).map(move |w| dot(x, w))).collect()
}

pub(super) fn variants() -> Vec<Shader> {
    let mut shaders = Vec::new();
    for format in Format::ALL {
        for (bias, residual) in [(false, false), (true, false), (false, true), (true, true)] {
            let variant = Variant { format, activation: Some(Activation::Gelu), bias, residual };
            shaders.extend(matmul::variants().into_iter().map(|kernel| variant.shader(kernel)));
        }
    }
    shaders
}
