//! Greedy decoding: the most likely token at every step.
//!
//! Reference: `GenerationMixin._sample` of transformers with `do_sample=False`.

use std::ops::ControlFlow;

use burn::tensor::{Int, Tensor, TensorData};

use crate::error::{Error, Result};
use crate::kernels::{argmax, words_tensor};
use crate::models::InstructBlip;
use crate::readback;

/// Limits and special ids of one decoding.
#[derive(Clone, Copy, Debug)]
pub struct GreedyOptions {
    /// At most this many tokens after the start token.
    pub max_new_tokens: usize,
    /// The end token is not allowed before this length, the start token counted in
    /// (`min_length` of transformers, `MinLengthLogitsProcessor`).
    pub min_length: usize,
    /// `decoder_start_token_id`.
    pub start: u32,
    /// `eos_token_id`.
    pub end: u32,
}

/// Why decoding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The end token came; it is the last of the ids.
    End,
    /// `max_new_tokens` were made.
    Length,
    /// `on_token` asked for it.
    Asked,
}

/// Decodes from `encoder_last_hidden_state` `[1, tokens, d_model]`; calls `on_token` with each
/// new id. Returns the ids without the start token.
///
/// # Errors
/// The GPU failed.
pub async fn greedy(
    model: &InstructBlip,
    encoded: &Tensor<3>,
    options: &GreedyOptions,
    mut on_token: impl FnMut(u32) -> ControlFlow<()>,
) -> Result<(Vec<u32>, Stop)> {
    let device = encoded.device();
    let mut state = model.start(encoded, options.max_new_tokens.max(1));
    let mut token = words_tensor(vec![options.start], &device);
    let mut ids = Vec::new();
    while ids.len() < options.max_new_tokens {
        let mut logits = model.step(&token, &mut state);
        if ids.len() + 1 < options.min_length {
            logits = forbid(logits, options.end);
        }
        // The next step reads the token where argmax wrote it; the host only watches.
        token = argmax(&logits);
        let id = read_token(&token).await?;
        ids.push(id);
        let asked = on_token(id).is_break();
        if id == options.end {
            return Ok((ids, Stop::End));
        }
        if asked {
            return Ok((ids, Stop::Asked));
        }
    }
    Ok((ids, Stop::Length))
}

/// Sets one token's logit below all others.
fn forbid(logits: Tensor<2>, id: u32) -> Tensor<2> {
    let [rows, _] = logits.dims();
    let device = logits.device();
    let lowest = Tensor::from_data(TensorData::new(vec![f32::MIN; rows], [rows, 1]), &device);
    let id = id as usize;
    logits.slice_assign([0..rows, id..id + 1], lowest)
}

async fn read_token(token: &Tensor<1, Int>) -> Result<u32> {
    readback::words(token)
        .await?
        .first()
        .copied()
        .ok_or_else(|| Error::Internal { reason: "argmax returned nothing".into() })
}
