//! A weight matrix on the device, in the format in which it was stored.
//!
//! The bytes of a shard become the GPU buffer unchanged; kernels unpack in registers.

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::launch::{Arg, Host, Shader};
use crate::quant::{self, Format, Packed};

/// Row-major weights `[n, k]` in any storage format.
#[derive(Module, Debug)]
pub struct Matrix {
    /// The raw bytes as 32-bit words, little endian.
    words: Tensor<1, Int>,
    /// f16 scales, two a word; only for packed formats.
    scales: Option<Tensor<1, Int>>,
    #[module(skip)]
    format: Format,
    #[module(skip)]
    n: usize,
    #[module(skip)]
    k: usize,
}

impl Matrix {
    /// A matrix over words that are on the device already. The caller has checked their number.
    #[must_use]
    pub fn new(
        format: Format,
        n: usize,
        k: usize,
        words: Tensor<1, Int>,
        scales: Option<Tensor<1, Int>>,
    ) -> Self {
        Self { words, scales, format, n, k }
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
        let (bytes, scales) = match format {
            Format::F32 => (bytemuck::cast_slice(weights).to_vec(), None),
            Format::F16 => {
                let halves: Vec<half::f16> =
                    weights.iter().map(|w| half::f16::from_f32(*w)).collect();
                (bytemuck::cast_slice(&halves).to_vec(), None)
            }
            Format::Q8 | Format::Q4 => {
                let packed = quant::quantize(format, weights, n, k)?;
                (
                    bytemuck::cast_slice(&packed.words).to_vec(),
                    Some(bytemuck::cast_slice(&packed.scales).to_vec()),
                )
            }
        };
        Ok(Self::new(
            format,
            n,
            k,
            words_from_bytes(bytes, device),
            scales.map(|bytes| words_from_bytes(bytes, device)),
        ))
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
        let scales = self.scales.as_ref().map_or(0, |scales| scales.dims()[0]);
        ((self.words.dims()[0] + scales) * size_of::<u32>()) as u64
    }

    /// The device the weights are on.
    #[must_use]
    pub fn device(&self) -> Device {
        self.words.device()
    }

    /// The buffers in the order in which the shaders bind them: words, scales.
    pub(super) fn args(&self) -> Vec<Arg> {
        let mut args = vec![Arg::from(&self.words)];
        args.extend(self.scales.iter().map(Arg::from));
        args
    }

    /// How many of a kernel's inputs are this matrix's.
    pub(super) fn arg_count(format: Format) -> usize {
        if format.is_packed() { 2 } else { 1 }
    }

    /// The shader part that defines `weight8` for `format`.
    pub(super) fn shader_part(format: Format) -> &'static str {
        match format {
            Format::F32 => include_str!("../../shaders/weights/f32.wgsl"),
            Format::F16 => include_str!("../../shaders/weights/f16.wgsl"),
            Format::Q8 => include_str!("../../shaders/weights/q8.wgsl"),
            Format::Q4 => include_str!("../../shaders/weights/q4.wgsl"),
        }
    }

    /// The shader's name for messages, such as `matvec_q4`.
    pub(super) fn shader(name: &'static str, format: Format) -> Shader {
        Shader {
            name,
            parts: vec![Self::shader_part(format)],
            constants: vec![("MATRICES", 1)],
            flags: Vec::new(),
        }
    }

    /// The oracle: all weights as f32, from host copies of [`Matrix::args`].
    pub(super) fn unpack(host: &[Host], format: Format, n: usize, k: usize) -> Vec<f32> {
        let words = host[0].words();
        match format {
            Format::F32 => words.iter().map(|word| f32::from_bits(*word)).collect(),
            Format::F16 => halves(words, n * k).map(f32::from).collect(),
            Format::Q8 | Format::Q4 => {
                let packed = Packed {
                    words: words.to_vec(),
                    scales: halves(host[1].words(), n * k / quant::GROUP).collect(),
                };
                quant::dequantize(format, &packed, n, k).unwrap_or_default()
            }
        }
    }
}

fn halves(words: &[u32], count: usize) -> impl Iterator<Item = half::f16> {
    words
        .iter()
        .flat_map(|word| [*word as u16, (*word >> 16) as u16])
        .take(count)
        .map(half::f16::from_bits)
}

/// Puts raw little-endian bytes on the device as 32-bit words, the last one padded with zeros.
#[must_use]
pub fn words_from_bytes(mut bytes: Vec<u8>, device: &Device) -> Tensor<1, Int> {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let shape = [bytes.len() / 4];
    let data = TensorData::from_bytes_vec(bytes, shape, DType::U32);
    Tensor::from_data(data, (device, DType::U32))
}
