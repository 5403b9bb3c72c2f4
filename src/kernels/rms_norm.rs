//! The root-mean-square norm over the last dimension: `shaders/rms_norm.wgsl`.

use burn::tensor::Tensor;

use super::launch::{Arg, Host, Launch, Shader, Work, fold_grid, kernel};

kernel! {
    name: "rms_norm",
    parts: [],
    params: { rows: u32, width: u32, epsilon: f32 },
    variants: || vec![shader()],
}

/// Invocations that share a row.
const LANES: u32 = 32;
/// Rows of a workgroup.
const ROWS: u32 = 2;

/// `x / sqrt(mean(x^2) + epsilon) * weight` over rows of `[batch, rows, width]`.
#[must_use]
pub fn rms_norm(x: &Tensor<3>, weight: &Tensor<1>, epsilon: f32) -> Tensor<3> {
    let [batch, rows, width] = x.dims();
    let count = batch * rows;
    Launch {
        shader: shader(),
        inputs: vec![Arg::from(x), Arg::from(weight)],
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
    let weight = host[1].floats();
    let mut out = Vec::with_capacity(host[0].floats().len());
    for row in host[0].floats().chunks(width) {
        let mean = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / width as f64;
        let scale = 1.0 / (mean + epsilon).sqrt();
        for (x, weight) in row.iter().zip(weight) {
            out.push((f64::from(*x) * scale * f64::from(*weight)) as f32);
        }
    }
    out
}

fn shader() -> Shader {
    KERNEL.shader(vec![("LANES", LANES), ("ROWS", ROWS)], vec![])
}
