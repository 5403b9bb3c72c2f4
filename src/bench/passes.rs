//! Passes straight through wgpu, without Burn: what the floors and the kernels alone are measured
//! with.

use web_time::Instant;

use super::spread::Spread;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernels::{Shader, record};

/// A measurement lasts at least this long, so that a submit's own cost and the coarse clocks of
/// browsers do not count.
const LEAST_SECONDS: f64 = 0.1;
/// Measurements of a figure, fewer where they take long.
const SAMPLES: usize = 5;
/// No further measurement is begun after this.
const LONG_SECONDS: f64 = 3.0;
/// Most repetitions in a submit.
const LIMIT_COUNT: usize = 8192;

/// A dispatch with everything bound.
pub(super) struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    grid: [u32; 3],
}

/// How long a submit took.
#[derive(Clone, Copy)]
pub(super) struct Lap {
    /// Seconds until it was handed over.
    pub(super) host: f64,
    /// Seconds until the GPU was done.
    pub(super) total: f64,
}

/// A storage buffer of zeros.
pub(super) fn buffer(gpu: &Gpu, bytes: u64) -> wgpu::Buffer {
    gpu.raw.create_buffer(&wgpu::BufferDescriptor {
        label: Some("bench"),
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

impl Dispatch {
    /// Binds `buffers` in order.
    pub(super) fn new(
        gpu: &Gpu,
        shader: &Shader,
        buffers: &[&wgpu::Buffer],
        grid: [u32; 3],
    ) -> Self {
        let pipeline = record::pipeline(gpu, shader);
        let entries: Vec<_> = buffers
            .iter()
            .zip(0..)
            .map(|(buffer, binding)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let bindings = gpu.raw.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(shader.name),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        Self { pipeline, bindings, grid }
    }
}

/// One pass of `count` dispatches, these in turn.
pub(super) fn encode(dispatches: &[Dispatch], encoder: &mut wgpu::CommandEncoder, count: usize) {
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for Dispatch { pipeline, bindings, grid: [x, y, z] } in dispatches.iter().cycle().take(count) {
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, bindings, &[]);
        pass.dispatch_workgroups(*x, *y, *z);
    }
}

/// Submits what `encode` writes down, and waits for it.
pub(super) async fn run(gpu: &Gpu, encode: impl Fn(&mut wgpu::CommandEncoder)) -> Result<Lap> {
    let start = Instant::now();
    let mut encoder = gpu.raw.create_command_encoder(&Default::default());
    encode(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
    let host = start.elapsed().as_secs_f64();
    finished(gpu).await?;
    Ok(Lap { host, total: start.elapsed().as_secs_f64() })
}

/// Seconds that one repetition takes among many. `encode` writes down as many as it is told, and
/// is told `least` at first.
pub(super) async fn seconds_each(
    gpu: &Gpu,
    least: usize,
    encode: impl Fn(&mut wgpu::CommandEncoder, usize),
) -> Result<Spread> {
    let start = Instant::now();
    // Compiles, and makes the buffers' memory real.
    run(gpu, |encoder| encode(encoder, least)).await?;
    let mut count = least;
    let seconds = loop {
        let seconds = run(gpu, |encoder| encode(encoder, count)).await?.total;
        if seconds >= LEAST_SECONDS || count >= LIMIT_COUNT {
            break seconds;
        }
        let more = (1.2 * LEAST_SECONDS / seconds).clamp(2.0, 16.0);
        count = ((count as f64 * more) as usize).min(LIMIT_COUNT);
    };
    let mut samples = vec![seconds / count as f64];
    while samples.len() < SAMPLES && start.elapsed().as_secs_f64() < LONG_SECONDS {
        let lap = run(gpu, |encoder| encode(encoder, count)).await?;
        samples.push(lap.total / count as f64);
    }
    Ok(Spread::of(samples))
}

/// Waits until the queue is empty.
async fn finished(gpu: &Gpu) -> Result<()> {
    gpu.submitted().done().await
}
