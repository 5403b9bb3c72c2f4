//! The two products alone, at the shapes of the published model of 4 billion parameters.

use serde::{Deserialize, Serialize};

use super::floors::Floors;
use super::passes;
use super::spread::Spread;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernels::record::record;
use crate::kernels::{Epilogue, MATVEC_ROWS, Matrix, floats_tensor, linear, words_tensor};
use crate::quant::{Format, GROUP};
use crate::readback;

/// `[n, k]` of the products of a decoder step: into the feed-forward, out of it, attention's, and
/// the vocabulary.
const MATVEC: [[u32; 2]; 4] = [[5120, 2048], [2048, 5120], [2048, 2048], [32128, 2048]];
/// `[m, n, k]` of the vision tower, the encoder and the Q-Former.
const MATMUL: [[u32; 3]; 6] = [
    [257, 6144, 1408],
    [257, 1408, 6144],
    [52, 5120, 2048],
    [52, 2048, 5120],
    [32, 3072, 768],
    [32, 768, 768],
];
/// Bytes of weights that matrix-vector products go through in turn, so that no cache holds them.
const STREAMED: u64 = 128 << 20;

/// A product with 4-bit weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    /// The shader.
    pub kernel: String,
    /// Rows of x.
    pub m: u32,
    /// Rows of the weights.
    pub n: u32,
    /// Columns of both.
    pub k: u32,
    /// Time of one.
    pub microseconds: Spread,
    /// Weights, scales, x and the output, over that time.
    pub gb_per_s: Spread,
    /// Of the copy's bandwidth.
    pub of_copy: f64,
    /// Multiply-adds, each counted as two, over that time.
    pub gflop_per_s: Spread,
    /// Of the rate of multiply-adds in registers.
    pub of_fma: f64,
}

impl Product {
    pub(super) fn compare(&mut self, floors: &Floors) {
        self.of_copy = self.gb_per_s.median / floors.copy_gb_per_s.median;
        self.of_fma = self.gflop_per_s.median / floors.fma_gflop_per_s.median;
    }
}

/// Runs all of them; what they are of the floors is still unknown.
///
/// # Errors
/// The GPU failed.
pub(super) async fn measure(gpu: &Gpu, progress: &dyn Fn(&str)) -> Result<Vec<Product>> {
    let mut products = Vec::new();
    let matvec = MATVEC.map(|[n, k]| [1, n, k]);
    for size in matvec.into_iter().chain(MATMUL) {
        let [m, n, k] = size;
        progress(&format!("product {m} x {n} x {k}"));
        products.push(product(gpu, size).await?);
    }
    Ok(products)
}

async fn product(gpu: &Gpu, size: [u32; 3]) -> Result<Product> {
    let [m, n, k] = size;
    let weights = n as usize * k as usize;
    let (word_count, scale_count) = (weights / 8, weights / GROUP / 2);
    let mut random = 0x2545_f491u32;
    let words: Vec<u32> = (0..word_count).map(|_| xorshift(&mut random)).collect();
    // Both halves 2^-6.
    let scales = vec![0x2400_2400u32; scale_count];
    let matrix = || {
        let scales = words_tensor(scales.clone(), &gpu.device);
        let words = words_tensor(words.clone(), &gpu.device);
        Matrix::new(Format::Q4, n as usize, k as usize, vec![words, scales])
    };
    let first = matrix();
    let weight_bytes = first.byte_len();
    let copies = if m == 1 { STREAMED.div_ceil(weight_bytes) } else { 1 };
    let matrices: Vec<_> = (1..copies).map(|_| matrix()).chain([first]).collect();
    let x = floats_tensor(vec![0.5; (m * k) as usize], &gpu.device);
    let x = x.reshape([1, m as i32, k as i32]);
    let products = || -> Vec<_> {
        matrices.iter().map(|weight| linear(&x, weight, Epilogue::default())).collect()
    };
    let (outputs, recording) = record(gpu, products)?;
    // What was uploaded comes before what reads it.
    readback::flush(&gpu.device)?;
    let encode = |encoder: &mut _, count| (0..count).for_each(|_| recording.encode(encoder, None));
    let seconds = passes::seconds_each(gpu, 1, encode).await?.times(1.0 / outputs.len() as f64);
    let bytes = weight_bytes as f64 + 4.0 * f64::from(m) * (f64::from(n) + f64::from(k));
    let gb_per_s = seconds.rate(bytes / 1e9);
    let gflop_per_s = seconds.rate(2.0 * f64::from(m) * f64::from(n) * f64::from(k) / 1e9);
    Ok(Product {
        kernel: if m as usize <= MATVEC_ROWS { "matvec" } else { "matmul" }.into(),
        m,
        n,
        k,
        microseconds: seconds.times(1e6),
        gb_per_s,
        of_copy: 0.0,
        gflop_per_s,
        of_fma: 0.0,
    })
}

/// The next of a sequence of random words.
fn xorshift(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}
