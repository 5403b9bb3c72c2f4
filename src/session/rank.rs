//! Which of given answers the model finds most likely.
//!
//! Reference: `predict_class` of LAVIS' InstructBLIP, which sorts candidates by their loss.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::Session;
use super::ask::Understood;
use crate::error::{Error, Result};
use crate::generation::rank::log_likelihoods;
use crate::pace::Pace;

/// Most candidates of one call.
pub const LIMIT_CANDIDATES: usize = 1000;

/// How to rank.
#[derive(Clone, Debug, Default, Serialize, Deserialize, TS)]
#[serde(default, rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct RankOptions {
    /// What is known beforehand: a weight above 0 for every candidate. All alike if absent.
    pub prior: Option<Vec<f32>>,
    /// See [`AskOptions::instruction_aware`](super::AskOptions::instruction_aware).
    pub instruction_aware: Option<bool>,
}

/// One candidate's place.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Ranked {
    /// Its place among the candidates as they were given.
    pub index: usize,
    /// Its text.
    pub text: String,
    /// Natural logarithm of its probability as an answer, its end included.
    pub log_likelihood: f32,
    /// Among these candidates, the prior taken into account; all add up to 1.
    pub probability: f32,
}

impl Session {
    /// Ranks answers to a question about the current picture, most probable first; of equals the
    /// one given first.
    ///
    /// # Errors
    /// There is no picture, the question or the list is empty, a candidate has no text, the prior
    /// does not fit, it was cancelled, or the GPU failed.
    pub async fn rank(
        &self,
        question: &str,
        candidates: &[String],
        options: &RankOptions,
        pace: &Pace,
    ) -> Result<Vec<Ranked>> {
        let ids = self.candidate_ids(candidates)?;
        let log_priors = log_priors(options, candidates.len())?;
        let Understood { context, .. } =
            self.understand(question, options.instruction_aware, pace).await?;
        let likelihoods = log_likelihoods(self.model()?.language(), &context, &ids, pace).await?;

        let joint: Vec<f64> =
            likelihoods.iter().zip(log_priors).map(|(l, prior)| f64::from(*l) + prior).collect();
        let ranked = candidates.iter().zip(&likelihoods).zip(softmax(&joint)).enumerate();
        let mut ranked: Vec<Ranked> = ranked
            .map(|(index, ((text, log_likelihood), probability))| Ranked {
                index,
                text: text.clone(),
                log_likelihood: *log_likelihood,
                probability: probability as f32,
            })
            .collect();
        ranked.sort_by(|a, b| joint[b.index].total_cmp(&joint[a.index]));
        Ok(ranked)
    }

    fn candidate_ids(&self, candidates: &[String]) -> Result<Vec<Vec<u32>>> {
        if candidates.is_empty() || candidates.len() > LIMIT_CANDIDATES {
            let count = candidates.len();
            return Err(invalid(
                "candidates",
                format!("give from 1 to {LIMIT_CANDIDATES} answers to rank, not {count}"),
            ));
        }
        let ids = candidates.iter().enumerate().map(|(i, text)| {
            let encoded = self.tokenizers().encode_any(text)?;
            if text.trim().is_empty() {
                return Err(invalid("candidates", format!("number {} has no text", i + 1)));
            }
            Ok(encoded.language.0)
        });
        ids.collect()
    }
}

fn log_priors(options: &RankOptions, count: usize) -> Result<Vec<f64>> {
    let Some(prior) = &options.prior else { return Ok(vec![0.0; count]) };
    if prior.len() != count {
        return Err(invalid(
            "prior",
            format!("it has {} weights for {count} candidates", prior.len()),
        ));
    }
    if let Some(weight) = prior.iter().find(|weight| !(weight.is_finite() && **weight > 0.0)) {
        return Err(invalid("prior", format!("{weight} is not above 0")));
    }
    Ok(prior.iter().map(|weight| f64::from(*weight).ln()).collect())
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

fn invalid(option: &str, reason: String) -> Error {
    Error::OptionInvalid { option: option.into(), reason }
}
