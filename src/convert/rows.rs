//! The rows of any stored weight as f32, a block at a time.
//!
//! In: a tensor that a model asks for, in any format. Out: `[rows, k]` f32 values: exact for
//! floating-point tensors, unpacked for packed ones. Several threads may read at once.

use super::Source;
use crate::checkpoint::{Dtype, TensorView};
use crate::error::{Error, Result};
use crate::quant::{Format, f16, f32};
use crate::weights::Wanted;
use std::ops::Range;

/// Weights in a block: bounds the memory.
const BLOCK: usize = 1 << 18;

/// A tensor seen as rows.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    /// What the model says of it.
    pub wanted: &'a Wanted,
    /// Rows: the first dimension; 1 for vectors.
    pub n: usize,
    /// Values in a row: all other dimensions together.
    pub k: usize,
    /// The format that it is packed in; `None` for floats.
    pub packing: Option<Format>,
    /// The tensors that hold it.
    pub pieces: Vec<TensorView<'a>>,
}

impl<'a> Rows<'a> {
    /// Sees a tensor as rows; `None` where the folder does not have it, and nobody would read it.
    ///
    /// # Errors
    /// The tensor is missing, or is not what the model asks for.
    pub(super) fn of(source: &'a Source, wanted: &'a Wanted) -> Result<Option<Self>> {
        let Source { folder, description, .. } = source;
        let mut pieces = Vec::new();
        for name in description.names(wanted) {
            let tensor = match folder.tensor(&name) {
                Err(Error::TensorMissing { .. }) if !wanted.read => return Ok(None),
                other => other?,
            };
            description.check(&name, tensor.dtype, tensor.shape)?;
            pieces.push(tensor);
        }
        let (n, k) = wanted.rows();
        let packing = wanted.format(description.packing()).filter(|format| format.is_packed());
        Ok(Some(Self { wanted, n, k, packing, pieces }))
    }

    /// Bytes of all pieces.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.pieces.iter().map(TensorView::byte_len).sum()
    }

    /// Some rows as f32, `[rows.len(), k]`.
    ///
    /// # Errors
    /// The rows do not exist, or the file cannot be read.
    pub fn read(&self, rows: Range<usize>) -> Result<Vec<f32>> {
        let read = |tensor: &TensorView<'_>| {
            let row = tensor.byte_len() / self.n.max(1);
            let range = || Some(rows.start.checked_mul(row)?..rows.end.checked_mul(row)?);
            tensor.read_range(range().ok_or_else(|| Error::Internal {
                reason: format!("{} has no rows {rows:?}", self.wanted.name),
            })?)
        };
        let pieces = self.pieces.iter().map(read).collect::<Result<Vec<_>>>()?;
        if let Some(format) = self.packing {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            return (format.spec().unpack)(&pieces, rows.len(), self.k);
        }
        let bytes = pieces.first().map(Vec::as_slice).unwrap_or_default();
        Ok(match self.pieces.first().map(|tensor| tensor.dtype) {
            Some(Dtype::F16) => f16::widen(bytes).collect(),
            Some(Dtype::BF16) => f16::widen_bf16(bytes).collect(),
            _ => f32::widen(bytes).collect(),
        })
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
                name: self.wanted.name.clone(),
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
