//! Penalties and bans on the next token: `shaders/process_logits.wgsl`.
//!
//! Reference: `RepetitionPenaltyLogitsProcessor`, `NoRepeatNGramLogitsProcessor` and
//! `MinLengthLogitsProcessor` of transformers. The last two only forbid, so the host names what
//! they forbid.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Host, Launch, Shader, Work, fold_grid, kernel};
use super::log_probability::log_sum_exp;
use super::token_history::{self, TokenHistory};

kernel! {
    name: "process_logits",
    parts: ["reduce", "token_history"],
    params: { rows: u32, width: u32, ban_count: u32, penalty: f32 },
    variants: variants,
}

const WORKGROUP: u32 = 256;

/// What is done to the logits before a token is chosen.
#[derive(Clone, Debug)]
pub struct ProcessLogits<'a> {
    /// `[rows, width]`.
    pub logits: &'a Tensor<2>,
    /// Log-softmax first: beam search penalises log-probabilities, all else raw logits.
    pub normalize: bool,
    /// The penalty falls on the tokens up to `position`, on each once however often it occurs.
    pub history: &'a TokenHistory,
    /// Where in its text the last token stands, one word.
    pub position: &'a Tensor<1, Int>,
    /// Above 1 lowers these tokens: negative values times it, others divided by it.
    pub penalty: f32,
    /// Indices `row * width + token` of what may not come; those beyond the logits are ignored.
    pub bans: &'a Tensor<1, Int>,
}

/// The processed logits, `[rows, width]`; banned ones are `f32::MIN`.
#[must_use]
pub fn process_logits(spec: &ProcessLogits<'_>) -> Tensor<2> {
    let [rows, width] = spec.logits.dims();
    let [bans] = spec.bans.dims();
    assert_eq!(rows, spec.history.rows(), "texts");
    Launch {
        shader: shader(spec.normalize),
        inputs: vec![
            Arg::from(spec.logits),
            Arg::from(spec.history.words()),
            Arg::from(spec.position),
            Arg::from(spec.bans),
        ],
        output: rows * width,
        params: &Params {
            rows: rows as u32,
            width: width as u32,
            ban_count: bans as u32,
            penalty: spec.penalty,
        },
        workgroup: WORKGROUP,
        grid: fold_grid(rows),
        work: Work::default(),
    }
    .run(|host| oracle(host, width, spec))
    .reshape([rows, width])
}

fn oracle(host: &[Host], width: usize, spec: &ProcessLogits<'_>) -> Vec<f32> {
    let mut out = Vec::new();
    let (words, position) = (host[1].words(), host[2].words()[0] as usize);
    let ids = |at| token_history::ids(words, at, spec.history.rows());
    for (r, row) in host[0].floats().chunks(width).enumerate() {
        let shift = if spec.normalize { log_sum_exp(row) } else { 0.0 };
        let values: Vec<f32> = row.iter().map(|x| (f64::from(*x) - shift) as f32).collect();
        let mut processed = values.clone();
        for token in (0..=position).map(|at| ids(at)[r] as usize) {
            if let Some(value) = values.get(token) {
                let penalised =
                    if *value < 0.0 { value * spec.penalty } else { value / spec.penalty };
                processed[token] = penalised;
            }
        }
        out.extend(processed);
    }
    for index in host[3].words() {
        if let Some(value) = out.get_mut(*index as usize) {
            *value = f32::MIN;
        }
    }
    out
}

fn shader(normalize: bool) -> Shader {
    KERNEL
        .shader(vec![("WORKGROUP", WORKGROUP)], if normalize { vec!["NORMALIZE"] } else { vec![] })
}

fn variants() -> Vec<Shader> {
    vec![shader(false), shader(true)]
}
