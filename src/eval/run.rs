//! Asks the model about every item that has no answer yet.

use std::ops::ControlFlow;
use std::path::PathBuf;

use web_time::Instant;

use super::answers::{AnswerRecord, AnswersFile, key};
use super::{Item, ranking};
use crate::error::{Error, Result};
use crate::pace::Pace;
use crate::session::{AskOptions, RankOptions, Session};

/// What is measured: a [`Session`], or a stand-in.
pub trait Model {
    /// Looks at the pictures that the next questions are about.
    ///
    /// # Errors
    /// They cannot be read as pictures, or the device failed.
    fn look(&mut self, pictures: &[Vec<u8>]) -> Result<()>;

    /// Generates an answer; with it comes its [probability](crate::session::Answer::probability).
    ///
    /// # Errors
    /// As [`Session::ask`].
    fn ask(&mut self, prompt: &str, decoding: &AskOptions) -> Result<(String, f32)>;

    /// Log-likelihood of each candidate, in their order.
    ///
    /// # Errors
    /// As [`Session::rank`].
    fn rank(
        &mut self,
        prompt: &str,
        candidates: &[String],
        options: &RankOptions,
    ) -> Result<Vec<f32>>;
}

impl Model for Session {
    fn look(&mut self, pictures: &[Vec<u8>]) -> Result<()> {
        pollster::block_on(self.set_pictures(pictures, &Pace::default())).map(|_| ())
    }

    fn ask(&mut self, prompt: &str, decoding: &AskOptions) -> Result<(String, f32)> {
        let answer = pollster::block_on(Session::ask(
            self,
            prompt,
            decoding,
            &Pace::default(),
            &mut |_| ControlFlow::Continue(()),
        ))?;
        Ok((answer.text, answer.probability))
    }

    fn rank(
        &mut self,
        prompt: &str,
        candidates: &[String],
        options: &RankOptions,
    ) -> Result<Vec<f32>> {
        let ranked =
            pollster::block_on(Session::rank(self, prompt, candidates, options, &Pace::default()))?;
        let mut scores = vec![f32::NEG_INFINITY; candidates.len()];
        for candidate in ranked {
            scores[candidate.index] = candidate.log_likelihood;
        }
        Ok(scores)
    }
}

/// Where a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Answers there, those of earlier runs included.
    pub done: usize,
    /// Items.
    pub total: usize,
}

/// Answers `items` in their order; what is in `answers` already is not asked again. Pictures are
/// computed once for neighbouring items that share them. `progress` may break to stop.
///
/// # Errors
/// [`Error::Cancelled`] when `progress` broke; [`Error::DataInvalid`] when an item's picture or
/// question is at fault; whatever else the model or the file says.
pub fn run(
    model: &mut dyn Model,
    items: &[(Item, AskOptions)],
    file: &str,
    answers: &mut AnswersFile,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<()> {
    let mut open = Vec::new();
    for (item, decoding) in items {
        let key = key(item, decoding)?;
        if answers.get(&key).is_none() {
            open.push((item, decoding, key));
        }
    }
    let total = items.len();
    let mut done = total - open.len();
    let mut seen: Option<&[PathBuf]> = None;
    for (item, decoding, key) in open {
        if progress(Progress { done, total }).is_break() {
            return Err(Error::Cancelled);
        }
        let start = Instant::now();
        let at_fault = |error| blame(error, file, item);
        if seen != Some(&item.images) {
            let pictures: Vec<Vec<u8>> = item
                .images
                .iter()
                .map(|path| std::fs::read(path).map_err(|error| Error::io(path, error)))
                .collect::<Result<_>>()?;
            model.look(&pictures).map_err(at_fault)?;
            seen = Some(&item.images);
        }
        let (text, probability, scores) = if item.candidates.is_empty() {
            let answer = model.ask(&item.prompt, decoding).map_err(|error| match error {
                // The decoding is the caller's, not the item's.
                Error::OptionInvalid { .. } => error,
                error => at_fault(error),
            })?;
            (answer.0, Some(answer.1), Vec::new())
        } else {
            let options = RankOptions {
                instruction_aware: decoding.instruction_aware,
                ..RankOptions::default()
            };
            let ranked = model.rank(&item.prompt, &item.candidates, &options);
            let scores = ranked.map_err(at_fault)?;
            let best = ranking::best(&scores).and_then(|best| item.candidates.get(best));
            (best.cloned().unwrap_or_default(), None, scores)
        };
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        let id = item.id.clone();
        answers.push(AnswerRecord { id, key, text, probability, scores, milliseconds })?;
        done += 1;
    }
    // Nothing is left to stop.
    let _ = progress(Progress { done, total });
    Ok(())
}

/// Names the line of an item whose content the model refused; faults of the device stay.
fn blame(error: Error, file: &str, item: &Item) -> Error {
    match error {
        Error::PictureEmpty
        | Error::PictureUndecodable { .. }
        | Error::PictureTooLarge { .. }
        | Error::QuestionEmpty
        | Error::OptionInvalid { .. } => Error::DataInvalid {
            file: file.to_owned(),
            line: item.line,
            reason: format!(
                "{} ({error})",
                item.images
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        },
        error => error,
    }
}
