//! The tensors of a checkpoint on the device, waiting for the modules that take them.
//!
//! Shards arrive in any order; every tensor is compared with what the model asks for, goes to the
//! device as it is, and is taken by name when all are there. Nothing is kept on the host.

use std::cell::RefCell;
use std::collections::HashMap;

use burn::tensor::{Device, Int, Tensor};

use super::{Description, Source, Wanted, Weights};
use crate::checkpoint::Dtype;
use crate::error::{Error, Result};
use crate::kernels::launch::floats_from_words;
use crate::kernels::matrix::words_from_bytes;
use crate::kernels::{Matrix, embedding, words_tensor};
use crate::quant::Format;

/// The device's tensors by their name in the checkpoint.
#[derive(Debug)]
pub struct WeightStore {
    device: Device,
    description: Description,
    tensors: RefCell<HashMap<String, Stored>>,
}

#[derive(Debug)]
struct Stored {
    dtype: Dtype,
    words: Tensor<1, Int>,
}

impl WeightStore {
    /// An empty store for the model of `description`.
    #[must_use]
    pub fn new(description: Description, device: &Device) -> Self {
        Self { device: device.clone(), description, tensors: RefCell::default() }
    }

    /// The device the tensors are on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// All of it.
    #[must_use]
    pub fn weights(&self) -> Weights<'_> {
        Weights::root(Source::Stored(self))
    }

    /// Copies a tensor to the device: words, F16 and F32 as they are, BF16 widened to F32.
    /// What the model does not read is left out.
    ///
    /// # Errors
    /// The tensor is not what the model asks for, or `bytes` not what `dtype` and `shape` say.
    pub fn insert(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> Result<()> {
        if self.description.check(name, dtype, shape)?.is_none() {
            return Ok(());
        }
        let count = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        if count.and_then(|count| count.checked_mul(dtype.size())) != Some(bytes.len()) {
            return Err(Error::TensorShape {
                name: name.into(),
                expected: format!("{dtype} {shape:?}"),
                found: format!("{} bytes", bytes.len()),
            });
        }
        let (dtype, bytes) = match dtype {
            Dtype::BF16 => {
                let wide = bytes.chunks_exact(2).flat_map(|half| [0, 0, half[0], half[1]]);
                (Dtype::F32, wide.collect())
            }
            dtype => (dtype, bytes),
        };
        let stored = Stored { dtype, words: words_from_bytes(bytes, &self.device) };
        self.tensors.get_mut().insert(name.to_owned(), stored);
        Ok(())
    }

    /// Takes the pieces of a matrix.
    pub(super) fn matrix(&self, wanted: &Wanted) -> Result<Matrix> {
        let (n, k) = wanted.rows();
        let names = self.description.names(wanted);
        let stored = names.map(|name| self.take(&name)).collect::<Result<Vec<_>>>()?;
        let format = wanted.format(self.description.packing());
        let format = format.unwrap_or_else(|| match stored.first() {
            Some(Stored { dtype: Dtype::F16, .. }) => Format::F16,
            _ => Format::F32,
        });
        let pieces = stored.into_iter().map(|stored| stored.words).collect();
        Ok(Matrix::new(format, n, k, pieces))
    }

    /// Takes a tensor as f32.
    pub(super) fn floats(&self, wanted: &Wanted) -> Result<Tensor<1>> {
        let Stored { dtype, words } = self.take(&wanted.name)?;
        if dtype == Dtype::F32 {
            return Ok(floats_from_words(words));
        }
        // Looking up all rows of an f16 table widens it.
        let (n, k) = wanted.rows();
        let rows = words_tensor((0..n as u32).collect(), &self.device);
        Ok(embedding(&rows, &Matrix::new(Format::F16, n, k, vec![words])).reshape([-1]))
    }

    fn take(&self, name: &str) -> Result<Stored> {
        let found = self.tensors.borrow_mut().remove(name);
        found.ok_or_else(|| Error::TensorMissing { name: name.into() })
    }
}
