//! What may not, or should not, come next: the rules over the tokens said so far.
//!
//! Reference: `RepetitionPenaltyLogitsProcessor`, `NoRepeatNGramLogitsProcessor` and
//! `MinLengthLogitsProcessor` of transformers. All count the start token.

use burn::tensor::{Device, Int, Tensor};

use super::GenerationOptions;
use crate::kernels::{ProcessLogits, process_logits, words_tensor};

/// The rules of one step, already on the device: made before the step's kernels are launched,
/// since an upload between them would cut their submit in two.
pub(super) struct Processors {
    /// `[rows * length]`; one id beyond every vocabulary where no penalty applies.
    history: Tensor<1, Int>,
    bans: Tensor<1, Int>,
    penalty: f32,
    /// Nothing is to be done.
    idle: bool,
}

impl Processors {
    /// The rules after these texts, which begin with the start token and are equally long.
    pub(super) fn new<'a>(
        options: &GenerationOptions,
        texts: impl Iterator<Item = &'a [u32]>,
        vocab_size: usize,
        device: &Device,
    ) -> Self {
        let penalised = options.repetition_penalty != 1.0;
        let (mut history, mut bans, mut rows) = (Vec::new(), Vec::new(), 0);
        for (row, text) in texts.enumerate() {
            rows += 1;
            if penalised {
                history.extend_from_slice(text);
            }
            let mut banned = repeated(text, options.no_repeat_ngram_size);
            if text.len() < options.min_length {
                banned.push(options.end);
            }
            let inside = banned.into_iter().filter(|token| (*token as usize) < vocab_size);
            bans.extend(inside.map(|token| (row * vocab_size) as u32 + token));
        }
        let idle = !penalised && bans.is_empty();
        // A buffer cannot be empty.
        if history.is_empty() {
            history.resize(rows, u32::MAX);
        }
        if bans.is_empty() {
            bans.push(u32::MAX);
        }
        Self {
            history: words_tensor(history, device),
            bans: words_tensor(bans, device),
            penalty: options.repetition_penalty,
            idle,
        }
    }

    /// Raw logits to what greedy decoding and sampling choose from.
    pub(super) fn of_logits(&self, logits: Tensor<2>) -> Tensor<2> {
        if self.idle { logits } else { self.apply(&logits, false) }
    }

    /// Raw logits to the log-probabilities that beam search adds up.
    pub(super) fn of_log_probabilities(&self, logits: &Tensor<2>) -> Tensor<2> {
        self.apply(logits, true)
    }

    fn apply(&self, logits: &Tensor<2>, normalize: bool) -> Tensor<2> {
        process_logits(&ProcessLogits {
            logits,
            normalize,
            history: &self.history,
            penalty: self.penalty,
            bans: &self.bans,
        })
    }
}

/// The tokens that would complete a run of `size` tokens that is already in the text.
fn repeated(text: &[u32], size: usize) -> Vec<u32> {
    if size == 0 || text.len() < size {
        return Vec::new();
    }
    let (_, beginning) = text.split_at(text.len() + 1 - size);
    let runs = text.windows(size).filter(|run| run[..size - 1] == *beginning);
    runs.map(|run| run[size - 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::repeated;

    #[test]
    fn a_run_is_not_repeated() {
        assert_eq!(repeated(&[0, 5, 6, 5], 2), [6]);
        assert_eq!(repeated(&[0, 5, 6, 7, 5, 6], 3), [7]);
        assert_eq!(repeated(&[0, 5, 6, 7, 5, 6], 4), []);
        // Runs of one: nothing that was said, the start token neither.
        assert_eq!(repeated(&[0, 5, 5], 1), [0, 5, 5]);
        assert_eq!(repeated(&[0, 5, 5], 0), []);
        assert_eq!(repeated(&[5, 5], 2), [5]);
        assert_eq!(repeated(&[0], 2), []);
    }
}
