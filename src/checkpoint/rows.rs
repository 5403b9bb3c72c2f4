//! The rows of any stored weight as f32, a block at a time.
//!
//! In: a tensor of an open folder, in any format. Out: `[rows, k]` f32 values: exact for
//! floating-point tensors, unpacked for packed ones. Several threads may read at once.

use super::folder::{Folder, TensorView};
use super::safetensors::Dtype;
use crate::error::{Error, Result};
use crate::quant::{self, Format, Packed, f16};
use std::ops::Range;

/// Weights in a block: bounds the memory.
const BLOCK: usize = 1 << 18;

/// A tensor seen as rows.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The tensor's name.
    pub name: &'a str,
    /// Rows: the first dimension; 1 for vectors.
    pub n: usize,
    /// Values in a row: all other dimensions together.
    pub k: usize,
    source: Source<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    Floats(TensorView<'a>),
    Packed { format: Format, words: TensorView<'a>, scales: TensorView<'a> },
}

impl<'a> Rows<'a> {
    /// Sees a tensor as rows; for a packed one its scales are looked up beside it.
    ///
    /// # Errors
    /// The tensor holds no weights, or words and scales do not belong together.
    pub fn of(folder: &'a Folder, tensor: TensorView<'a>) -> Result<Self> {
        let TensorView { name, dtype, shape, .. } = tensor;
        if dtype == Dtype::U32 {
            let beside = folder.tensor(&scales_name(name))?;
            let format =
                Format::of_packed(shape, beside.shape).filter(|_| beside.dtype == Dtype::F16);
            let (Some(format), &[n, groups]) = (format, beside.shape) else {
                return Err(Error::TensorShape {
                    name: name.into(),
                    expected: "words with F16 scales of as many rows".into(),
                    found: format!("{shape:?} with {} {:?}", beside.dtype, beside.shape),
                });
            };
            let source = Source::Packed { format, words: tensor, scales: beside };
            return Ok(Self { name, n, k: groups * quant::GROUP, source });
        }
        if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(Error::TensorShape {
                name: name.into(),
                expected: "F32, F16, BF16 or packed weights".into(),
                found: format!("{dtype} {shape:?}"),
            });
        }
        let (n, k) = match *shape {
            [n, ref rest @ ..] if !rest.is_empty() => (n, rest.iter().product()),
            _ => (1, shape.iter().product()),
        };
        Ok(Self { name, n, k, source: Source::Floats(tensor) })
    }

    /// The format of a packed tensor.
    #[must_use]
    pub fn packing(&self) -> Option<Format> {
        match self.source {
            Source::Packed { format, .. } => Some(format),
            Source::Floats(..) => None,
        }
    }

    /// Some rows as f32, `[rows.len(), k]`.
    ///
    /// # Errors
    /// The rows do not exist, or the file cannot be read.
    pub fn read(&self, rows: Range<usize>) -> Result<Vec<f32>> {
        let count = rows.len();
        let none = || Error::Internal { reason: format!("{} has no rows {rows:?}", self.name) };
        let read = |tensor: &TensorView<'_>, row: usize| {
            let range = || Some(rows.start.checked_mul(row)?..rows.end.checked_mul(row)?);
            tensor.read_range(range().ok_or_else(none)?)
        };
        match &self.source {
            Source::Floats(tensor) => {
                let bytes = read(tensor, self.k * tensor.dtype.size())?;
                Ok(match tensor.dtype {
                    Dtype::F16 => f16::widen(&bytes).collect(),
                    Dtype::BF16 => f16::widen_bf16(&bytes).collect(),
                    _ => bytes
                        .chunks_exact(4)
                        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                        .collect(),
                })
            }
            Source::Packed { format, words, scales } => {
                let per_word = format.weights_per_word().ok_or_else(none)?;
                let packed = Packed {
                    words: read(words, self.k / per_word * 4)?
                        .chunks_exact(4)
                        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                        .collect(),
                    scales: read(scales, self.k / quant::GROUP * 2)?
                        .chunks_exact(2)
                        .map(|b| half::f16::from_le_bytes([b[0], b[1]]))
                        .collect(),
                };
                quant::dequantize(*format, &packed, count, self.k)
            }
        }
    }

    /// All rows in order, cut into blocks of about a megabyte of f32.
    #[must_use]
    pub fn blocks(&self) -> Vec<Range<usize>> {
        if self.k == 0 {
            return Vec::new();
        }
        let step = (BLOCK / self.k).max(1);
        (0..self.n).step_by(step).map(|start| start..self.n.min(start + step)).collect()
    }

    /// Reads a block and works on its values.
    ///
    /// # Errors
    /// The block cannot be read, or what `work` returns, with the tensor's name and the place.
    pub fn map<T>(
        &self,
        block: &Range<usize>,
        work: impl FnOnce(&[f32], usize) -> Result<T>,
    ) -> Result<T> {
        let values = self.read(block.clone())?;
        work(&values, block.len()).map_err(|e| self.locate(e, block.start))
    }

    /// Says of a value that cannot be stored where it is.
    fn locate(&self, error: Error, start: usize) -> Error {
        match error {
            Error::TensorValue { reason, .. } => Error::TensorValue {
                name: self.name.into(),
                reason: if start > 0 { format!("from row {start} on, {reason}") } else { reason },
            },
            other => other,
        }
    }
}

/// The blocks of several tensors in order, each with its tensor's place in the list: the pieces
/// that threads work on.
#[must_use]
pub fn pieces(tensors: &[Rows<'_>]) -> Vec<(usize, Range<usize>)> {
    let blocks = |(at, rows): (usize, &Rows<'_>)| {
        rows.blocks().into_iter().map(move |block| (at, block)).collect::<Vec<_>>()
    };
    tensors.iter().enumerate().flat_map(blocks).collect()
}

/// `X.scales` for `X.weight`.
#[must_use]
pub fn scales_name(weight: &str) -> String {
    format!("{}.scales", weight.strip_suffix(".weight").unwrap_or(weight))
}
