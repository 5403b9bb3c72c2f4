//! How to answer: what a caller may ask for, checked and completed.

use serde::Serialize;
use web_time::{SystemTime, UNIX_EPOCH};

use super::LIMIT_PICTURES;
use crate::config::knobs::{KNOBS, Knob};
use crate::config::{AskOptions, GenerationConfig, Settings};
use crate::error::{Error, Result};
use crate::generation::GenerationOptions;
use crate::models::LanguageConfig;

/// Most stop strings, and most bytes of one.
const LIMIT_STOP_STRINGS: (usize, usize) = (16, 256);

/// What a page offers for a question.
#[derive(Clone, Debug, Serialize)]
pub struct Controls {
    /// Group by group.
    pub knobs: Vec<&'static Knob>,
    /// What bounds it.
    pub limits: Limits,
}

/// What bounds a question.
#[derive(Clone, Debug, Serialize)]
pub struct Limits {
    /// [`LIMIT_PICTURES`].
    pub pictures: usize,
}

impl Default for Controls {
    fn default() -> Self {
        let mut knobs: Vec<&Knob> = KNOBS.iter().collect();
        knobs.sort_by_key(|knob| knob.group);
        Self { knobs, limits: Limits { pictures: LIMIT_PICTURES } }
    }
}

impl AskOptions {
    /// Fills in what is not set and checks the rest.
    pub(super) fn complete(
        &self,
        file: &GenerationConfig,
        language: &LanguageConfig,
    ) -> Result<GenerationOptions> {
        let mut settings = self.over(file);
        let Settings { max_new_tokens, min_length, num_beams, do_sample, .. } = settings;
        let Settings { num_return_sequences, temperature, .. } = settings;
        check("temperature", !do_sample || temperature > 0.0, || {
            format!("{temperature} is not above 0; for the most likely answer leave doSample out")
        })?;
        settings.check()?;
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
        check("minLength", min_length <= max_new_tokens, || {
            format!("{min_length} is more than maxNewTokens, {max_new_tokens}")
        })?;
        let (most, longest) = LIMIT_STOP_STRINGS;
        let stops = &settings.stop_strings;
        check("stopStrings", stops.len() <= most, || {
            format!("{} are more than {most}", stops.len())
        })?;
        let sizes = stops.iter().all(|stop| (1..=longest).contains(&stop.len()));
        check("stopStrings", sizes, || format!("each must have from 1 to {longest} bytes"))?;
        settings.seed = settings.seed.or_else(|| Some(fresh_seed()));
        Ok(GenerationOptions { settings, ends: language.ends() })
    }
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
    use crate::kernels::Warp;

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
        assert_eq!(options.sampling(), None);
        let settings = options.settings;
        assert_eq!((settings.num_beams, settings.max_new_tokens), (1, 256));
        assert_eq!((settings.min_length, settings.num_return_sequences), (0, 1));
    }

    #[test]
    fn the_checkpoint_s_defaults_are_overruled_by_the_caller() {
        let file = GenerationConfig {
            num_beams: Some(5),
            repetition_penalty: Some(1.5),
            ..GenerationConfig::default()
        };
        let asked = AskOptions { num_beams: Some(2), ..AskOptions::default() };
        let options = asked.complete(&file, &language()).unwrap().settings;
        assert_eq!((options.num_beams, options.repetition_penalty), (2, 1.5));
    }

    #[test]
    fn a_page_is_told_group_by_group() {
        let controls = Controls::default();
        let groups: Vec<_> = controls.knobs.iter().map(|knob| knob.group).collect();
        assert!(groups.is_sorted() && groups.len() == KNOBS.len());
        assert_eq!(controls.limits.pictures, LIMIT_PICTURES);
    }

    #[test]
    fn sampling_has_the_reference_s_defaults_and_a_seed() {
        let asked = AskOptions { do_sample: Some(true), ..AskOptions::default() };
        let sampling = complete(&asked).unwrap().sampling().unwrap();
        assert_eq!(sampling.warp, Warp { temperature: 1.0, top_k: 50, top_p: 1.0 });
        let asked = AskOptions { seed: Some(7), ..asked };
        assert_eq!(complete(&asked).unwrap().sampling().unwrap().seed, 7);
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
