//! A line of a data set as it is written.

use serde::Deserialize;

use super::Metric;

/// A line as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) id: Option<serde_json::Value>,
    pub(super) image: Images,
    pub(super) question: Option<String>,
    #[serde(default)]
    pub(super) answers: Vec<String>,
    #[serde(default)]
    pub(super) candidates: Vec<String>,
    pub(super) label: Option<usize>,
    pub(super) task: Option<String>,
    pub(super) metric: Option<Metric>,
    pub(super) prompt: Option<String>,
    pub(super) context: Option<String>,
    #[serde(default)]
    pub(super) history: Vec<(String, String)>,
}

/// One picture, or the frames of a video.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Images {
    One(String),
    Several(Vec<String>),
}
