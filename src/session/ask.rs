//! A question about the current picture, and its answer.

use std::ops::ControlFlow;

use serde::Serialize;
use ts_rs::TS;
use web_time::Instant;

use super::{AskOptions, Session, milliseconds};
use crate::error::{Error, Result};
use crate::generation::{Clock, GenerationOptions, Generator, Sequence, Stop, Token};
use crate::models::language::Context;
use crate::models::unheard;
use crate::pace::Pace;
use crate::readback;
use crate::text::Detokenizer;

/// One decoded token of the first answer. With beams tokens come once every beam that may still
/// win shares them.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct TokenEvent {
    /// The token's id.
    pub id: u32,
    /// Text that cannot change any more; may be empty.
    pub text: String,
    /// Log-probability of the token among what it was chosen from, penalties included.
    pub log_probability: f32,
    /// Milliseconds since the question.
    pub milliseconds: f64,
}

/// A finished answer.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The answer's text, special tokens left out.
    pub text: String,
    /// The generated ids, the end token included.
    pub ids: Vec<u32>,
    /// Its score in beam search: log-probability over the penalised length.
    pub score: Option<f32>,
    /// See [`Candidate::probability`].
    pub probability: f32,
    /// All answers asked for, this one first: beams by score, drawn ones as they were drawn.
    pub candidates: Vec<Candidate>,
    /// The question was longer than the model takes and lost its beginning.
    pub truncated_question: bool,
    /// The caller stopped it, or the limit of tokens did: the answer may be unfinished.
    pub stopped: bool,
    /// Why it ended.
    pub stop_reason: Stop,
    /// What the tokens were drawn with; repeats the answer on the same kind of device.
    pub seed: Option<u32>,
    /// Where the time went.
    pub statistics: Statistics,
}

/// One of several answers.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Its text.
    pub text: String,
    /// Its ids.
    pub ids: Vec<u32>,
    /// Its score, of beams.
    pub score: Option<f32>,
    /// Sum of its tokens' log-probabilities among what they were chosen from.
    pub log_probability: f32,
    /// Geometric mean of its tokens' probabilities, the end token's included, from 0 to 1: how
    /// sure the model was of a token on average. Each is the probability among what the token was
    /// chosen from: the model's own in greedy decoding and in beams, unless penalties or bans
    /// changed it; of drawn tokens that after `temperature`, `top_k` and `top_p`.
    pub probability: f32,
    /// Why it ended.
    pub stop_reason: Stop,
}

/// Where the time of an answer went.
#[derive(Clone, Debug, Default, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// From the question to its first settled token.
    pub time_to_first_token_ms: f64,
    /// Decoder steps after the first, over their time; 0 for a single one. A step makes a token
    /// of every beam or answer.
    pub tokens_per_second: f64,
    /// Generated tokens, the end token included.
    pub tokens: usize,
    /// Decoder steps; more than tokens where beam search went on for a better answer.
    pub steps: usize,
    /// Time of the vision tower; 0 when it was cached.
    pub vision_ms: f64,
    /// Kernels of the vision tower that ran for this answer; 0 when it was cached.
    pub vision_dispatches: u64,
    /// Time of the bridge: the Q-Former and its projection.
    pub bridge_ms: f64,
    /// Time for reading the prompt: all that comes before the first step.
    pub prefill_ms: f64,
    /// Time of all steps.
    pub decoder_ms: f64,
    /// The picture's features were there from an earlier question.
    pub vision_cached: bool,
    /// Kernels of a decoder step after the first.
    pub dispatches_per_token: f64,
    /// Submits of such a step, by the rules of Burn's stream (`meter`).
    pub submits_per_token: f64,
    /// Bytes read back in such a step.
    pub readback_bytes_per_token: f64,
}

/// A question that was read.
pub(super) struct Understood {
    pub(super) context: Context,
    pub(super) truncated: bool,
    pub(super) statistics: Statistics,
}

impl Session {
    /// Answers a question about the current picture; `on_token` may break to stop early.
    ///
    /// Stopping through `pace` before the first token is an error; later it ends the answer.
    ///
    /// # Errors
    /// There is no picture, the question is empty, an option is out of range, it was cancelled,
    /// or the GPU failed.
    pub async fn ask(
        &self,
        question: &str,
        options: &AskOptions,
        pace: &Pace,
        on_token: &mut dyn FnMut(&TokenEvent) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let start = Instant::now();
        let aware = options.instruction_aware;
        let options =
            options.complete(&self.loaded.blueprint.generation, &self.config().text_config)?;
        let Understood { context, truncated, mut statistics } =
            self.understand(question, aware, pace).await?;

        let stage = Instant::now();
        let mut text = self.tokenizers().stream();
        let mut first = None;
        let mut tell = |token: Token| {
            first.get_or_insert_with(|| milliseconds(start));
            let text = self.piece(&mut text, token)?;
            Ok(on_token(&TokenEvent {
                id: token.id,
                text,
                log_probability: token.log_probability,
                milliseconds: milliseconds(start),
            }))
        };
        let generated = Generator {
            model: self.model()?.language(),
            options: &options,
            decode: &|ids| self.tokenizers().decode(ids),
            pace,
        }
        .run(&context, &mut tell)
        .await?;
        statistics.decoder_ms = milliseconds(stage);
        statistics.time_to_first_token_ms = first.unwrap_or_else(|| milliseconds(start));
        statistics.count_steps(&generated.clock);
        self.answer(&generated.sequences, &options, truncated, statistics)
    }

    /// Looks at the pictures with a question, and reads both; see [`Session::instruction`].
    pub(super) async fn understand(
        &self,
        question: &str,
        aware: Option<bool>,
        pace: &Pace,
    ) -> Result<Understood> {
        let model = self.model()?;
        self.require_picture()?;
        let encoded = self.tokenizers().encode(question)?;
        let instruction = self.instruction(encoded.qformer, aware)?;
        let vision = self.unreported.take();
        let mut statistics = Statistics {
            vision_cached: vision.is_none(),
            vision_ms: vision.map_or(0.0, |work| work.milliseconds),
            vision_dispatches: vision.map_or(0, |work| work.dispatches),
            ..Statistics::default()
        };
        let stage = Instant::now();
        let queries = self.look(&instruction, pace).await?;
        readback::finished(&queries).await?;
        statistics.bridge_ms = milliseconds(stage);
        let stage = Instant::now();
        let context = model.read(&queries, &encoded.language.0, pace, &mut unheard).await?;
        if let Some(last) = context.last() {
            readback::finished(last).await?;
        }
        statistics.prefill_ms = milliseconds(stage);
        Ok(Understood { context, truncated: encoded.truncated, statistics })
    }

    /// The text that a token settles; with the last one all that is left.
    fn piece(&self, text: &mut Detokenizer, token: Token) -> Result<String> {
        let piece = text.push(self.tokenizers(), token.id)?;
        let rest = if token.last { text.finish(self.tokenizers())? } else { String::new() };
        Ok(piece + &rest)
    }

    fn answer(
        &self,
        sequences: &[Sequence],
        options: &GenerationOptions,
        truncated_question: bool,
        mut statistics: Statistics,
    ) -> Result<Answer> {
        let candidate = |sequence: &Sequence| {
            Ok(Candidate {
                text: self.tokenizers().decode(&sequence.ids)?,
                ids: sequence.ids.clone(),
                score: sequence.score,
                log_probability: sequence.log_probabilities.iter().sum(),
                probability: sequence.probability(),
                stop_reason: sequence.stop,
            })
        };
        let candidates = sequences.iter().map(candidate).collect::<Result<Vec<_>>>()?;
        let best = candidates.first().cloned();
        let best = best.ok_or_else(|| Error::Internal { reason: "no text was made".into() })?;
        statistics.tokens = best.ids.len();
        Ok(Answer {
            text: best.text,
            ids: best.ids,
            score: best.score,
            probability: best.probability,
            candidates,
            truncated_question,
            stopped: matches!(best.stop_reason, Stop::Length | Stop::Asked),
            stop_reason: best.stop_reason,
            seed: options.sampling().map(|sampling| sampling.seed),
            statistics,
        })
    }
}

impl Statistics {
    fn count_steps(&mut self, clock: &Clock) {
        self.steps = clock.steps;
        let Some((steps, seconds, counts)) = clock.later_steps() else { return };
        let each = |count: u64| count as f64 / steps as f64;
        if seconds > 0.0 {
            self.tokens_per_second = steps as f64 / seconds;
        }
        self.dispatches_per_token = each(counts.dispatches);
        self.submits_per_token = each(counts.submits);
        self.readback_bytes_per_token = each(counts.bytes_read);
    }
}
