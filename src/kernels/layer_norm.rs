//! Layer norm over the last dimension: `shaders/layer_norm.wgsl`.

use burn::tensor::Tensor;

use super::launch::{Arg, Host, Launch, Shader, Work, fold_grid, kernel};

kernel! {
    name: "layer_norm",
    parts: [],
    params: { rows: u32, width: u32, epsilon: f32 },
    variants: || vec![shader()],
}

/// Invocations that share a row.
const LANES: u32 = 32;
/// Rows of a workgroup.
const ROWS: u32 = 2;

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over rows of `[batch, rows, width]`.
#[must_use]
pub fn layer_norm(x: &Tensor<3>, weight: &Tensor<1>, bias: &Tensor<1>, epsilon: f32) -> Tensor<3> {
    let [batch, rows, width] = x.dims();
    let count = batch * rows;
    Launch {
        shader: shader(),
        inputs: vec![Arg::from(x), Arg::from(weight), Arg::from(bias)],
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
    let (weight, bias) = (host[1].floats(), host[2].floats());
    let mut out = Vec::with_capacity(host[0].floats().len());
    for row in host[0].floats().chunks(width) {
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
        let variance =
            row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
        let scale = 1.0 / (variance + epsilon).sqrt();
        for (i, x) in row.iter().enumerate() {
            let y = (f64::from(*x) - mean) * scale * f64::from(weight[i]) + f64::from(bias[i]);
            out.push(y as f32);
        }
    }
    out
}

fn shader() -> Shader {
    KERNEL.shader(vec![("LANES", LANES), ("ROWS", ROWS)], vec![])
}
