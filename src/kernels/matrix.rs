//! A weight matrix on the device, in the format in which it was stored.
//!
//! The bytes of a shard become the GPU buffer unchanged; kernels unpack in registers.

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::launch::{Arg, Host, Shader};
use crate::quant::{Format, Spec};

/// Row-major weights `[n, k]` in any storage format.
#[derive(Module, Debug)]
pub struct Matrix {
    /// The raw bytes of the format's pieces as 32-bit words, little endian.
    pieces: Vec<Tensor<1, Int>>,
    #[module(skip)]
    format: Format,
    #[module(skip)]
    n: usize,
    #[module(skip)]
    k: usize,
}

impl Matrix {
    /// A matrix over the pieces of its format, which are on the device already. The caller has
    /// checked their lengths.
    #[must_use]
    pub fn new(format: Format, n: usize, k: usize, pieces: Vec<Tensor<1, Int>>) -> Self {
        Self { pieces, format, n, k }
    }

    /// A matrix with no particular contents.
    #[must_use]
    pub fn blank(format: Format, n: usize, k: usize, device: &Device) -> Self {
        let empty = |bytes: usize| Tensor::empty([bytes.div_ceil(4)], (device, DType::U32));
        let pieces = format.spec().pieces.iter().map(|piece| empty(piece.bytes(n, k))).collect();
        Self::new(format, n, k, pieces)
    }

    /// Stores f32 weights `[n, k]` in `format`, or in f16 where rows cannot be packed.
    ///
    /// # Errors
    /// The number of weights is not `n * k`, or a weight is not finite.
    pub fn from_f32(
        weights: &[f32],
        n: usize,
        k: usize,
        format: Format,
        device: &Device,
    ) -> crate::Result<Self> {
        let format = format.or_f16(k);
        let pieces = (format.spec().pack)(weights, n, k)?;
        let pieces = pieces.into_iter().map(|bytes| words_from_bytes(bytes, device)).collect();
        Ok(Self::new(format, n, k, pieces))
    }

    /// Rows: output features, or embeddings.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// Columns: input features, or the embedding's width.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// The storage format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes of the storage format, scales included.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        let words: usize = self.pieces.iter().map(|piece| piece.dims()[0]).sum();
        (words * size_of::<u32>()) as u64
    }

    /// The device the weights are on.
    #[must_use]
    pub fn device(&self) -> Device {
        self.pieces.first().map_or_else(Device::default, Tensor::device)
    }

    /// The buffers in the order in which the shaders bind them.
    pub(super) fn args(&self) -> Vec<Arg> {
        self.pieces.iter().map(Arg::from).collect()
    }

    /// How many of a kernel's inputs are this matrix's.
    pub(super) fn arg_count(format: Format) -> usize {
        format.spec().pieces.len()
    }

    /// The shader `name` over weights of `format`.
    pub(super) fn shader(name: &'static str, format: Format) -> Shader {
        let Spec { wgsl, .. } = format.spec();
        Shader { name, parts: vec![wgsl], constants: vec![("MATRICES", 1)], flags: Vec::new() }
    }

    /// The oracle: all weights as f32, from host copies of [`Matrix::args`].
    pub(super) fn unpack(host: &[Host], format: Format, n: usize, k: usize) -> Vec<f32> {
        let Spec { pieces, unpack, .. } = format.spec();
        // Without the filling of the last word.
        let bytes = pieces.iter().zip(host).map(|(piece, host)| {
            let bytes: &[u8] = bytemuck::cast_slice(host.words());
            bytes.get(..piece.bytes(n, k)).unwrap_or(bytes)
        });
        unpack(&bytes.collect::<Vec<_>>(), n, k).unwrap_or_default()
    }
}

/// Puts raw little-endian bytes on the device as 32-bit words, the last one padded with zeros.
#[must_use]
pub fn words_from_bytes(mut bytes: Vec<u8>, device: &Device) -> Tensor<1, Int> {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let shape = [bytes.len() / 4];
    let data = TensorData::from_bytes_vec(bytes, shape, DType::U32);
    Tensor::from_data(data, (device, DType::U32))
}
