//! How likely the model finds given texts.
//!
//! Reference: `_predict_class` of LAVIS' InstructBLIP: teacher forcing, the loss summed over
//! a candidate's tokens, the end token included.

use crate::error::Result;
use crate::kernels::{log_probability, words_tensor};
use crate::models::LanguageModel;
use crate::models::language::Context;
use crate::pace::Pace;
use crate::readback;

/// Tokens that go through the decoder together, all candidates and paddings counted: with 32,128
/// logits each, 32 MiB.
const BATCH: usize = 256;

/// Sum of the log-probabilities of every candidate's tokens as answers to a prompt. A candidate's
/// ids end with the end token. One value a token is read back.
///
/// # Errors
/// The GPU failed, or `pace` was told to stop.
pub async fn log_likelihoods(
    model: &LanguageModel,
    context: &Context,
    candidates: &[Vec<u32>],
    pace: &Pace,
) -> Result<Vec<f32>> {
    let (device, start) = (context.device(), context.first());
    // Those of like length go together, so that little is padding.
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|index| candidates[*index].len());
    let mut likelihoods = vec![0.0; candidates.len()];
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let fits = |count: usize| count * candidates[rest[count - 1]].len() <= BATCH;
        let count = (1..=rest.len()).take_while(|count| fits(*count)).last().unwrap_or(1);
        let (batch, later) = rest.split_at(count);
        rest = later;
        let length = batch.iter().map(|index| candidates[*index].len()).max().unwrap_or(0).max(1);
        let (mut ids, mut targets) = (Vec::new(), Vec::new());
        for index in batch {
            let text = &candidates[*index];
            let padding = length - text.len();
            ids.push(start);
            ids.extend(text.iter().take(length - 1).copied());
            ids.resize(targets.len() + length, start);
            targets.extend_from_slice(text);
            // No token of any vocabulary: counts nothing.
            targets.extend(std::iter::repeat_n(u32::MAX, padding));
        }
        let (ids, targets) = (words_tensor(ids, &device), words_tensor(targets, &device));
        let logits = model.score(context, &ids, count);
        let values = log_probability(&logits, &targets);
        pace.after(&values).await?;
        let values = readback::floats(&values).await?;
        for (index, tokens) in batch.iter().zip(values.chunks(length)) {
            likelihoods[*index] = tokens.iter().map(|value| f64::from(*value)).sum::<f64>() as f32;
        }
    }
    Ok(likelihoods)
}
