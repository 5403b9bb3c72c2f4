//! A question about the current picture, and its answer.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use web_time::Instant;

use super::{Session, milliseconds};
use crate::error::{Error, Result};
use crate::generation::{GreedyOptions, Stop, greedy};
use crate::pace::Pace;
use crate::readback;

/// Answers are cut here unless asked otherwise (`max_new_tokens` of the reference's generate).
pub const DEFAULT_MAX_NEW_TOKENS: usize = 256;
/// More is refused: the key-value cache is allocated for it.
pub const LIMIT_MAX_NEW_TOKENS: usize = 1024;

/// How to answer. Names and defaults are those of `transformers`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AskOptions {
    /// At most this many tokens.
    pub max_new_tokens: Option<usize>,
    /// The answer may not end before this many tokens.
    pub min_length: Option<usize>,
}

/// One decoded token.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenEvent {
    /// The token's id.
    pub id: u32,
    /// Text that cannot change any more; may be empty.
    pub text: String,
    /// Milliseconds since the question.
    pub milliseconds: f64,
}

/// A finished answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The answer's text, special tokens left out.
    pub text: String,
    /// The generated ids, the end token included.
    pub ids: Vec<u32>,
    /// The question was longer than the model takes and lost its beginning.
    pub truncated_question: bool,
    /// The caller stopped it, or the limit of tokens did: the answer may be unfinished.
    pub stopped: bool,
    /// Where the time went.
    pub statistics: Statistics,
}

/// Where the time of an answer went.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// From the question to its first token.
    pub time_to_first_token_ms: f64,
    /// Tokens after the first, over their time; 0 for a single token.
    pub tokens_per_second: f64,
    /// Generated tokens, the end token included.
    pub tokens: usize,
    /// Time of the vision tower; 0 when it was cached.
    pub vision_ms: f64,
    /// Time of the Q-Former and projection.
    pub qformer_ms: f64,
    /// Time of the encoder.
    pub encoder_ms: f64,
    /// The picture's features were there from an earlier question.
    pub vision_cached: bool,
}

impl Session {
    /// Answers a question about the current picture; `on_token` may break to stop early.
    ///
    /// # Errors
    /// There is no picture, the question is empty, an option is out of range, or the GPU failed.
    pub async fn ask(
        &mut self,
        question: &str,
        options: &AskOptions,
        pace: &Pace,
        on_token: &mut dyn FnMut(&TokenEvent) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let start = Instant::now();
        let options = self.greedy_options(options)?;
        let picture = self.picture.as_ref().ok_or(Error::PictureMissing)?;
        let encoded = self.tokenizers.encode(question)?;
        let cached = self.vision_ms.is_none();
        let mut statistics = Statistics {
            vision_cached: cached,
            vision_ms: self.vision_ms.take().unwrap_or(0.0),
            ..Statistics::default()
        };

        let stage = Instant::now();
        let queries = self.model.query(picture, &encoded.qformer.0, pace).await?;
        let projected = self.model.project(&queries);
        readback::finished(&projected).await?;
        statistics.qformer_ms = milliseconds(stage);
        let stage = Instant::now();
        let hidden = self.model.encode(&projected, &encoded.t5.0, pace).await?;
        readback::finished(&hidden).await?;
        statistics.encoder_ms = milliseconds(stage);

        let mut text = self.tokenizers.stream();
        let mut first = None;
        let mut failed = None;
        let (ids, stop) = greedy(&self.model, &hidden, &options, |id| {
            first.get_or_insert_with(|| milliseconds(start));
            let piece = if id == options.end {
                text.finish(&self.tokenizers)
            } else {
                text.push(&self.tokenizers, id)
            };
            match piece {
                Ok(text) => on_token(&TokenEvent { id, text, milliseconds: milliseconds(start) }),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })
        .await?;
        if let Some(error) = failed {
            return Err(error);
        }
        let first = first.unwrap_or_else(|| milliseconds(start));
        statistics.time_to_first_token_ms = first;
        statistics.tokens = ids.len();
        let rest = milliseconds(start) - first;
        if ids.len() > 1 && rest > 0.0 {
            statistics.tokens_per_second = (ids.len() - 1) as f64 / rest * 1e3;
        }
        Ok(Answer {
            text: self.tokenizers.decode(&ids)?,
            ids,
            truncated_question: encoded.truncated,
            stopped: stop != Stop::End,
            statistics,
        })
    }

    fn greedy_options(&self, options: &AskOptions) -> Result<GreedyOptions> {
        let max_new_tokens = options
            .max_new_tokens
            .or(self.generation.max_new_tokens)
            .unwrap_or(DEFAULT_MAX_NEW_TOKENS);
        if max_new_tokens == 0 || max_new_tokens > LIMIT_MAX_NEW_TOKENS {
            return Err(Error::OptionInvalid {
                option: "maxNewTokens".into(),
                reason: format!("{max_new_tokens} is not between 1 and {LIMIT_MAX_NEW_TOKENS}"),
            });
        }
        let min_length = options.min_length.unwrap_or(0);
        if min_length > max_new_tokens {
            return Err(Error::OptionInvalid {
                option: "minLength".into(),
                reason: format!("{min_length} is more than maxNewTokens, {max_new_tokens}"),
            });
        }
        let text = &self.config.text_config;
        Ok(GreedyOptions {
            max_new_tokens,
            min_length,
            start: text.decoder_start_token_id,
            end: text.eos_token_id,
        })
    }
}
