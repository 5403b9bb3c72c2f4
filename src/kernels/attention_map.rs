//! Attention probabilities, averaged over heads: `shaders/attention_map.wgsl`.

use burn::tensor::Tensor;

use super::launch::{Host, Launch, Shader, Work, kernel};
use crate::config::MAX_HEAD_WIDTH;

kernel! {
    name: "attention_map",
    parts: [],
    params: { heads: u32, keys: u32, scale: f32 },
    variants: variants,
}

const WORKGROUP: u32 = 64;

/// `q` `[1, queries, heads * width]` and `k` `[1, keys, heads * width]` to the probabilities with
/// which each query looks at each key, `[queries, keys]`. `scale` multiplies q . k.
///
/// This is the mean over heads of what the reference returns with `output_attentions=True`.
#[must_use]
pub fn attention_map(q: &Tensor<3>, k: &Tensor<3>, heads: usize, scale: f32) -> Tensor<2> {
    let [_, queries, inner] = q.dims();
    let keys = k.dims()[1];
    let width = inner / heads;
    Launch {
        shader: shader(width as u32),
        inputs: vec![q.into(), k.into()],
        output: queries * keys,
        params: &Params { heads: heads as u32, keys: keys as u32, scale },
        workgroup: WORKGROUP,
        grid: [queries as u32, 1, 1],
        work: Work::default(),
    }
    .run(|host| oracle(host, [queries, keys, heads, width], scale))
    .reshape([queries, keys])
}

fn oracle(host: &[Host], sizes: [usize; 4], scale: f32) -> Vec<f32> {
    let [queries, keys, heads, width] = sizes;
    let (q, k) = (host[0].floats(), host[1].floats());
    let row = |values: &[f32], i: usize, h: usize| -> Vec<f64> {
        values[(i * heads + h) * width..][..width].iter().map(|x| f64::from(*x)).collect()
    };
    let mut out = vec![0.0f64; queries * keys];
    for t in 0..queries {
        for h in 0..heads {
            let query = row(q, t, h);
            let dot = |key: Vec<f64>| query.iter().zip(key).map(|(a, b)| a * b).sum::<f64>();
            let scores: Vec<f64> =
                (0..keys).map(|s| f64::from(scale) * dot(row(k, s, h))).collect();
            let largest = scores.iter().copied().fold(f64::MIN, f64::max);
            let total: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
            for (out, score) in out[t * keys..][..keys].iter_mut().zip(&scores) {
                *out += (score - largest).exp() / total / heads as f64;
            }
        }
    }
    out.into_iter().map(|p| p as f32).collect()
}

fn shader(width: u32) -> Shader {
    KERNEL.shader(vec![("WIDTH", width), ("WORKGROUP", WORKGROUP)], vec![])
}

fn variants() -> Vec<Shader> {
    [24, 64, MAX_HEAD_WIDTH as u32].into_iter().map(shader).collect()
}
