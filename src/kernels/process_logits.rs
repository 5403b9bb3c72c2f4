//! Penalties and bans on the next token: `shaders/process_logits.wgsl`.
//!
//! Reference: `RepetitionPenaltyLogitsProcessor`, `NoRepeatNGramLogitsProcessor` and
//! `MinLengthLogitsProcessor` of transformers. The last two only forbid, so the host names what
//! they forbid.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Host, Launch, Shader, Work, fold_grid};
use super::log_probability::log_sum_exp;

const WORKGROUP: u32 = 256;

/// What is done to the logits before a token is chosen.
#[derive(Clone, Debug)]
pub struct ProcessLogits<'a> {
    /// `[rows, width]`.
    pub logits: &'a Tensor<2>,
    /// Log-softmax first: beam search penalises log-probabilities, all else raw logits.
    pub normalize: bool,
    /// Tokens that the penalty falls on, `[rows, n]`, each once however often it occurs.
    pub history: &'a Tensor<1, Int>,
    /// Above 1 lowers these tokens: negative values times it, others divided by it.
    pub penalty: f32,
    /// Indices `row * width + token` of what may not come; those beyond the logits are ignored.
    pub bans: &'a Tensor<1, Int>,
}

/// The processed logits, `[rows, width]`; banned ones are `f32::MIN`.
#[must_use]
pub fn process_logits(spec: &ProcessLogits<'_>) -> Tensor<2> {
    let [rows, width] = spec.logits.dims();
    let (history, [bans]) = (spec.history.dims()[0], spec.bans.dims());
    let length = history / rows;
    Launch {
        shader: shader(spec.normalize),
        inputs: vec![Arg::from(spec.logits), Arg::from(spec.history), Arg::from(spec.bans)],
        output: rows * width,
        params: &[rows as u32, width as u32, length as u32, bans as u32, spec.penalty.to_bits()],
        workgroup: WORKGROUP,
        grid: fold_grid(rows),
        work: Work::default(),
    }
    .run(|host| oracle(host, width, length, spec))
    .reshape([rows, width])
}

fn oracle(host: &[Host], width: usize, length: usize, spec: &ProcessLogits<'_>) -> Vec<f32> {
    let mut out = Vec::new();
    for (r, row) in host[0].floats().chunks(width).enumerate() {
        let shift = if spec.normalize { log_sum_exp(row) } else { 0.0 };
        let values: Vec<f32> = row.iter().map(|x| (f64::from(*x) - shift) as f32).collect();
        let mut processed = values.clone();
        for token in &host[1].words()[r * length..(r + 1) * length] {
            if let Some(value) = values.get(*token as usize) {
                let penalised =
                    if *value < 0.0 { value * spec.penalty } else { value / spec.penalty };
                processed[*token as usize] = penalised;
            }
        }
        out.extend(processed);
    }
    for index in host[2].words() {
        if let Some(value) = out.get_mut(*index as usize) {
            *value = f32::MIN;
        }
    }
    out
}

fn shader(normalize: bool) -> Shader {
    Shader {
        name: "process_logits",
        parts: vec![
            include_str!("../../shaders/reduce.wgsl"),
            include_str!("../../shaders/process_logits.wgsl"),
        ],
        constants: vec![("WORKGROUP", WORKGROUP)],
        flags: if normalize { vec!["NORMALIZE"] } else { Vec::new() },
    }
}

pub(super) fn variants() -> Vec<Shader> {
    vec![shader(false), shader(true)]
}
