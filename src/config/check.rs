//! What every configuration file goes through: bounded JSON, and sizes within sane limits.

use crate::error::{Error, Result};
use crate::limits;
use serde::de::DeserializeOwned;

/// Widths (hidden, feed-forward, vocabulary) beyond this are a mistake or an attack.
pub(super) const MAX_WIDTH: usize = 1 << 22;
pub(super) const MAX_LAYERS: usize = 1024;
pub(super) const MAX_HEADS: usize = 4096;
/// The widest head that the attention kernel takes.
pub const MAX_HEAD_WIDTH: usize = 256;
pub(super) const MAX_IMAGE_SIZE: usize = 2048;
pub(super) const MAX_PATCHES: usize = 1 << 16;
pub(super) const MAX_POSITIONS: usize = 1 << 16;
/// Elements of one matrix: its f32 bytes must stay below 2^32.
const MAX_MATRIX: usize = (1 << 30) - 1;

/// The main file's name, for complaints.
pub(super) const FILE: &str = "config.json";

/// Parses a JSON object of a bounded length.
pub(super) fn parse_json<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T> {
    limits::check(file, bytes.len() as u64)?;
    serde_json::from_slice(bytes).map_err(|e| invalid(file, format!("it cannot be read ({e})")))
}

pub(super) fn invalid(file: &str, reason: impl Into<String>) -> Error {
    Error::ConfigInvalid { file: file.into(), reason: reason.into() }
}

/// Checks on the fields of one section of `config.json`, named in every complaint.
pub(super) struct Section(pub &'static str);

impl Section {
    pub(super) fn fail(&self, reason: &str) -> Result<()> {
        let Self(name) = self;
        let dot = if name.is_empty() { "" } else { ": " };
        Err(invalid(FILE, format!("{name}{dot}{reason}")))
    }

    pub(super) fn size(&self, field: &str, value: usize, most: usize) -> Result<()> {
        if (1..=most).contains(&value) {
            return Ok(());
        }
        self.fail(&format!("{field} is {value}; it must be from 1 to {most}"))
    }

    pub(super) fn divides(&self, part: &str, by: usize, field: &str, value: usize) -> Result<()> {
        if by != 0 && value.is_multiple_of(by) {
            return Ok(());
        }
        self.fail(&format!("{part} {by} does not divide {field} {value}"))
    }

    /// Heads divide the width into parts that the attention kernel takes.
    pub(super) fn heads(&self, heads: usize, width: usize) -> Result<()> {
        self.size("num_attention_heads", heads, MAX_HEADS)?;
        self.divides("num_attention_heads", heads, "hidden_size", width)?;
        self.size("width of a head", width / heads, MAX_HEAD_WIDTH)
    }

    pub(super) fn epsilon(&self, field: &str, value: f32) -> Result<()> {
        if value.is_finite() && (0.0..1.0).contains(&value) {
            return Ok(());
        }
        self.fail(&format!("{field} is {value}; it must be from 0 and below 1"))
    }

    pub(super) fn matrix(&self, what: &str, shape: &[usize]) -> Result<()> {
        let elements = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if elements.is_some_and(|n| n <= MAX_MATRIX) {
            return Ok(());
        }
        self.fail(&format!("the {what} of shape {shape:?} is too large"))
    }
}
