//! The GPU's own clock: when passes begin and end, where the adapter has timestamp queries.
//!
//! Adapters count in ticks of their own and browsers round to 100 microseconds, so that these
//! times are for whole stages and tokens.

use std::cell::RefCell;

use crate::error::Result;
use crate::gpu::Gpu;
use crate::readback;

/// Queries of a set at most, in WebGPU.
const LIMIT: u32 = 4096;

thread_local! {
    /// Where recorded steps note their times, while someone wants to know.
    static STEPS: RefCell<Option<Timestamps>> = const { RefCell::new(None) };
}

/// A row of timestamps on the GPU, in pairs.
#[derive(Debug)]
pub struct Timestamps {
    set: wgpu::QuerySet,
    /// Those written so far.
    used: u32,
}

/// Room for the begin and the end of a pass.
pub(crate) struct PassTimes {
    set: wgpu::QuerySet,
    begin: u32,
}

impl PassTimes {
    /// What a pass that is to be timed is told.
    pub(crate) fn writes(&self) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(self.begin),
            end_of_pass_write_index: Some(self.begin + 1),
        }
    }
}

/// From now on the passes of recorded steps are timed, until [`take_steps`]; nothing happens where
/// the device has no timestamps.
pub fn time_steps(gpu: &Gpu) {
    STEPS.set(Timestamps::new(gpu));
}

/// The times since [`time_steps`].
#[must_use]
pub fn take_steps() -> Option<Timestamps> {
    STEPS.take()
}

/// Room for the pass of a step, while steps are timed.
pub(crate) fn step() -> Option<PassTimes> {
    STEPS.with_borrow_mut(|steps| {
        let steps = steps.as_mut().filter(|steps| steps.used + 2 <= LIMIT)?;
        steps.used += 2;
        Some(PassTimes { set: steps.set.clone(), begin: steps.used - 2 })
    })
}

impl Timestamps {
    /// `None` where the device has none.
    #[must_use]
    pub fn new(gpu: &Gpu) -> Option<Self> {
        if !gpu.raw.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return None;
        }
        let set = gpu.raw.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("timestamps"),
            ty: wgpu::QueryType::Timestamp,
            count: LIMIT,
        });
        Some(Self { set, used: 0 })
    }

    /// Notes the time when the GPU comes here: after all that was submitted before.
    pub fn mark(&mut self, gpu: &Gpu) {
        if self.used == LIMIT {
            return;
        }
        let mut encoder = gpu.raw.create_command_encoder(&Default::default());
        // A pass of nothing; the timestamp is what it is for.
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("timestamp"),
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &self.set,
                beginning_of_pass_write_index: Some(self.used),
                end_of_pass_write_index: None,
            }),
        });
        gpu.queue.submit([encoder.finish()]);
        self.used += 1;
    }

    /// Milliseconds between the two of every pair; begins anew.
    ///
    /// # Errors
    /// The GPU failed.
    pub async fn milliseconds(&mut self, gpu: &Gpu) -> Result<Vec<f64>> {
        let used = std::mem::take(&mut self.used);
        if used == 0 {
            return Ok(Vec::new());
        }
        let bytes = u64::from(used) * 8;
        let buffer = |usage| {
            gpu.raw.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: bytes,
                usage,
                mapped_at_creation: false,
            })
        };
        let ticks = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let mut ring = readback::Ring::new(gpu, 1, 2 * used as usize);
        let mut encoder = gpu.raw.create_command_encoder(&Default::default());
        encoder.resolve_query_set(&self.set, 0..used, &ticks, 0);
        encoder.copy_buffer_to_buffer(&ticks, 0, ring.target(), 0, bytes);
        let submission = gpu.queue.submit([encoder.finish()]);
        let words = ring.read(gpu, submission).words().await?;
        let tick = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let (pairs, _) = words.as_chunks::<4>();
        let period = f64::from(gpu.queue.get_timestamp_period()) / 1e6;
        let times = pairs.iter().map(|[a, b, c, d]| {
            let ticks = tick(*c, *d).saturating_sub(tick(*a, *b));
            ticks as f64 * period
        });
        Ok(times.collect())
    }
}
