//! What this GPU can do at best, measured in the same run: the floors under every other time.

use serde::{Deserialize, Serialize};

use super::passes::{self, Dispatch};
use super::spread::Spread;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernels::Shader;
use crate::kernels::launch::fold_grid;

const WORKGROUP: u32 = 256;
/// Bytes of each of the two buffers that are copied: far above any cache, half of what WebGPU
/// lets a binding have by default.
const COPY_BYTES: u64 = 64 << 20;
/// Multiply-adds of an invocation are 64 times this.
const FMA_ROUNDS: u32 = 512;
const FMA_WORKGROUPS: u32 = 512;
/// Nine dispatches in each of 24 decoder layers and three more: a token of the largest models, as
/// bare as it can be.
const BARE_DISPATCHES: usize = 9 * 24 + 3;
/// The same in reports that do not say: eight in each layer.
const OLDER_BARE_DISPATCHES: usize = 8 * 24 + 3;
const BARE_SAMPLES: usize = 8;
/// Submits of a sample.
const BARE_SUBMITS: usize = 16;

/// The rates.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Floors {
    /// GB/s of a copy, reads and writes counted.
    pub copy_gb_per_s: Spread,
    /// GFLOP/s of f32 multiply-adds in registers, each counted as two.
    pub fma_gflop_per_s: Spread,
    /// Microseconds of a dispatch that does next to nothing, among many in one pass, each
    /// depending on the one before.
    pub dispatch_us: Spread,
    /// How many of these a bare token is.
    #[serde(default = "older")]
    pub bare_dispatches: usize,
    /// So many such dispatches, with everything made beforehand: milliseconds until they were
    /// encoded and submitted.
    pub bare_token_host_ms: Spread,
    /// The same until the GPU was done.
    pub bare_token_ms: Spread,
}

impl Floors {
    /// Measures them.
    ///
    /// # Errors
    /// The GPU failed.
    pub async fn measure(gpu: &Gpu) -> Result<Self> {
        let (bare_token_host_ms, bare_token_ms, dispatch_us) = dispatches(gpu).await?;
        Ok(Self {
            copy_gb_per_s: copy(gpu).await?,
            fma_gflop_per_s: fma(gpu).await?,
            dispatch_us,
            bare_dispatches: BARE_DISPATCHES,
            bare_token_host_ms,
            bare_token_ms,
        })
    }

    /// Both measurements.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            copy_gb_per_s: self.copy_gb_per_s.and(other.copy_gb_per_s),
            fma_gflop_per_s: self.fma_gflop_per_s.and(other.fma_gflop_per_s),
            dispatch_us: self.dispatch_us.and(other.dispatch_us),
            bare_dispatches: self.bare_dispatches,
            bare_token_host_ms: self.bare_token_host_ms.and(other.bare_token_host_ms),
            bare_token_ms: self.bare_token_ms.and(other.bare_token_ms),
        }
    }

    /// Milliseconds below which nothing moves these bytes and computes these operations.
    #[must_use]
    pub fn milliseconds(&self, bytes: f64, flops: f64) -> f64 {
        let moving = bytes / (self.copy_gb_per_s.median * 1e6);
        let computing = flops / (self.fma_gflop_per_s.median * 1e6);
        moving.max(computing)
    }

    /// [`Floors::milliseconds`], and what so many dispatches cost.
    #[must_use]
    pub fn with_dispatches(&self, bytes: f64, flops: f64, dispatches: f64) -> f64 {
        self.milliseconds(bytes, flops) + dispatches * self.dispatch_us.median / 1e3
    }
}

fn older() -> usize {
    OLDER_BARE_DISPATCHES
}

async fn copy(gpu: &Gpu) -> Result<Spread> {
    let limits = gpu.raw.limits();
    let bytes = COPY_BYTES.min(limits.max_storage_buffer_binding_size).min(limits.max_buffer_size);
    let [a, b] = [(); 2].map(|()| passes::buffer(gpu, bytes));
    let grid = fold_grid((bytes / 16).div_ceil(u64::from(WORKGROUP)) as usize);
    // There and back, so that no driver can tell that a copy changes nothing.
    let both =
        [[&a, &b], [&b, &a]].map(|buffers| Dispatch::new(gpu, &copy_shader(), &buffers, grid));
    Ok(seconds_each(gpu, &both).await?.rate(2.0 * bytes as f64 / 1e9))
}

async fn fma(gpu: &Gpu) -> Result<Spread> {
    // Contracting, so that the values stay finite and normal.
    let values = [0.999f32, 0.998, 0.997, 0.996, 0.1, 0.2, 0.3, 0.4];
    let invocations = u64::from(FMA_WORKGROUPS * WORKGROUP);
    let factors = passes::buffer(gpu, size_of_val(&values) as u64);
    gpu.queue.write_buffer(&factors, 0, bytemuck::cast_slice(&values));
    let out = passes::buffer(gpu, 4 * invocations);
    let grid = [FMA_WORKGROUPS, 1, 1];
    let dispatch = Dispatch::new(gpu, &fma_shader(), &[&factors, &out], grid);
    let flops = (invocations * u64::from(FMA_ROUNDS) * 64 * 2) as f64;
    Ok(seconds_each(gpu, &[dispatch]).await?.rate(flops / 1e9))
}

/// Host and whole milliseconds of a bare token, and microseconds of one dispatch among many.
async fn dispatches(gpu: &Gpu) -> Result<(Spread, Spread, Spread)> {
    let out = passes::buffer(gpu, 4 * u64::from(WORKGROUP));
    // Two pipelines in turn: real steps change theirs with every dispatch.
    let both = [64, WORKGROUP]
        .map(|workgroup| Dispatch::new(gpu, &dispatch_shader(workgroup), &[&out], [1, 1, 1]));
    let each = seconds_each(gpu, &both).await?.times(1e6);
    let (mut host, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..BARE_SAMPLES {
        let encode = |encoder: &mut _| passes::encode(&both, encoder, BARE_DISPATCHES);
        // One after the other, as tokens come, and many to a sample: a submit wakes the GPU's
        // process, and a browser's clock has steps of 0.1 ms.
        let mut sums = (0.0, 0.0);
        for _ in 0..BARE_SUBMITS {
            let lap = passes::run(gpu, encode).await?;
            sums = (sums.0 + lap.host, sums.1 + lap.total);
        }
        host.push(sums.0 * 1e3 / BARE_SUBMITS as f64);
        whole.push(sums.1 * 1e3 / BARE_SUBMITS as f64);
    }
    Ok((Spread::of(host), Spread::of(whole), each))
}

async fn seconds_each(gpu: &Gpu, dispatches: &[Dispatch]) -> Result<Spread> {
    let encode = |encoder: &mut _, count| passes::encode(dispatches, encoder, count);
    passes::seconds_each(gpu, dispatches.len(), encode).await
}

fn copy_shader() -> Shader {
    Shader {
        name: "copy",
        parts: vec![include_str!("../../shaders/bench/copy.wgsl")],
        constants: vec![("WORKGROUP", WORKGROUP)],
        flags: Vec::new(),
    }
}

fn fma_shader() -> Shader {
    Shader {
        name: "fma",
        parts: vec![include_str!("../../shaders/bench/fma.wgsl")],
        constants: vec![("WORKGROUP", WORKGROUP), ("ROUNDS", FMA_ROUNDS)],
        flags: Vec::new(),
    }
}

fn dispatch_shader(workgroup: u32) -> Shader {
    Shader {
        name: "dispatch",
        parts: vec![include_str!("../../shaders/bench/dispatch.wgsl")],
        constants: vec![("WORKGROUP", workgroup)],
        flags: Vec::new(),
    }
}

/// The shaders, for validating them without a GPU.
#[must_use]
pub fn shaders() -> Vec<Shader> {
    vec![copy_shader(), fma_shader(), dispatch_shader(WORKGROUP)]
}
