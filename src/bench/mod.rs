//! How long a model takes on a GPU, stage by stage and token by token, over what the GPU could do.
//!
//! The floors ([`floors`]) are measured in the same run, so that ratios hold on a machine that is
//! busy with other things as well. `stages` times the model, [`kernels`] the products alone,
//! [`table`] prints a [`BenchReport`]. `docs/performance.md` says how to run it and read it.

pub mod floors;
pub mod kernels;
mod passes;
pub mod spread;
mod stages;
pub mod table;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

pub use floors::Floors;
pub use kernels::Product;
pub use spread::Spread;

use crate::error::{Error, Result};
use crate::gpu;
use crate::meter::Counts;
use crate::session::{LIMIT_MAX_NEW_TOKENS, Session};

/// Most runs of a stage.
pub const LIMIT_ITERATIONS: usize = 1000;

/// What to measure.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(default, rename_all = "camelCase")]
pub struct BenchOptions {
    /// Runs of every stage that count; fewer where they take long.
    pub iterations: usize,
    /// Tokens of an answer.
    pub tokens: usize,
    /// What the Q-Former and the encoder read.
    pub question: String,
    /// Run the vision tower, on which software GPUs spend minutes.
    pub vision: bool,
    /// Measure the products alone, too.
    pub kernels: bool,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            iterations: 5,
            tokens: 32,
            question: "What is unusual about this picture? Describe it in detail.".into(),
            vision: true,
            kernels: true,
        }
    }
}

/// Where it was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The GPU, as its driver or the browser names it.
    pub adapter: String,
    /// What it is driven by.
    pub driver: String,
    /// System and processor, or the browser.
    pub host: String,
    /// Of this program.
    pub build: String,
}

/// What one run of a stage, or a token, does.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Each {
    /// Kernels launched.
    pub dispatches: f64,
    /// Command buffers submitted.
    pub submits: f64,
    /// Reads begun.
    pub readbacks: f64,
    /// Those that the host waited for while the GPU had nothing else to do.
    #[serde(default)]
    pub waits: f64,
    /// Buffers made.
    #[serde(default)]
    pub buffers: f64,
    /// Bytes that kernels read and write.
    pub bytes_moved: f64,
    /// Those of them that are matrices.
    pub weight_bytes: f64,
    /// Floating-point operations.
    pub flops: f64,
}

impl Each {
    fn of(counts: Counts, runs: usize) -> Self {
        let each = |count: u64| count as f64 / runs.max(1) as f64;
        Self {
            dispatches: each(counts.dispatches),
            submits: each(counts.submits),
            readbacks: each(counts.readbacks),
            waits: each(counts.waits),
            buffers: each(counts.buffers),
            bytes_moved: each(counts.bytes_moved),
            weight_bytes: each(counts.weight_bytes),
            flops: each(counts.flops),
        }
    }
}

/// A stage, or a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Which.
    pub name: String,
    /// Times that were taken.
    pub runs: usize,
    /// The only run was the first, with the pipelines' compilation in it.
    pub cold: bool,
    /// Until the GPU was done.
    pub milliseconds: Spread,
    /// Of these, what the host spent inside calls rather than waiting for one to be answered. A
    /// native driver may make it wait inside a call; in a browser nothing does.
    pub host_ms: Spread,
    /// By the GPU's own clock, from the begin of the first pass to the end of the last; where it
    /// has one.
    #[serde(default)]
    pub gpu_ms: Option<Spread>,
    /// The work.
    #[serde(flatten)]
    pub each: Each,
    /// What the bytes or the operations, whichever take longer, need at the measured rates.
    pub floor_ms: f64,
    /// The median over that.
    pub over_floor: f64,
    /// The floor, and what the dispatches cost.
    pub dispatch_floor_ms: f64,
    /// The median over that.
    pub over_dispatch_floor: f64,
}

impl Row {
    fn compare(&mut self, floors: &Floors) {
        let Each { bytes_moved, flops, dispatches, .. } = self.each;
        self.floor_ms = floors.milliseconds(bytes_moved, flops);
        self.over_floor = self.milliseconds.median / self.floor_ms;
        self.dispatch_floor_ms = floors.with_dispatches(bytes_moved, flops, dispatches);
        self.over_dispatch_floor = self.milliseconds.median / self.dispatch_floor_ms;
    }
}

/// The measurements of one model on one machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchReport {
    /// The model, as its folder is called.
    pub model: String,
    /// Where.
    pub machine: Machine,
    /// What was asked.
    pub options: BenchOptions,
    /// The GPU's rates.
    pub floors: Floors,
    /// In the order in which they run.
    pub stages: Vec<Row>,
    /// A token after the first.
    pub token: Row,
    /// Tokens after the first over their time, a sample a run: tokens that come in pairs make the
    /// median of single ones say too much.
    #[serde(default)]
    pub tokens_per_second: Spread,
    /// Milliseconds the host needs to encode and submit a token's own dispatches by hand, without
    /// anything else that a token takes; `None` where that was not measured.
    #[serde(default)]
    pub token_by_hand_host_ms: Option<Spread>,
    /// The products alone.
    pub kernels: Vec<Product>,
}

/// Measures a loaded model; `progress` is told what is being measured.
///
/// # Errors
/// An option is out of range, or the GPU failed.
pub async fn bench(
    session: &Session,
    model: &str,
    machine: Machine,
    options: BenchOptions,
    progress: &dyn Fn(&str),
) -> Result<BenchReport> {
    in_range("iterations", options.iterations, 1, LIMIT_ITERATIONS)?;
    in_range("tokens", options.tokens, 2, LIMIT_MAX_NEW_TOKENS)?;
    let gpu = gpu::open_device().filter(|gpu| gpu.device == *session.device());
    let gpu = gpu.ok_or_else(|| Error::AdapterMissing {
        reason: "the model is not on a GPU of this program's".into(),
    })?;
    progress("floors");
    let before = Floors::measure(gpu).await?;
    let stages::Measured { mut stages, mut token, tokens_per_second, by_hand } =
        stages::measure(session, gpu, &options, progress).await?;
    let mut kernels = match options.kernels {
        true => kernels::measure(gpu, progress).await?,
        false => Vec::new(),
    };
    // Once more, since a machine that does other things too is not the same all the time.
    progress("floors");
    let floors = before.and(Floors::measure(gpu).await?);
    stages.iter_mut().chain([&mut token]).for_each(|row| row.compare(&floors));
    kernels.iter_mut().for_each(|product| product.compare(&floors));
    Ok(BenchReport {
        model: model.into(),
        machine,
        options,
        floors,
        stages,
        token,
        tokens_per_second,
        token_by_hand_host_ms: by_hand,
        kernels,
    })
}

fn in_range(option: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let reason = format!("{value} is not between {least} and {most}");
    Err(Error::OptionInvalid { option: option.into(), reason })
}
