//! The rows of any stored weight as f32, a block at a time.
//!
//! In: a tensor of an open folder, in any format. Out: `[rows, k]` f32 values: exact for
//! floating-point tensors, unpacked for packed ones. Several threads work on neighbouring
//! blocks; what they yield comes in order, so results do not depend on their number.

use super::folder::{Folder, TensorView};
use super::safetensors::Dtype;
use crate::error::{Error, Result};
use crate::quant::{self, Format, Packed, f16};
use std::ops::Range;

/// Weights that a thread takes at a time: bounds the memory.
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
    Floats(Dtype, &'a [u8]),
    Packed { format: Format, words: &'a [u8], scales: &'a [u8] },
}

impl<'a> Rows<'a> {
    /// Sees a tensor as rows; for a packed one its scales are looked up beside it.
    ///
    /// # Errors
    /// The tensor holds no weights, or words and scales do not belong together.
    pub fn of(folder: &'a Folder, tensor: TensorView<'a>) -> Result<Self> {
        let TensorView { name, dtype, shape, bytes } = tensor;
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
            let source = Source::Packed { format, words: bytes, scales: beside.bytes };
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
        Ok(Self { name, n, k, source: Source::Floats(dtype, bytes) })
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
    /// The rows do not exist.
    pub fn read(&self, rows: Range<usize>) -> Result<Vec<f32>> {
        let count = rows.len();
        let slice = |bytes: &'a [u8], row: usize| {
            let range = rows.start.checked_mul(row)?..rows.end.checked_mul(row)?;
            bytes.get(range)
        };
        let none = || Error::Internal { reason: format!("{} has no rows {rows:?}", self.name) };
        match self.source {
            Source::Floats(dtype, bytes) => {
                let bytes = slice(bytes, self.k * dtype.size()).ok_or_else(none)?;
                Ok(match dtype {
                    Dtype::F16 => f16::widen(bytes).collect(),
                    Dtype::BF16 => f16::widen_bf16(bytes).collect(),
                    _ => bytes
                        .chunks_exact(4)
                        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                        .collect(),
                })
            }
            Source::Packed { format, words, scales } => {
                let per_word = format.weights_per_word().ok_or_else(none)?;
                let words = slice(words, self.k / per_word * 4).ok_or_else(none)?;
                let scales = slice(scales, self.k / quant::GROUP * 2).ok_or_else(none)?;
                let packed = Packed {
                    words: words
                        .chunks_exact(4)
                        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                        .collect(),
                    scales: scales
                        .chunks_exact(2)
                        .map(|b| half::f16::from_le_bytes([b[0], b[1]]))
                        .collect(),
                };
                quant::dequantize(format, &packed, count, self.k)
            }
        }
    }

    /// Passes all rows through `work`, on up to `threads` threads, and its results in order to
    /// `sink`. `work` gets the values and the number of rows.
    ///
    /// # Errors
    /// What `work` or `sink` returns.
    pub fn map_blocks<T: Send>(
        &self,
        threads: usize,
        work: impl Fn(&[f32], usize) -> Result<T> + Sync,
        mut sink: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        if self.k == 0 {
            return Ok(());
        }
        let step = (BLOCK / self.k).max(1);
        let block = |start: usize| -> Result<T> {
            let rows = start..self.n.min(start.saturating_add(step));
            work(&self.read(rows.clone())?, rows.len()).map_err(|e| self.locate(e, start))
        };
        let starts: Vec<usize> = (0..self.n).step_by(step).collect();
        for group in starts.chunks(threads.max(1)) {
            let (Some((&first, others)), block) = (group.split_first(), &block) else {
                continue;
            };
            let results: Vec<Result<T>> = std::thread::scope(|scope| {
                let handles: Vec<_> =
                    others.iter().map(|&start| scope.spawn(move || block(start))).collect();
                let panicked = |_| Err(Error::Internal { reason: "a thread panicked".into() });
                let mut results = vec![block(first)];
                results.extend(handles.into_iter().map(|h| h.join().unwrap_or_else(panicked)));
                results
            });
            results.into_iter().try_for_each(|result| sink(result?))?;
        }
        Ok(())
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

/// `X.scales` for `X.weight`.
#[must_use]
pub fn scales_name(weight: &str) -> String {
    format!("{}.scales", weight.strip_suffix(".weight").unwrap_or(weight))
}
