//! How to answer: what a caller may ask for, checked and completed.

use serde::{Deserialize, Serialize};
use web_time::{SystemTime, UNIX_EPOCH};

use crate::config::GenerationConfig;
use crate::error::{Error, Result};
use crate::generation::{GenerationOptions, Sampling};
use crate::kernels::Warp;
use crate::models::LanguageConfig;

/// Answers are cut here unless asked otherwise (`max_new_tokens` of the reference's generate).
pub const DEFAULT_MAX_NEW_TOKENS: usize = 256;
/// More is refused: the key-value cache grows with it.
pub const LIMIT_MAX_NEW_TOKENS: usize = 1024;
/// Most beams, and most texts returned: the range of the official demo.
pub const LIMIT_NUM_BEAMS: usize = 10;
/// Most stop strings, and most bytes of one.
const LIMIT_STOP_STRINGS: (usize, usize) = (16, 256);

/// How to answer. Names, meaning and defaults are those of `transformers`: what is not set here
/// comes from the checkpoint's `generation_config.json`, and what is not there either has the
/// library's default, which is greedy decoding.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AskOptions {
    /// At most this many tokens, up to [`LIMIT_MAX_NEW_TOKENS`]; [`DEFAULT_MAX_NEW_TOKENS`].
    pub max_new_tokens: Option<usize>,
    /// The answer may not end before this many tokens, the start token counted; 0.
    pub min_length: Option<usize>,
    /// Texts that beam search follows, up to [`LIMIT_NUM_BEAMS`]; 1, no beam search.
    pub num_beams: Option<usize>,
    /// Draws tokens in place of taking the most likely; false. Not with several beams.
    pub do_sample: Option<bool>,
    /// Divides the logits of a draw, above 0; 1.
    pub temperature: Option<f32>,
    /// Draws among this many of the most likely tokens, 0 for all; 50.
    pub top_k: Option<usize>,
    /// Draws among the most likely tokens whose probabilities reach this sum; 1.
    pub top_p: Option<f32>,
    /// The same seed draws the same tokens; a new one each time, told in the answer.
    pub seed: Option<u32>,
    /// Exponent of the length that divides a beam's log-probability: above 0 favours long
    /// answers, below 0 short ones; 1.
    pub length_penalty: Option<f32>,
    /// Above 1 discourages what was said, below 1 encourages it; above 0; 1.
    pub repetition_penalty: Option<f32>,
    /// No run of this many tokens comes twice; 0, no such rule.
    pub no_repeat_ngram_size: Option<usize>,
    /// Texts to return: at most `num_beams`, or drawn independently; 1.
    pub num_return_sequences: Option<usize>,
    /// The answer ends with the token that completes one of these, which stays part of it.
    pub stop_strings: Vec<String>,
}

impl AskOptions {
    /// Fills in what is not set and checks the rest.
    pub(super) fn complete(
        &self,
        file: &GenerationConfig,
        language: &LanguageConfig,
    ) -> Result<GenerationOptions> {
        let max_new_tokens =
            self.max_new_tokens.or(file.max_new_tokens).unwrap_or(DEFAULT_MAX_NEW_TOKENS);
        let num_beams = self.num_beams.or(file.num_beams).unwrap_or(1);
        let do_sample = self.do_sample.or(file.do_sample).unwrap_or(false);
        let num_return_sequences =
            self.num_return_sequences.or(file.num_return_sequences).unwrap_or(1);
        let between = |option: &str, value: usize, low: usize, high: usize| {
            check(option, (low..=high).contains(&value), || {
                format!("{value} is not between {low} and {high}")
            })
        };
        between("maxNewTokens", max_new_tokens, 1, LIMIT_MAX_NEW_TOKENS)?;
        between("numBeams", num_beams, 1, LIMIT_NUM_BEAMS)?;
        between("numReturnSequences", num_return_sequences, 1, LIMIT_NUM_BEAMS)?;
        check("numBeams", !do_sample || num_beams == 1, || {
            format!("{num_beams} beams cannot be drawn; set doSample to false, or numBeams to 1")
        })?;
        check("numBeams", 2 * num_beams <= language.vocab_size(), || {
            format!("{num_beams} are too many for a vocabulary of {}", language.vocab_size())
        })?;
        check("numReturnSequences", do_sample || num_return_sequences <= num_beams, || {
            format!(
                "{num_return_sequences} answers need as many beams, or doSample; numBeams is {num_beams}"
            )
        })?;
        let min_length = self.min_length.or(file.min_length).unwrap_or(0);
        check("minLength", min_length <= max_new_tokens, || {
            format!("{min_length} is more than maxNewTokens, {max_new_tokens}")
        })?;
        let length_penalty = self.length_penalty.or(file.length_penalty).unwrap_or(1.0);
        check("lengthPenalty", length_penalty.abs() <= 10.0, || {
            format!("{length_penalty} is not between -10 and 10")
        })?;
        let repetition_penalty = self.repetition_penalty.or(file.repetition_penalty).unwrap_or(1.0);
        check("repetitionPenalty", positive(repetition_penalty), || {
            format!("{repetition_penalty} is not above 0")
        })?;
        let no_repeat_ngram_size =
            self.no_repeat_ngram_size.or(file.no_repeat_ngram_size).unwrap_or(0);
        let (most, longest) = LIMIT_STOP_STRINGS;
        check("stopStrings", self.stop_strings.len() <= most, || {
            format!("{} are more than {most}", self.stop_strings.len())
        })?;
        let sizes = self.stop_strings.iter().all(|stop| (1..=longest).contains(&stop.len()));
        check("stopStrings", sizes, || format!("each must have from 1 to {longest} bytes"))?;
        Ok(GenerationOptions {
            max_new_tokens,
            min_length,
            num_beams,
            length_penalty,
            repetition_penalty,
            no_repeat_ngram_size,
            num_return_sequences,
            stop_strings: self.stop_strings.clone(),
            sampling: do_sample.then(|| self.sampling(file)).transpose()?,
            ends: language.ends(),
        })
    }

    fn sampling(&self, file: &GenerationConfig) -> Result<Sampling> {
        let temperature = self.temperature.or(file.temperature).unwrap_or(1.0);
        check("temperature", positive(temperature), || {
            format!("{temperature} is not above 0; for the most likely answer leave doSample out")
        })?;
        let top_p = self.top_p.or(file.top_p).unwrap_or(1.0);
        check("topP", (0.0..=1.0).contains(&top_p), || format!("{top_p} is not between 0 and 1"))?;
        let top_k = self.top_k.or(file.top_k).unwrap_or(50);
        let warp = Warp { temperature, top_k, top_p };
        Ok(Sampling { warp, seed: self.seed.unwrap_or_else(fresh_seed) })
    }
}

fn positive(value: f32) -> bool {
    value.is_finite() && value >= f32::MIN_POSITIVE
}

fn check(option: &str, ok: bool, reason: impl FnOnce() -> String) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::OptionInvalid { option: option.into(), reason: reason() })
}

/// The clock's fastest digits: different from answer to answer, and nothing secret.
fn fresh_seed() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_micros() & u128::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn language() -> LanguageConfig {
        let config = include_bytes!("../../www/pocket/config.json");
        crate::models::ModelConfig::parse(config).unwrap().text_config
    }

    fn complete(options: &AskOptions) -> Result<GenerationOptions> {
        options.complete(&GenerationConfig::default(), &language())
    }

    #[test]
    fn nothing_asked_is_greedy() {
        let options = complete(&AskOptions::default()).unwrap();
        assert_eq!((options.num_beams, options.max_new_tokens), (1, DEFAULT_MAX_NEW_TOKENS));
        assert_eq!((options.min_length, options.num_return_sequences), (0, 1));
        assert_eq!(options.sampling, None);
    }

    #[test]
    fn the_checkpoint_s_defaults_are_overruled_by_the_caller() {
        let file = GenerationConfig {
            num_beams: Some(5),
            repetition_penalty: Some(1.5),
            ..GenerationConfig::default()
        };
        let asked = AskOptions { num_beams: Some(2), ..AskOptions::default() };
        let options = asked.complete(&file, &language()).unwrap();
        assert_eq!((options.num_beams, options.repetition_penalty), (2, 1.5));
    }

    #[test]
    fn sampling_has_the_reference_s_defaults_and_a_seed() {
        let asked = AskOptions { do_sample: Some(true), ..AskOptions::default() };
        let sampling = complete(&asked).unwrap().sampling.unwrap();
        assert_eq!(sampling.warp, Warp { temperature: 1.0, top_k: 50, top_p: 1.0 });
        let asked = AskOptions { seed: Some(7), ..asked };
        assert_eq!(complete(&asked).unwrap().sampling.unwrap().seed, 7);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let none = AskOptions::default;
        let sampled = || AskOptions { do_sample: Some(true), ..none() };
        let cases = [
            ("maxNewTokens", AskOptions { max_new_tokens: Some(0), ..none() }),
            ("maxNewTokens", AskOptions { max_new_tokens: Some(5000), ..none() }),
            ("minLength", AskOptions { min_length: Some(300), ..none() }),
            ("numBeams", AskOptions { num_beams: Some(0), ..none() }),
            ("numBeams", AskOptions { num_beams: Some(11), ..none() }),
            ("numBeams", AskOptions { num_beams: Some(2), ..sampled() }),
            ("numReturnSequences", AskOptions { num_return_sequences: Some(2), ..none() }),
            ("numReturnSequences", AskOptions { num_return_sequences: Some(11), ..sampled() }),
            ("lengthPenalty", AskOptions { length_penalty: Some(f32::NAN), ..none() }),
            ("repetitionPenalty", AskOptions { repetition_penalty: Some(0.0), ..none() }),
            ("repetitionPenalty", AskOptions { repetition_penalty: Some(f32::INFINITY), ..none() }),
            ("stopStrings", AskOptions { stop_strings: vec![String::new()], ..none() }),
            ("stopStrings", AskOptions { stop_strings: vec!["x".into(); 17], ..none() }),
            ("temperature", AskOptions { temperature: Some(0.0), ..sampled() }),
            ("topP", AskOptions { top_p: Some(1.5), ..sampled() }),
            ("topP", AskOptions { top_p: Some(f32::NAN), ..sampled() }),
        ];
        for (name, options) in cases {
            match complete(&options).unwrap_err() {
                Error::OptionInvalid { option, .. } => assert_eq!(option, name, "{options:?}"),
                other => panic!("{name}: {other}"),
            }
        }
    }
}
