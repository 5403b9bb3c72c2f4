//! Measures a model on a data set: questions in, scores beside the paper's out.
//!
//! A JSONL file becomes [`Item`]s ([`data`]), each with its finished prompt. [`run`] asks a
//! [`Model`] about every item and appends the answers to a file as they come, so that a run may
//! be stopped at any time and continued ([`answers`]). [`Report`] scores the answers per task.
//! The format and the metrics are described in `docs/eval.md`.

pub mod answers;
pub mod cider;
pub mod data;
mod line;
mod metric;
mod prompt;
pub mod ranking;
mod report;
mod run;
#[cfg(test)]
mod tests;
pub mod tokenize;
pub mod vqa;

pub use answers::{AnswerRecord, AnswersFile, fingerprint};
pub use data::Item;
pub use metric::Metric;
pub use report::{Report, TaskScore};
pub use run::{Model, Progress, run};
