//! Named tensors on the device, waiting for the modules that take them.
//!
//! Shards arrive in any order; every tensor goes to the device as it is, and the models pick
//! theirs by name when all are there. Nothing is kept on the host.

use std::collections::HashMap;

use burn::tensor::{DType, Device, Int, Tensor};

use super::names::canonical;
use super::safetensors::Dtype;
use crate::config::QuantizationConfig;
use crate::error::{Error, Result};
use crate::kernels::launch::floats_from_words;
use crate::kernels::matrix::words_from_bytes;
use crate::kernels::{Matrix, embedding, words_tensor};
use crate::quant::{Format, GROUP};

/// The device's tensors by their name in the checkpoint.
#[derive(Debug)]
pub struct WeightStore {
    device: Device,
    tensors: HashMap<String, Stored>,
    bytes: u64,
    /// Set where the store makes up what it is asked for.
    blank: Option<Formats>,
}

/// The formats of a checkpoint's matrices; f32 where it is not packed.
type Formats = Option<QuantizationConfig>;

#[derive(Debug)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    words: Tensor<1, Int>,
}

impl WeightStore {
    /// An empty store for `device`.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self { device: device.clone(), tensors: HashMap::new(), bytes: 0, blank: None }
    }

    /// A store that has whatever tensor it is asked for, in the format that `packed` says and
    /// with no particular contents: for a model that is run for the pipelines it needs.
    #[must_use]
    pub fn blank(device: &Device, packed: Option<QuantizationConfig>) -> Self {
        Self { blank: Some(packed), ..Self::new(device) }
    }

    /// The device the tensors are on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Bytes of all tensors put in so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies a tensor to the device: U32, F16 and F32 as they are, BF16 widened to F32.
    /// Tensors of other types, and those the models do not use, are left out.
    ///
    /// # Errors
    /// `bytes` is not what `dtype` and `shape` say.
    pub fn insert(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        bytes: &[u8],
    ) -> Result<()> {
        let Some(name) = canonical(name) else {
            return Ok(());
        };
        let count = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        if count.and_then(|count| count.checked_mul(dtype.size())) != Some(bytes.len()) {
            return Err(Error::TensorShape {
                name: name.into(),
                expected: format!("{dtype} {shape:?}"),
                found: format!("{} bytes", bytes.len()),
            });
        }
        let (dtype, bytes) = match dtype {
            Dtype::U32 | Dtype::F32 | Dtype::F16 => (dtype, bytes.to_vec()),
            Dtype::BF16 => {
                let wide = bytes.chunks_exact(2).flat_map(|half| [0, 0, half[0], half[1]]);
                (Dtype::F32, wide.collect())
            }
            _ => return Ok(()),
        };
        self.bytes += bytes.len() as u64;
        let stored =
            Stored { dtype, shape: shape.to_vec(), words: words_from_bytes(bytes, &self.device) };
        self.tensors.insert(name.to_owned(), stored);
        Ok(())
    }

    /// Takes the matrix `{prefix}.weight` of `n` rows and `k` columns, in its storage format.
    ///
    /// Trailing dimensions of floating-point tensors may be folded into `k` (a convolution).
    ///
    /// # Errors
    /// It is missing or has another shape.
    pub fn matrix(&mut self, prefix: &str, n: usize, k: usize) -> Result<Matrix> {
        let name = format!("{prefix}.weight");
        if let Some(formats) = &self.blank {
            return Ok(blank_matrix(formats, &name, n, k, &self.device));
        }
        let stored = self.take(&name)?;
        let misfit = |found: String| Error::TensorShape {
            name: name.clone(),
            expected: format!("[{n}, {k}]"),
            found,
        };
        let (format, scales) = match stored.dtype {
            Dtype::U32 => {
                let scales = self.take(&format!("{prefix}.scales"))?;
                let format = Format::of_packed(&stored.shape, &scales.shape)
                    .filter(|_| scales.dtype == Dtype::F16)
                    .filter(|_| scales.shape == [n, k / GROUP])
                    .filter(|_| k.is_multiple_of(GROUP))
                    .ok_or_else(|| {
                        misfit(format!(
                            "words {:?} with scales {} {:?}",
                            stored.shape, scales.dtype, scales.shape
                        ))
                    })?;
                (format, Some(scales.words))
            }
            dtype => {
                let rows = stored.shape.first().copied().unwrap_or(0);
                if rows != n || stored.shape.iter().product::<usize>() != n * k {
                    return Err(misfit(format!("{:?}", stored.shape)));
                }
                let format = if dtype == Dtype::F16 { Format::F16 } else { Format::F32 };
                (format, None)
            }
        };
        Ok(Matrix::new(format, n, k, stored.words, scales))
    }

    /// Takes a floating-point tensor as f32 of the given shape; the checkpoint's may have
    /// leading dimensions of size 1 besides.
    ///
    /// # Errors
    /// It is missing, packed, or has another shape.
    pub fn floats<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        if self.blank.is_some() {
            return Ok(Tensor::empty(shape, &self.device));
        }
        let stored = self.take(name)?;
        let significant = |sizes: &[usize]| -> Vec<usize> {
            sizes.iter().copied().skip_while(|size| *size == 1).collect()
        };
        if significant(&stored.shape) != significant(&shape) {
            return Err(Error::TensorShape {
                name: name.into(),
                expected: format!("{shape:?}"),
                found: format!("{:?}", stored.shape),
            });
        }
        let k = shape.last().copied().unwrap_or(1);
        let n = shape.iter().product::<usize>() / k.max(1);
        match stored.dtype {
            Dtype::F32 => Ok(floats_from_words(stored.words).reshape(shape)),
            Dtype::F16 => {
                let rows = words_tensor((0..n as u32).collect(), &self.device);
                let table = Matrix::new(Format::F16, n, k, stored.words, None);
                Ok(embedding(&rows, &table).reshape(shape))
            }
            dtype => Err(Error::TensorShape {
                name: name.into(),
                expected: "a floating-point tensor".into(),
                found: dtype.to_string(),
            }),
        }
    }

    /// Whether the tensor is there.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Names nobody has taken, sorted.
    #[must_use]
    pub fn remaining(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    fn take(&mut self, name: &str) -> Result<Stored> {
        self.tensors.remove(name).ok_or_else(|| Error::TensorMissing { name: name.into() })
    }
}

fn blank_matrix(formats: &Formats, name: &str, n: usize, k: usize, device: &Device) -> Matrix {
    let added = name.ends_with("relative_attention_bias.weight"); // stays in f32, see `recipe`
    let format = match formats {
        Some(packed) if !added => packed.format_of(name).or_f16(k),
        _ => Format::F32,
    };
    let words = |weights_a_word: usize| {
        Tensor::empty([(n * k).div_ceil(weights_a_word)], (device, DType::U32))
    };
    let floats = if format == Format::F16 { 2 } else { 1 };
    let scales = format.is_packed().then(|| words(2 * GROUP));
    Matrix::new(format, n, k, words(format.weights_per_word().unwrap_or(floats)), scales)
}
