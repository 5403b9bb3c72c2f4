//! Prompt → token ids for T5 and for the Q-Former; T5 ids → text.
//!
//! In: `tokenizer.json` and `qformer_tokenizer/tokenizer.json` of the checkpoint. Out:
//! [`Encoded`]: T5's ids end with `</s>`, the Q-Former's run from `[CLS]` to `[SEP]`. A prompt
//! beyond a model's length loses its beginning and keeps the special tokens, as with the
//! reference's `truncation_side="left"`. The picture's own tokens, which the reference
//! writes before T5's ids, are not part of them.
//!
//! The files come from anywhere, so `check` looks at them before the `tokenizers` crate
//! does, which panics on some malformed ones.

mod check;
mod stream;
#[cfg(test)]
mod tests;

pub use stream::Detokenizer;

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::limits;
use tokenizers::{
    PostProcessor, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy,
};

/// Most T5 tokens of a prompt, `</s>` included: what T5 was trained with.
pub const MAX_T5_TOKENS: usize = 512;
/// Most Q-Former tokens of a prompt, special ones included.
pub const MAX_QFORMER_TOKENS: usize = 512;
/// Of a longer prompt only the end is tokenised, from a word's beginning: far more than any
/// model's length, and with `check`'s bound on growth one on the tokenizers' memory.
pub const MAX_PROMPT_BYTES: usize = 16 << 10;

const T5_FILE: &str = "tokenizer.json";
const QFORMER_FILE: &str = "qformer_tokenizer/tokenizer.json";

/// Ids of the language model's vocabulary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct T5Ids(pub Vec<u32>);

/// Ids of the Q-Former's vocabulary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BertIds(pub Vec<u32>);

/// A prompt in both vocabularies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// For the language model, `</s>` last.
    pub t5: T5Ids,
    /// For the Q-Former, from `[CLS]` to `[SEP]`; empty where the model has no such tokenizer.
    pub qformer: BertIds,
    /// Whether the prompt's beginning was cut off for either model.
    pub truncated: bool,
}

/// Both tokenizers of a checkpoint.
pub struct Tokenizers {
    t5: One,
    qformer: Option<One>,
}

impl std::fmt::Debug for Tokenizers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizers")
            .field("qformer", &self.qformer.is_some())
            .finish_non_exhaustive()
    }
}

impl Tokenizers {
    /// Reads both files and checks that they fit the model.
    ///
    /// # Errors
    /// [`Error::TokenizerInvalid`] where a file is malformed, of another kind, or has ids
    /// outside the model's vocabulary, or where an instruction-aware Q-Former lacks its own.
    pub fn new(t5_json: &[u8], bert_json: Option<&[u8]>, config: &ModelConfig) -> Result<Self> {
        let text = &config.text_config;
        let t5 = One::new(T5_FILE, t5_json, text.vocab_size, MAX_T5_TOKENS)?;
        if t5.encode("a")?.0.last() != Some(&text.eos_token_id) {
            return Err(t5.invalid(format!(
                "prompts do not end with the model's end-of-sequence id {}",
                text.eos_token_id
            )));
        }
        let limit = MAX_QFORMER_TOKENS.min(config.qformer_config.max_position_embeddings);
        let qformer = bert_json
            .filter(|_| config.is_instruction_aware())
            .map(|json| One::new(QFORMER_FILE, json, config.qformer_config.vocab_size, limit))
            .transpose()?;
        if qformer.is_none() && config.is_instruction_aware() {
            return Err(Error::TokenizerInvalid {
                file: QFORMER_FILE.into(),
                reason:
                    "the file is missing; an InstructBLIP's Q-Former reads the question with it"
                        .into(),
            });
        }
        Ok(Self { t5, qformer })
    }

    /// Tokenises a question.
    ///
    /// # Errors
    /// [`Error::QuestionEmpty`] where there is nothing to read, and
    /// [`Error::TokenizerInvalid`] where a tokenizer turns out broken.
    pub fn encode(&self, prompt: &str) -> Result<Encoded> {
        if prompt.trim().is_empty() {
            return Err(Error::QuestionEmpty);
        }
        let encoded = self.encode_any(prompt)?;
        // Characters that both vocabularies drop, such as zero-width spaces, are no question.
        if encoded.t5.0.len() <= self.t5.added
            && encoded.qformer.0.len() <= self.qformer.as_ref().map_or(0, |q| q.added)
        {
            return Err(Error::QuestionEmpty);
        }
        Ok(encoded)
    }

    /// Tokenises any text as the reference does: an empty one is its special tokens alone.
    ///
    /// # Errors
    /// [`Error::TokenizerInvalid`] where a tokenizer turns out broken.
    pub fn encode_any(&self, text: &str) -> Result<Encoded> {
        let end = end_of(text);
        let (t5, t5_cut) = self.t5.encode(end)?;
        let (bert, bert_cut) =
            self.qformer.as_ref().map_or(Ok((Vec::new(), false)), |q| q.encode(end))?;
        Ok(Encoded {
            t5: T5Ids(t5),
            qformer: BertIds(bert),
            truncated: t5_cut || bert_cut || end.len() < text.len(),
        })
    }

    /// The text of T5 ids; special tokens are left out.
    ///
    /// # Errors
    /// [`Error::TokenizerInvalid`] where the tokenizer turns out broken.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.t5.tokenizer.decode(ids, true).map_err(|e| self.t5.invalid(e))
    }

    /// A helper that gives the text of a growing answer piece by piece.
    #[must_use]
    pub fn stream(&self) -> Detokenizer {
        Detokenizer::default()
    }
}

/// The last [`MAX_PROMPT_BYTES`] of a text, from a space on where there is one.
fn end_of(text: &str) -> &str {
    let Some(mut start) = text.len().checked_sub(MAX_PROMPT_BYTES).filter(|&start| start > 0)
    else {
        return text;
    };
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let end = &text[start..];
    match end.find(char::is_whitespace) {
        Some(space) if !end[space..].trim().is_empty() => &end[space..],
        _ => end,
    }
}

/// One tokenizer and what it may produce.
struct One {
    tokenizer: Tokenizer,
    file: &'static str,
    vocab_size: usize,
    /// Special tokens around every text.
    added: usize,
}

impl One {
    fn new(file: &'static str, json: &[u8], vocab_size: usize, limit: usize) -> Result<Self> {
        let invalid = |reason: String| Error::TokenizerInvalid { file: file.into(), reason };
        limits::check(file, json.len() as u64)?;
        check::check(json, vocab_size).map_err(invalid)?;
        let mut tokenizer =
            Tokenizer::from_bytes(json).map_err(|e| invalid(format!("it cannot be read ({e})")))?;
        let added = tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(false));
        if added >= limit {
            return Err(invalid(format!(
                "{added} special tokens leave no room in the model's {limit}"
            )));
        }
        // The file may hold settings of its last use; the reference sets them anew, too.
        tokenizer.with_padding(None);
        let truncation = TruncationParams {
            direction: TruncationDirection::Left,
            max_length: limit,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        tokenizer.with_truncation(Some(truncation)).map_err(|e| invalid(e.to_string()))?;
        Ok(Self { tokenizer, file, vocab_size, added })
    }

    fn invalid(&self, reason: impl ToString) -> Error {
        Error::TokenizerInvalid { file: self.file.into(), reason: reason.to_string() }
    }

    /// The ids of a text, and whether its beginning was cut off.
    fn encode(&self, text: &str) -> Result<(Vec<u32>, bool)> {
        let encoding = self.tokenizer.encode_fast(text, true).map_err(|e| self.invalid(e))?;
        let ids = encoding.get_ids().to_vec();
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            return Err(self.invalid(format!(
                "it gives the id {id}, but the model has {} rows",
                self.vocab_size
            )));
        }
        Ok((ids, !encoding.get_overflowing().is_empty()))
    }
}
