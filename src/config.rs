//! The checkpoint's configuration files, typed and checked.
//!
//! In: the bytes of files as `transformers` writes them. Out: types whose sizes every later part
//! may rely on. Field names are those of `transformers`; fields we have no use for are ignored,
//! and missing ones take the defaults of its classes. Here are the parts that no model owns: how
//! weights are packed, how pictures are prepared ([`processor`]) and answers made ([`knobs`]). The
//! sections of `config.json` are read beside the models that they describe
//! ([`ModelConfig`](crate::models::ModelConfig)).

pub mod about;
pub(crate) mod check;
pub mod knobs;
pub mod processor;
#[cfg(test)]
mod tests;

pub use about::About;
pub use check::MAX_HEAD_WIDTH;
pub use knobs::{AskOptions, GenerationConfig, Settings};
pub use processor::{Fit, Normalize, PictureSize, PreprocessorConfig, Resample};

use crate::quant::{Format, GROUP};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How `instructblip convert` packed the weights; absent in a plain checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuantizationConfig {
    /// Always [`QuantizationConfig::METHOD`].
    pub quant_method: String,
    /// The format of the packed matrices (single tensors may be wider).
    pub format: Format,
    /// Weights that share a scale: [`GROUP`].
    pub group_size: usize,
    /// The matrices in another format, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exceptions: BTreeMap<String, Format>,
}

impl QuantizationConfig {
    /// The one `quant_method` this crate writes and reads.
    pub const METHOD: &'static str = "instructblip-web";

    /// The configuration of a set converted to `format`.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            quant_method: Self::METHOD.into(),
            format,
            group_size: GROUP,
            exceptions: BTreeMap::new(),
        }
    }

    /// The format of the matrix `name`.
    #[must_use]
    pub fn format_of(&self, name: &str) -> Format {
        self.exceptions.get(name).copied().unwrap_or(self.format)
    }
}
