//! What may not, or should not, come next: the rules over the tokens said so far.
//!
//! Reference: `RepetitionPenaltyLogitsProcessor`, `NoRepeatNGramLogitsProcessor` and
//! `MinLengthLogitsProcessor` of transformers. All count the start token.

use super::GenerationOptions;
use super::step::Rules;

/// What happens to the scores of `rows` texts; `None` where there is no rule.
pub(super) fn rules(options: &GenerationOptions, rows: usize) -> Option<Rules> {
    let settings = &options.settings;
    let runs = if settings.no_repeat_ngram_size > 0 { settings.max_new_tokens + 1 } else { 0 };
    let minimum = if settings.min_length > 1 { options.ends.len() } else { 0 };
    let rules = Rules {
        // As beam search has it; greedy decoding and sampling take raw logits.
        normalize: settings.num_beams > 1,
        penalty: settings.repetition_penalty,
        bans: rows * (runs + minimum),
    };
    (rules.normalize || rules.penalty != 1.0 || rules.bans > 0).then_some(rules)
}

/// Indices `row * vocab_size + token` of what may not come after texts of `length` tokens, the
/// start token counted in. The texts themselves matter only where runs may not be repeated.
pub(super) fn bans<'a>(
    options: &GenerationOptions,
    texts: impl Iterator<Item = &'a [u32]>,
    length: usize,
    vocab_size: usize,
) -> Vec<u32> {
    let mut bans = Vec::new();
    for (row, text) in texts.enumerate() {
        let mut banned = repeated(text, options.settings.no_repeat_ngram_size);
        if length < options.settings.min_length {
            banned.extend(&options.ends);
        }
        let inside = banned.into_iter().filter(|token| (*token as usize) < vocab_size);
        bans.extend(inside.map(|token| (row * vocab_size) as u32 + token));
    }
    bans
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
