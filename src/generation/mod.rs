//! From a prompt that was read to token ids.
//!
//! Reference: `GenerationMixin.generate` of transformers. `sample` is its `_sample`, one token a
//! step for each text, greedy or drawn; `beam` its `_beam_search`; [`rank`] scores given texts.
//! Penalties, softmax and choice run on the device: a step reads back the chosen tokens, or of
//! beams the best candidates, never the logits.

mod beam;
mod processors;
pub mod rank;
mod sample;
pub mod step;

use std::ops::ControlFlow;

use ts_rs::TS;
use web_time::Instant;

use crate::config::Settings;
use crate::error::Result;
use crate::kernels::Warp;
use crate::meter::Counts;
use crate::models::LanguageModel;
use crate::models::language::Context;
use crate::pace::Pace;

/// How to generate; values are in range (see [`Settings::check`]).
#[derive(Clone, Debug)]
pub struct GenerationOptions {
    /// The knobs.
    pub settings: Settings,
    /// `eos_token_id`: any of these ends a text.
    pub ends: Vec<u32>,
}

/// Drawing tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// What the draw is made among.
    pub warp: Warp,
    /// The same seed draws the same tokens, as far as the scores are the same.
    pub seed: u32,
}

impl GenerationOptions {
    /// Greedy decoding without rules.
    #[must_use]
    pub fn greedy(max_new_tokens: usize, ends: Vec<u32>) -> Self {
        let settings = Settings { max_new_tokens, ..Settings::default() };
        Self { settings, ends }
    }

    /// How tokens are drawn; `None` where the most likely is taken.
    #[must_use]
    pub fn sampling(&self) -> Option<Sampling> {
        let Settings { do_sample, temperature, top_k, top_p, seed, .. } = self.settings;
        let warp = Warp { temperature, top_k, top_p };
        do_sample.then(|| Sampling { warp, seed: seed.unwrap_or_default() })
    }
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(rename = "StopReason")]
pub enum Stop {
    /// The end token came; it is the last of the ids.
    End,
    /// `max_new_tokens` were made.
    Length,
    /// A stop string was completed; the text ends with the token that did.
    StopString,
    /// `on_token` asked for it, or the computation was cancelled.
    Asked,
}

/// One generated text.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// The ids after the start token.
    pub ids: Vec<u32>,
    /// Of every id, its log-probability among what it was chosen from: what
    /// `compute_transition_scores` of transformers gives.
    pub log_probabilities: Vec<f32>,
    /// `sequences_scores` of beam search: the sum over the penalised length.
    pub score: Option<f32>,
    /// Why it ended.
    pub stop: Stop,
}

impl Sequence {
    /// Geometric mean of its tokens' probabilities.
    #[must_use]
    pub fn probability(&self) -> f32 {
        let sum: f64 = self.log_probabilities.iter().map(|value| f64::from(*value)).sum();
        (sum / self.log_probabilities.len().max(1) as f64).exp() as f32
    }
}

/// The generated texts and what they took.
#[derive(Clone, Debug)]
pub struct Generated {
    /// At least one.
    pub sequences: Vec<Sequence>,
    /// The steps.
    pub clock: Clock,
}

/// Decoder steps, and when the first was over: later ones show what a token costs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// Steps so far; each advances all texts by a token.
    pub steps: usize,
    first: Option<(Instant, Counts)>,
    last: Option<(Instant, Counts)>,
}

impl Clock {
    /// A step is over; `counts` are the totals when all of it had been handed to the GPU.
    fn tick(&mut self, counts: Counts) {
        let now = (Instant::now(), counts);
        self.steps += 1;
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// Number of the steps after the first, their seconds and counts; `None` where there are none.
    #[must_use]
    pub fn later_steps(&self) -> Option<(usize, f64, Counts)> {
        let (first, last) = (self.first?, self.last?);
        let later = self.steps.checked_sub(1).filter(|steps| *steps > 0)?;
        Some((later, (last.0 - first.0).as_secs_f64(), last.1 - first.1))
    }
}

/// A token of the first text that cannot change any more.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// See [`Sequence::log_probabilities`].
    pub log_probability: f32,
    /// No token follows.
    pub last: bool,
}

/// Called with every token of the first text as it settles; breaks to stop early.
pub type OnToken<'a> = dyn FnMut(Token) -> Result<ControlFlow<()>> + 'a;

/// What a generation works with.
pub struct Generator<'a> {
    /// The language model.
    pub model: &'a LanguageModel,
    /// How to generate.
    pub options: &'a GenerationOptions,
    /// The text of ids, in which stop strings are looked for.
    pub decode: &'a dyn Fn(&[u32]) -> Result<String>,
    /// Says when to stop; once there is a token, that ends the text and is no error.
    pub pace: &'a Pace,
}

impl Generator<'_> {
    /// Generates answers to a prompt: beams best first, drawn texts in the order of their draws.
    ///
    /// # Errors
    /// The GPU failed, `on_token` did, or it was cancelled before the first token.
    pub async fn run(&self, context: &Context, on_token: &mut OnToken<'_>) -> Result<Generated> {
        if self.options.settings.num_beams > 1 {
            beam::search(self, context, on_token).await
        } else {
            sample::sample(self, context, on_token).await
        }
    }

    /// Whether a text ends with its last token.
    fn stop(&self, ids: &[u32]) -> Result<Option<Stop>> {
        let options = self.options;
        if ids.last().is_some_and(|id| options.ends.contains(id)) {
            return Ok(Some(Stop::End));
        }
        let settings = &options.settings;
        if !settings.stop_strings.is_empty() {
            let text = (self.decode)(ids)?;
            if settings.stop_strings.iter().any(|stop| text.contains(stop)) {
                return Ok(Some(Stop::StopString));
            }
        }
        Ok((ids.len() >= settings.max_new_tokens).then_some(Stop::Length))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_probability_is_the_mean_of_a_token() {
        let sequence = |probabilities: &[f32]| Sequence {
            ids: vec![7; probabilities.len()],
            log_probabilities: probabilities.iter().map(|value| value.ln()).collect(),
            score: None,
            stop: Stop::End,
        };
        for (probabilities, mean) in
            [(&[0.25][..], 0.25), (&[0.5, 0.125], 0.25), (&[1.0; 300], 1.0), (&[0.9, 0.0], 0.0)]
        {
            assert!((sequence(probabilities).probability() - mean).abs() < 1e-6, "{mean}");
        }
    }

    #[test]
    fn the_clock_leaves_the_first_step_out() {
        let counts = |dispatches| Counts { dispatches, ..Counts::default() };
        let mut clock = Clock::default();
        assert!(clock.later_steps().is_none());
        // The first step compiles, and is not counted.
        clock.tick(counts(1000));
        assert_eq!(clock.steps, 1);
        assert!(clock.later_steps().is_none());
        std::thread::sleep(Duration::from_millis(20));
        clock.tick(counts(1021));
        clock.tick(counts(1042));
        let (steps, seconds, counted) = clock.later_steps().unwrap();
        assert_eq!((clock.steps, steps, counted.dispatches), (3, 2, 42));
        assert!((0.02..10.0).contains(&seconds), "{seconds}");
    }
}
