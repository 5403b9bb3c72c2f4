//! The tokens of texts that are decoded side by side, where the kernels of a step read and write
//! them: `shaders/parts/token_history.wgsl`.
//!
//! Each position, from that of the start token on, has a line of `2 * rows` words: the ids of all
//! rows, then the bits of their log-probabilities (f32). Those of tokens that the host wrote are
//! never read.

use std::ops::Range;

use burn::tensor::{Int, Tensor};

use super::launch::{Host, Launch};

/// The tokens of `rows` texts on the device.
#[derive(Clone, Debug)]
pub struct TokenHistory {
    words: Tensor<1, Int>,
    rows: usize,
}

impl TokenHistory {
    /// Lines that are on the device already.
    #[must_use]
    pub fn new(words: Tensor<1, Int>, rows: usize) -> Self {
        Self { words, rows }
    }

    /// Number of texts.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// All lines.
    #[must_use]
    pub fn words(&self) -> &Tensor<1, Int> {
        &self.words
    }

    /// All lines, without the number of texts.
    #[must_use]
    pub fn into_words(self) -> Tensor<1, Int> {
        self.words
    }

    /// What a kernel makes of it that writes the tokens after a position. Its oracle gives that
    /// position and, for each row, an id and the bits of its log-probability.
    pub(super) fn extended(
        self,
        launch: Launch<'_>,
        oracle: impl Fn(&[Host]) -> (u32, Vec<(u32, u32)>),
    ) -> Self {
        let words = launch.run_in_place::<u32>(self.words, |host, words| {
            let (position, tokens) = oracle(host);
            let line = Self::line(position as usize + 1, self.rows);
            let (ids, log_probabilities) = words[line].split_at_mut(self.rows);
            for (row, token) in tokens.into_iter().enumerate() {
                (ids[row], log_probabilities[row]) = token;
            }
        });
        Self { words, rows: self.rows }
    }

    /// Which words are the line of `position`.
    #[must_use]
    pub fn line(position: usize, rows: usize) -> Range<usize> {
        position * 2 * rows..(position + 1) * 2 * rows
    }

    /// The lines of texts of equal length, for a device.
    #[must_use]
    pub fn lines(texts: &[&[u32]]) -> Vec<u32> {
        let length = texts.first().map_or(0, |text| text.len());
        let line = |at| texts.iter().map(move |text| text[at]).chain(vec![0; texts.len()]);
        (0..length).flat_map(line).collect()
    }
}

/// The ids at `position`, for the oracles.
pub(super) fn ids(words: &[u32], position: usize, rows: usize) -> &[u32] {
    &words[TokenHistory::line(position, rows).start..][..rows]
}
