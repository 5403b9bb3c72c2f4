//! Draws the next token: `shaders/sample.wgsl`.
//!
//! Reference: `TemperatureLogitsWarper`, `TopKLogitsWarper` and `TopPLogitsWarper` of
//! transformers in this order, then a draw. Tokens with equal scores at the edge of top-p stay or
//! go together; the reference cuts between them in the order of its sort.

use burn::tensor::{Int, Tensor};

use super::argmax::write_tokens;
use super::launch::{Arg, Launch, Shader, Work, fold_grid};

const WORKGROUP: u32 = 256;

/// How a token is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warp {
    /// Divides the scores; above 0.
    pub temperature: f32,
    /// Only this many of the best; 0 for all.
    pub top_k: usize,
    /// Only the most likely tokens until their probabilities sum to this; 1 for all.
    pub top_p: f32,
}

/// Writes the tokens after `position` into `texts`, which is returned: for each row of `scores`
/// `[rows, width]` one drawn by the uniform `draws` `[rows]` (f32 bits, in `0..1`), and the bits of
/// its log-probability (f32) among the tokens left. `texts` is as [`argmax`](super::argmax()) has it.
#[must_use]
pub fn sample(
    scores: &Tensor<2>,
    draws: &Tensor<1, Int>,
    warp: Warp,
    texts: Tensor<1, Int>,
    position: &Tensor<1, Int>,
) -> Tensor<1, Int> {
    let [rows, width] = scores.dims();
    Launch {
        shader: shader(),
        inputs: vec![Arg::from(scores), Arg::from(draws), Arg::from(position)],
        output: texts.dims()[0],
        params: &[
            rows as u32,
            width as u32,
            warp.top_k.min(width) as u32,
            warp.top_p.to_bits(),
            warp.temperature.to_bits(),
        ],
        workgroup: WORKGROUP,
        grid: fold_grid(rows),
        work: Work::default(),
    }
    .run_words_in_place(texts, |host, texts| {
        let rows = host[0].floats().chunks(width).zip(host[1].words());
        let draw =
            |(row, draw): (&[f32], &u32)| choose(row, f64::from(f32::from_bits(*draw)), warp);
        write_tokens(texts, host[2].words()[0], rows.map(draw).collect());
    })
}

/// Sorts, cuts, and walks along the sums.
fn choose(row: &[f32], draw: f64, warp: Warp) -> (u32, u32) {
    let scores: Vec<f32> = row.iter().map(|x| (x / warp.temperature).max(f32::MIN)).collect();
    let mut sorted = scores.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let largest = f64::from(sorted[0]);
    let weight = |score: f32| (f64::from(score) - largest).exp();
    let mut lowest = f32::MIN;
    if (1..sorted.len()).contains(&warp.top_k) {
        lowest = sorted[warp.top_k - 1];
    }
    if warp.top_p < 1.0 {
        sorted.retain(|score| *score >= lowest);
        let limit = f64::from(warp.top_p) * sorted.iter().map(|s| weight(*s)).sum::<f64>();
        let mut above = 0.0;
        for score in sorted {
            if above >= limit && f64::from(score) < largest {
                break;
            }
            lowest = score;
            above += weight(score);
        }
    }
    let left = || scores.iter().enumerate().filter(|(_, score)| **score >= lowest);
    let total: f64 = left().map(|(_, score)| weight(*score)).sum();
    let (mut chosen, mut passed) = (0, 0.0);
    for (i, score) in left() {
        chosen = i;
        passed += weight(*score);
        if passed > draw * total {
            break;
        }
    }
    let log_probability = f64::from(scores[chosen]) - largest - total.ln();
    (chosen as u32, (log_probability as f32).to_bits())
}

pub(super) fn shader() -> Shader {
    Shader {
        name: "sample",
        parts: vec![
            include_str!("../../shaders/reduce.wgsl"),
            include_str!("../../shaders/sample.wgsl"),
        ],
        constants: vec![("WORKGROUP", WORKGROUP)],
        flags: Vec::new(),
    }
}
