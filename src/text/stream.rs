//! The text of an answer while its ids arrive.
//!
//! In: one id at a time. Out: the text that became settled with it, perhaps nothing. The
//! pieces together are what [`Tokenizers::decode`] says of all ids at once.

use super::Tokenizers;
use crate::error::Result;

/// The state of one answer. See [`Tokenizers::stream`].
#[derive(Debug, Clone, Default)]
pub struct Detokenizer {
    ids: Vec<u32>,
    /// What was given out so far.
    settled: String,
}

impl Detokenizer {
    /// Takes the next id; returns the text that is now certain.
    ///
    /// # Errors
    /// As [`Tokenizers::decode`].
    pub fn push(&mut self, tokenizers: &Tokenizers, id: u32) -> Result<String> {
        self.ids.push(id);
        // A replacement character at the end is the first part of one that bytes spell out.
        let text = tokenizers.decode(&self.ids)?;
        Ok(self.settle(text.trim_end_matches('\u{FFFD}')))
    }

    /// The rest, when no more ids come.
    ///
    /// # Errors
    /// As [`Tokenizers::decode`].
    pub fn finish(&mut self, tokenizers: &Tokenizers) -> Result<String> {
        let text = tokenizers.decode(&self.ids)?;
        Ok(self.settle(&text))
    }

    /// Gives out what `text` adds; nothing while it contradicts what was given out.
    fn settle(&mut self, text: &str) -> String {
        let piece = text.strip_prefix(self.settled.as_str()).unwrap_or_default().to_owned();
        self.settled.push_str(&piece);
        piece
    }
}
