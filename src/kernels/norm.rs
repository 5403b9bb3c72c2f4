//! Norms over the last dimension: `shaders/norm.wgsl`.

use burn::tensor::Tensor;

use super::launch::{Arg, Host, Launch, Shader, Work, fold_grid, kernel};

kernel! {
    name: "norm",
    parts: [],
    params: { rows: u32, width: u32, epsilon: f32 },
    variants: || [false, true].map(shader).to_vec(),
}

/// Invocations that share a row.
const LANES: u32 = 32;
/// Rows of a workgroup.
const ROWS: u32 = 2;

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over rows of `[batch, rows, width]`.
#[must_use]
pub fn layer_norm(x: &Tensor<3>, weight: &Tensor<1>, bias: &Tensor<1>, epsilon: f32) -> Tensor<3> {
    norm(x, weight, Some(bias), epsilon)
}

/// `x / sqrt(mean(x^2) + epsilon) * weight` over rows of `[batch, rows, width]`.
#[must_use]
pub fn rms_norm(x: &Tensor<3>, weight: &Tensor<1>, epsilon: f32) -> Tensor<3> {
    norm(x, weight, None, epsilon)
}

/// With a bias the layer norm.
fn norm(x: &Tensor<3>, weight: &Tensor<1>, bias: Option<&Tensor<1>>, epsilon: f32) -> Tensor<3> {
    let [batch, rows, width] = x.dims();
    let count = batch * rows;
    Launch {
        shader: shader(bias.is_some()),
        inputs: [Some(x.into()), Some(weight.into()), bias.map(Arg::from)]
            .into_iter()
            .flatten()
            .collect(),
        output: count * width,
        params: &Params { rows: count as u32, width: width as u32, epsilon },
        workgroup: ROWS * LANES,
        grid: fold_grid(count.div_ceil(ROWS as usize)),
        work: Work::default(),
    }
    .run(|host| oracle(host, width, f64::from(epsilon)))
    .reshape([batch, rows, width])
}

fn oracle(host: &[Host], width: usize, epsilon: f64) -> Vec<f32> {
    let (weight, bias) = (host[1].floats(), host.get(2).map(Host::floats));
    let mut out = Vec::with_capacity(host[0].floats().len());
    for row in host[0].floats().chunks(width) {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / width as f64;
        let row = || row.iter().map(|x| f64::from(*x));
        let centre = bias.map_or(0.0, |_| mean(&mut row()));
        let square = mean(&mut row().map(|x| (x - centre).powi(2)));
        let scale = 1.0 / (square + epsilon).sqrt();
        for (i, x) in row().enumerate() {
            let added = bias.map_or(0.0, |bias| f64::from(bias[i]));
            out.push(((x - centre) * scale * f64::from(weight[i]) + added) as f32);
        }
    }
    out
}

fn shader(mean: bool) -> Shader {
    let flags = if mean { vec!["MEAN"] } else { vec![] };
    KERNEL.shader(vec![("LANES", LANES), ("ROWS", ROWS)], flags)
}
