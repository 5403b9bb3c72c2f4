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
    /// `[rows * length]` tokens that the penalty falls on, and what is banned; nothing to upload
    /// or launch where there is no rule.
    rules: Option<(Tensor<1, Int>, Tensor<1, Int>)>,
    penalty: f32,
    /// Log-softmax first, as beam search has it; greedy decoding and sampling take raw logits.
    normalize: bool,
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
        let normalize = options.num_beams > 1;
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
        let rules = (normalize || penalised || !bans.is_empty()).then(|| {
            // A buffer cannot be empty; ids beyond every vocabulary do nothing.
            if !penalised {
                history.resize(rows, u32::MAX);
            }
            if bans.is_empty() {
                bans.push(u32::MAX);
            }
            (words_tensor(history, device), words_tensor(bans, device))
        });
        Self { rules, penalty: options.repetition_penalty, normalize }
    }

    /// Raw logits `[rows, vocab_size]` to what the next tokens are chosen from.
    pub(super) fn apply(&self, logits: Tensor<2>) -> Tensor<2> {
        let Some((history, bans)) = &self.rules else { return logits };
        process_logits(&ProcessLogits {
            logits: &logits,
            normalize: self.normalize,
            history,
            penalty: self.penalty,
            bans,
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
        assert!(repeated(&[0, 5, 6, 7, 5, 6], 4).is_empty());
        // Runs of one: nothing that was said, the start token neither.
        assert_eq!(repeated(&[0, 5, 5], 1), [0, 5, 5]);
        assert!(repeated(&[0, 5, 5], 0).is_empty());
        assert_eq!(repeated(&[5, 5], 2), [5]);
        assert!(repeated(&[0], 2).is_empty());
    }
}
