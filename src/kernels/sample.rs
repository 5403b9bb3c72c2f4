//! Draws the next token: `shaders/sample.wgsl`.
//!
//! Reference: `TemperatureLogitsWarper`, `TopKLogitsWarper` and `TopPLogitsWarper` of
//! transformers in this order, then a draw. Tokens with equal scores at the edge of top-p stay or
//! go together; the reference cuts between them in the order of its sort.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Launch, Shader, Work, fold_grid, kernel};
use super::token_history::TokenHistory;

kernel! {
    name: "sample",
    parts: ["reduce", "token_history"],
    params: { rows: u32, width: u32, top_k: u32, top_p: f32, temperature: f32 },
    variants: || vec![shader()],
}

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

/// Writes the tokens after `position` (one word) into `history`, which is returned: for each row
/// of `scores` `[rows, width]` one drawn by the uniform `draws` `[rows]` (f32 bits, in `0..1`), and
/// its log-probability among the tokens left. The memory is changed under every clone of the
/// history.
#[must_use]
pub fn sample(
    scores: &Tensor<2>,
    draws: &Tensor<1, Int>,
    warp: Warp,
    history: TokenHistory,
    position: &Tensor<1, Int>,
) -> TokenHistory {
    let [rows, width] = scores.dims();
    assert_eq!(rows, history.rows(), "texts");
    let launch = Launch {
        shader: shader(),
        inputs: vec![Arg::from(scores), Arg::from(draws), Arg::from(position)],
        output: history.words().dims()[0],
        params: &Params {
            rows: rows as u32,
            width: width as u32,
            top_k: warp.top_k.min(width) as u32,
            top_p: warp.top_p,
            temperature: warp.temperature,
        },
        workgroup: WORKGROUP,
        grid: fold_grid(rows),
        work: Work::default(),
    };
    history.extended(launch, |host| {
        let rows = host[0].floats().chunks(width).zip(host[1].words());
        let draw =
            |(row, draw): (&[f32], &u32)| choose(row, f64::from(f32::from_bits(*draw)), warp);
        (host[2].words()[0], rows.map(draw).collect())
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

fn shader() -> Shader {
    KERNEL.shader(vec![("WORKGROUP", WORKGROUP)], vec![])
}
