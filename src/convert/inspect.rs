//! What is in a checkpoint: parts, tensors, parameters, bytes and formats.
//!
//! In: a plain checkpoint or a shard set. Out: a [`Table`] for people and for machines.

use super::Source;
use super::rows::Rows;
use crate::config::About;
use crate::error::Result;
use crate::weights::Part;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The content of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// A row for every part that has tensors.
    pub rows: Vec<Row>,
    /// Tensors of the model; a packed matrix and its scales count as one.
    pub tensors: u64,
    /// Parameters of the model.
    pub parameters: u64,
    /// Bytes of tensor data, without headers and fillers.
    pub bytes: u64,
    /// Files that hold tensors.
    pub files: u64,
    /// Bytes of these files.
    pub file_bytes: u64,
    /// What the set says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
}

/// A part of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The part's name.
    pub part: String,
    /// Its tensors.
    pub tensors: u64,
    /// Its parameters.
    pub parameters: u64,
    /// Bytes of its tensors, scales included.
    pub bytes: u64,
    /// The formats of its tensors, the one with the most parameters first.
    pub formats: Vec<Share>,
}

/// What a part has in one format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Share {
    /// `q4`, `q8`, or an element type such as `f32`.
    pub format: String,
    /// Tensors in this format.
    pub tensors: u64,
    /// Parameters in this format.
    pub parameters: u64,
    /// Bytes in this format.
    pub bytes: u64,
}

/// Looks into the checkpoint at `path`. Reads headers only.
///
/// # Errors
/// The checkpoint is invalid.
pub fn inspect(path: &Path) -> Result<Table> {
    let source = Source::open(path)?;
    let Source { folder, description, .. } = &source;
    let about = About::of_config(&source.config)?;
    let mut parts: BTreeMap<Part, BTreeMap<String, Share>> = BTreeMap::new();
    let mut add = |part: Part, format: String, parameters: u64, bytes: usize| {
        let share = parts.entry(part).or_default().entry(format.clone()).or_default();
        share.format = format;
        share.tensors += 1;
        share.parameters += parameters;
        share.bytes += bytes as u64;
    };
    for wanted in description.wanted() {
        let present = description.names(wanted).any(|name| folder.tensor(&name).is_ok());
        if let Some(rows) = if present { Rows::of(&source, wanted)? } else { None } {
            let dtype = rows.pieces.first().map(|piece| piece.dtype.name().to_ascii_lowercase());
            let packing = rows.packing.map(|format| format.to_string());
            let format = packing.or(dtype).unwrap_or_default();
            add(wanted.part, format, wanted.parameters(), rows.byte_len());
        }
    }
    for tensor in source.strange() {
        let parameters = tensor.shape.iter().map(|size| *size as u64).product();
        let format = tensor.dtype.name().to_ascii_lowercase();
        add(Part::Other, format, parameters, tensor.byte_len());
    }
    let rows: Vec<Row> =
        parts.into_iter().map(|(part, shares)| Row::new(part, shares.into_values())).collect();
    Ok(Table {
        tensors: rows.iter().map(|r| r.tensors).sum(),
        parameters: rows.iter().map(|r| r.parameters).sum(),
        bytes: rows.iter().map(|r| r.bytes).sum(),
        rows,
        files: folder.headers().count() as u64,
        file_bytes: folder
            .headers()
            .map(|(_, h)| (h.data_start + h.tensors.last().map_or(0, |t| t.range.end)) as u64)
            .sum(),
        about,
    })
}

impl Row {
    fn new(part: Part, shares: impl Iterator<Item = Share>) -> Self {
        let mut formats: Vec<Share> = shares.collect();
        formats
            .sort_by(|a, b| b.parameters.cmp(&a.parameters).then_with(|| a.format.cmp(&b.format)));
        Self {
            part: part.to_string(),
            tensors: formats.iter().map(|s| s.tensors).sum(),
            parameters: formats.iter().map(|s| s.parameters).sum(),
            bytes: formats.iter().map(|s| s.bytes).sum(),
            formats,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20} {:>8} {:>15} {:>15}  format",
            "part", "tensors", "parameters", "bytes"
        )?;
        for row in &self.rows {
            let formats: Vec<&str> = row.formats.iter().map(|s| s.format.as_str()).collect();
            let (tensors, parameters, bytes) =
                (row.tensors, grouped(row.parameters), grouped(row.bytes));
            writeln!(
                f,
                "{:<20} {tensors:>8} {parameters:>15} {bytes:>15}  {}",
                row.part,
                formats.join(" + ")
            )?;
        }
        let (parameters, bytes) = (grouped(self.parameters), grouped(self.bytes));
        let (files, file_bytes) = (self.files, grouped(self.file_bytes));
        let in_files = if files == 1 { "in 1 file".into() } else { format!("in {files} files") };
        writeln!(
            f,
            "{:<20} {:>8} {parameters:>15} {bytes:>15}  {in_files} of {file_bytes} bytes",
            "all", self.tensors
        )?;
        let Some(About { knows, language, dialogues, unsure_below }) = &self.about else {
            return Ok(());
        };
        for (language, text) in knows {
            writeln!(f, "knows ({language}): {text}")?;
        }
        if let Some(language) = language {
            writeln!(f, "asked in: {language}")?;
        }
        if let Some(dialogues) = dialogues {
            writeln!(f, "trained on dialogues: {}", if *dialogues { "yes" } else { "no" })?;
        }
        if let Some(below) = unsure_below {
            writeln!(f, "unsure below a probability of {below}")?;
        }
        Ok(())
    }
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn digits_are_grouped() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (4_022_969_088, "4,022,969,088")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
