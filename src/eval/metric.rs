//! The measures and how answers are decoded for them.

use serde::{Deserialize, Serialize};

use crate::session::AskOptions;

/// How a task's answers are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Agreement with the answers of ten people.
    Vqa,
    /// Share of answers equal to a given one, both normalised; of ranked candidates, the first.
    Exact,
    /// Consensus of captions.
    Cider,
    /// Mean reciprocal rank of the right candidate.
    Mrr,
    /// Area under the ROC curve of the second of two candidates.
    Auc,
}

impl Metric {
    /// The name in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vqa => "vqa",
            Self::Exact => "exact",
            Self::Cider => "cider",
            Self::Mrr => "mrr",
            Self::Auc => "auc",
        }
    }

    /// What the figure is, with its unit.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Vqa => "VQA accuracy, %",
            Self::Exact => "exact match, %",
            Self::Cider => "CIDEr x 100",
            Self::Mrr => "MRR x 100",
            Self::Auc => "ROC AUC x 100",
        }
    }

    /// Five beams: captions of 8 to 30 tokens, short answers of at most 10 with a length
    /// penalty of -1; our choice, which flags override. Ranked candidates are not decoded.
    #[must_use]
    pub fn decoding(self) -> AskOptions {
        let short = AskOptions {
            num_beams: Some(5),
            max_new_tokens: Some(10),
            length_penalty: Some(-1.0),
            ..AskOptions::default()
        };
        match self {
            Self::Cider => AskOptions {
                max_new_tokens: Some(30),
                min_length: Some(8),
                length_penalty: Some(1.0),
                ..short
            },
            _ => short,
        }
    }
}
