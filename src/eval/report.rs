//! Scores per task, as JSON and as a table beside the paper's.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::answers::{AnswerRecord, AnswersFile, key};
use super::cider::{Caption, cider};
use super::{Item, Metric, ranking, vqa};
use crate::error::Result;
use crate::session::AskOptions;

/// Zero-shot figures of the smallest InstructBLIP: table 1 of arXiv 2305.06500. The metric is
/// given where the paper names one other than top-1 accuracy.
const PAPER: [(&str, &str, Option<Metric>, f64); 13] = [
    ("nocaps", "NoCaps", Some(Metric::Cider), 119.9),
    ("flickr30k", "Flickr30K", Some(Metric::Cider), 84.5),
    ("gqa", "GQA", None, 48.4),
    ("vsr", "VSR", None, 64.8),
    ("iconqa", "IconQA", None, 50.0),
    ("textvqa", "TextVQA", None, 46.6),
    ("visdial", "VisDial", Some(Metric::Mrr), 46.6),
    ("hm", "HM", Some(Metric::Auc), 56.6),
    ("vizwiz", "VizWiz", None, 32.7),
    ("sciqa", "SciQA image", None, 70.4),
    ("msvd-qa", "MSVD QA", None, 43.4),
    ("msrvtt-qa", "MSRVTT QA", None, 25.0),
    ("ivqa", "iVQA", None, 53.1),
];

/// The metric that the paper scores a task with, where the data do not decide it.
pub(super) fn metric_of(task: &str) -> Option<Metric> {
    PAPER.iter().find(|row| row.0 == task).and_then(|row| row.2)
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskScore {
    /// The task's name in the data.
    pub task: String,
    /// How it was scored.
    pub metric: Metric,
    /// Answered items.
    pub items: usize,
    /// The figure in the paper's unit, 100 times the measure; `None` where it is undefined.
    pub score: Option<f64>,
    /// The paper's figure, for a task of the paper.
    pub paper: Option<f64>,
    /// Mean time of an item.
    pub milliseconds: f64,
}

/// What a run found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The model's folder.
    pub model: String,
    /// Tells models apart, see [`fingerprint`](super::fingerprint).
    pub fingerprint: String,
    /// The data set's file.
    pub data: String,
    /// Decoding of the generated answers, by metric.
    pub decoding: BTreeMap<&'static str, AskOptions>,
    /// A row a task.
    pub tasks: Vec<TaskScore>,
}

impl Report {
    /// Scores the answers that are there.
    ///
    /// # Errors
    /// As [`key`].
    pub fn new(
        model: String,
        fingerprint: String,
        data: String,
        items: &[(Item, AskOptions)],
        answers: &AnswersFile,
    ) -> Result<Self> {
        let mut tasks: BTreeMap<&str, Vec<(&Item, &AnswerRecord)>> = BTreeMap::new();
        let mut decodings = BTreeMap::new();
        for (item, decoding) in items {
            if item.candidates.is_empty() {
                decodings.insert(item.metric.name(), decoding.clone());
            }
            if let Some(record) = answers.get(&key(item, decoding)?) {
                tasks.entry(&item.task).or_default().push((item, record));
            }
        }
        let tasks = tasks.into_iter().map(|(task, answered)| row(task, &answered)).collect();
        Ok(Self { model, fingerprint, data, decoding: decodings, tasks })
    }

    /// The table.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut table = String::from(
            "| task | metric | items | this model | InstructBLIP (FlanT5-XL), paper |\n|---|---|--:|--:|--:|\n",
        );
        let figure =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
        for row in &self.tasks {
            let name = PAPER
                .iter()
                .find(|paper| paper.0 == row.task)
                .map_or(row.task.as_str(), |paper| paper.1);
            // Writing to a string cannot fail.
            let _ = writeln!(
                table,
                "| {} | {} | {} | {} | {} |",
                name.replace('|', "\\|"),
                row.metric.title(),
                row.items,
                figure(row.score),
                figure(row.paper)
            );
        }
        table
    }
}

fn row(task: &str, answered: &[(&Item, &AnswerRecord)]) -> TaskScore {
    let metric = answered.first().map_or(Metric::Exact, |(item, _)| item.metric);
    let paper = PAPER.iter().find(|row| row.0 == task).map(|row| row.3);
    let count = answered.len() as f64;
    let milliseconds = answered.iter().map(|(_, record)| record.milliseconds).sum::<f64>() / count;
    let score = score(metric, answered).map(|score| 100.0 * score);
    TaskScore { task: task.to_owned(), metric, items: answered.len(), score, paper, milliseconds }
}

fn score(metric: Metric, answered: &[(&Item, &AnswerRecord)]) -> Option<f64> {
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
    let each = |score: fn(&Item, &AnswerRecord) -> f64| {
        mean(&answered.iter().map(|(item, record)| score(item, record)).collect::<Vec<_>>())
    };
    match metric {
        Metric::Vqa => Some(each(|item, record| vqa::accuracy(&record.text, &item.answers))),
        Metric::Exact => Some(each(|item, record| f64::from(right(item, record)))),
        Metric::Mrr => Some(each(|item, record| {
            item.gold.map_or(0.0, |gold| ranking::reciprocal_rank(&record.scores, gold))
        })),
        Metric::Auc => {
            let items: Vec<(f64, bool)> = answered
                .iter()
                .filter_map(|(item, record)| match record.scores[..] {
                    [negative, positive] => {
                        Some((f64::from(positive) - f64::from(negative), item.gold == Some(1)))
                    }
                    _ => None,
                })
                .collect();
            ranking::auc(&items)
        }
        // The document frequencies of one picture say nothing.
        Metric::Cider if answered.len() < 2 => None,
        Metric::Cider => {
            let captions: Vec<Caption<'_>> = answered
                .iter()
                .map(|(item, record)| Caption {
                    candidate: &record.text,
                    references: &item.answers,
                })
                .collect();
            Some(mean(&cider(&captions)))
        }
    }
}

fn right(item: &Item, record: &AnswerRecord) -> bool {
    match item.gold {
        Some(gold) => ranking::best(&record.scores) == Some(gold),
        None => vqa::exact(&record.text, &item.answers),
    }
}
