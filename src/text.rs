//! Prompt → token ids for the language model and for the Q-Former; ids → text.
//!
//! In: `tokenizer.json` and `qformer_tokenizer/tokenizer.json` of the checkpoint. Out:
//! [`Encoded`]: the language model's ids end as it was trained, the Q-Former's run from `[CLS]` to `[SEP]`. A prompt
//! beyond a model's length loses its beginning and keeps the special tokens, as with the
//! reference's `truncation_side="left"`. The picture's own tokens, which the reference
//! writes before the text's ids, are not part of them.
//!
//! The files come from anywhere, so `check` looks at them before the `tokenizers` crate
//! does, which panics on some malformed ones.

mod check;
mod stream;
#[cfg(test)]
mod tests;

pub use stream::Detokenizer;

use crate::error::{Error, Result};
use crate::limits;
use crate::models::ModelConfig;
use crate::models::bridge::Instruction;
use tokenizers::{
    PostProcessor, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy,
};

/// Most Q-Former tokens of a prompt, special ones included.
pub const MAX_QFORMER_TOKENS: usize = 512;
/// Of a longer prompt only the end is tokenised, from a word's beginning: far more than any
/// model's length, and with `check`'s bound on growth one on the tokenizers' memory.
pub const MAX_PROMPT_BYTES: usize = 16 << 10;

const FILE: &str = "tokenizer.json";
const QFORMER_FILE: &str = "qformer_tokenizer/tokenizer.json";

/// Ids of the language model's vocabulary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LanguageIds(pub Vec<u32>);

/// Ids of the Q-Former's vocabulary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QFormerIds(pub Vec<u32>);

/// A prompt in both vocabularies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// For the language model, special tokens included.
    pub language: LanguageIds,
    /// For the Q-Former, from `[CLS]` to `[SEP]`; empty where the model has no such tokenizer.
    pub qformer: QFormerIds,
    /// Whether the prompt's beginning was cut off for either model.
    pub truncated: bool,
}

/// Both tokenizers of a checkpoint.
pub struct Tokenizers {
    language: One,
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
    pub fn new(json: &[u8], qformer_json: Option<&[u8]>, config: &ModelConfig) -> Result<Self> {
        let text = &config.text_config;
        let language = One::new(FILE, json, text.vocab_size(), text.max_prompt_tokens())?;
        if let Some(end) = text.prompt_end()
            && language.encode("a")?.0.last() != Some(&end)
        {
            return Err(language
                .invalid(format!("prompts do not end with the model's end-of-sequence id {end}")));
        }
        let Some(Instruction { vocab_size, max_tokens }) = config.bridge_config.instruction()
        else {
            return Ok(Self { language, qformer: None });
        };
        let json = qformer_json.ok_or_else(|| Error::TokenizerInvalid {
            file: QFORMER_FILE.into(),
            reason: "the file is missing; an InstructBLIP's Q-Former reads the question with it"
                .into(),
        })?;
        let limit = MAX_QFORMER_TOKENS.min(max_tokens);
        Ok(Self { language, qformer: Some(One::new(QFORMER_FILE, json, vocab_size, limit)?) })
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
        if encoded.language.0.len() <= self.language.added
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
        let (language, language_cut) = self.language.encode(end)?;
        let (qformer, qformer_cut) =
            self.qformer.as_ref().map_or(Ok((Vec::new(), false)), |q| q.encode(end))?;
        Ok(Encoded {
            language: LanguageIds(language),
            qformer: QFormerIds(qformer),
            truncated: language_cut || qformer_cut || end.len() < text.len(),
        })
    }

    /// The text of the language model's ids; special tokens are left out.
    ///
    /// # Errors
    /// [`Error::TokenizerInvalid`] where the tokenizer turns out broken.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.language.tokenizer.decode(ids, true).map_err(|e| self.language.invalid(e))
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
