//! The GPU's own clock: when passes begin and end, where the adapter has timestamp queries.
//!
//! Adapters count in ticks of their own and browsers round to 100 microseconds, so that these
//! times are for whole stages and tokens.

use super::gpu::Gpu;
use crate::error::Result;

/// Queries of a set at most, in WebGPU.
const LIMIT: u32 = 4096;

/// A row of timestamps on the GPU.
pub(super) struct Timestamps<'a> {
    gpu: &'a Gpu,
    set: wgpu::QuerySet,
    /// Those written so far.
    used: u32,
}

impl<'a> Timestamps<'a> {
    /// `None` where the device has none.
    pub(super) fn new(gpu: &'a Gpu) -> Option<Self> {
        if !gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return None;
        }
        let set = gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("bench"),
            ty: wgpu::QueryType::Timestamp,
            count: LIMIT,
        });
        Some(Self { gpu, set, used: 0 })
    }

    /// Notes the time when the GPU comes here: after all that was submitted before.
    pub(super) fn mark(&mut self) {
        if self.used == LIMIT {
            return;
        }
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        // A pass of nothing; the timestamp is what it is for.
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("timestamp"),
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &self.set,
                beginning_of_pass_write_index: Some(self.used),
                end_of_pass_write_index: None,
            }),
        });
        self.gpu.queue.submit([encoder.finish()]);
        self.used += 1;
    }

    /// Milliseconds between the marks of every pair, and starts anew.
    pub(super) async fn milliseconds(&mut self) -> Result<Vec<f64>> {
        let bytes = u64::from(self.used) * 8;
        let buffer = |usage| {
            self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: bytes,
                usage,
                mapped_at_creation: false,
            })
        };
        let ticks = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let read = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.resolve_query_set(&self.set, 0..self.used, &ticks, 0);
        encoder.copy_buffer_to_buffer(&ticks, 0, &read, 0, bytes);
        self.gpu.queue.submit([encoder.finish()]);
        self.used = 0;
        let period = f64::from(self.gpu.queue.get_timestamp_period()) / 1e6;
        let ticks = self.gpu.read(&read).await?;
        Ok(ticks
            .chunks_exact(2)
            .map(|pair| pair[1].saturating_sub(pair[0]) as f64 * period)
            .collect())
    }
}
