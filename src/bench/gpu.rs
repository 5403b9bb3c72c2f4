//! Dispatches straight through wgpu, without Burn: what the floors and the kernels alone are
//! measured with.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use web_time::Instant;

use super::spread::Spread;
use crate::error::Result;
use crate::kernels::Shader;

/// A measurement lasts at least this long, so that a submit's own cost and the coarse clocks of
/// browsers do not count.
const LEAST_SECONDS: f64 = 0.1;
/// Measurements of a figure, fewer where they take long.
const SAMPLES: usize = 5;
/// No further measurement is begun after this.
const LONG_SECONDS: f64 = 3.0;
/// Most dispatches of a pass.
const LIMIT_DISPATCHES: usize = 8192;

/// The wgpu handles below Burn's device.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
}

/// A dispatch with everything bound.
pub(super) struct Dispatch {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) bindings: wgpu::BindGroup,
    pub(super) grid: [u32; 3],
}

/// How long a pass took.
#[derive(Clone, Copy)]
pub(super) struct Lap {
    /// Seconds until it was handed over.
    pub(super) host: f64,
    /// Seconds until the GPU was done.
    pub(super) total: f64,
}

impl Gpu {
    /// A storage buffer of zeros.
    pub(super) fn buffer(&self, bytes: u64) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("bench"),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::UNIFORM
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// A buffer with these words.
    pub(super) fn words(&self, words: &[u32]) -> wgpu::Buffer {
        let buffer = self.buffer(size_of_val(words) as u64);
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
        buffer
    }

    /// Compiles a shader as Burn does.
    pub(super) fn pipeline(&self, shader: &Shader) -> wgpu::ComputePipeline {
        let source = wgpu::ShaderSource::Wgsl(Cow::Owned(shader.source()));
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(shader.name), source };
        let checks = wgpu::ShaderRuntimeChecks {
            bounds_checks: false,
            force_loop_bounding: true,
            ..wgpu::ShaderRuntimeChecks::unchecked()
        };
        // SAFETY: the shaders are this crate's own and stay within the buffers bound here; the
        // property tests run the same ones through Burn, which leaves the same checks out.
        let module = unsafe { self.device.create_shader_module_trusted(descriptor, checks) };
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(shader.name),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    }

    /// Binds `buffers` in order.
    pub(super) fn dispatch(
        &self,
        pipeline: &wgpu::ComputePipeline,
        buffers: &[&wgpu::Buffer],
        grid: [u32; 3],
    ) -> Dispatch {
        let entries: Vec<_> = buffers
            .iter()
            .zip(0..)
            .map(|(buffer, binding)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let bindings = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        Dispatch { pipeline: pipeline.clone(), bindings, grid }
    }

    /// Runs these dispatches `count` times, in turn, in one pass and one submit.
    pub(super) async fn run(&self, dispatches: &[Dispatch], count: usize) -> Result<Lap> {
        let start = Instant::now();
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for dispatch in dispatches.iter().cycle().take(count) {
                pass.set_pipeline(&dispatch.pipeline);
                pass.set_bind_group(0, &dispatch.bindings, &[]);
                let [x, y, z] = dispatch.grid;
                pass.dispatch_workgroups(x, y, z);
            }
        }
        self.queue.submit([encoder.finish()]);
        let host = start.elapsed().as_secs_f64();
        self.finished().await?;
        Ok(Lap { host, total: start.elapsed().as_secs_f64() })
    }

    /// Seconds that one of these dispatches takes among many.
    pub(super) async fn seconds_each(&self, dispatches: &[Dispatch]) -> Result<Spread> {
        let start = Instant::now();
        // Compiles, and makes the buffers' memory real.
        self.run(dispatches, dispatches.len()).await?;
        let mut count = dispatches.len();
        let seconds = loop {
            let seconds = self.run(dispatches, count).await?.total;
            if seconds >= LEAST_SECONDS || count >= LIMIT_DISPATCHES {
                break seconds;
            }
            let more = (1.2 * LEAST_SECONDS / seconds).clamp(2.0, 16.0);
            count = ((count as f64 * more) as usize).min(LIMIT_DISPATCHES);
        };
        let mut samples = vec![seconds / count as f64];
        while samples.len() < SAMPLES && start.elapsed().as_secs_f64() < LONG_SECONDS {
            samples.push(self.run(dispatches, count).await?.total / count as f64);
        }
        Ok(Spread::of(samples))
    }

    /// Waits until the queue is empty.
    async fn finished(&self) -> Result<()> {
        let signal = Signal::default();
        self.queue.on_submitted_work_done(signal.give());
        self.settle(signal).await
    }

    /// The 64-bit words of a buffer that can be mapped.
    pub(super) async fn read(&self, buffer: &wgpu::Buffer) -> Result<Vec<u64>> {
        let signal = Signal::default();
        let give = signal.give();
        buffer.map_async(wgpu::MapMode::Read, .., move |_| give());
        self.settle(signal).await?;
        let mapped = buffer
            .get_mapped_range(..)
            .map_err(|error| crate::Error::Gpu { reason: error.to_string() })?;
        let (words, _) = mapped.as_chunks::<8>();
        Ok(words.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
    }

    /// Waits for a callback of the queue. In a browser it comes by itself.
    async fn settle(&self, signal: Signal) -> Result<()> {
        #[cfg(not(target_family = "wasm"))]
        self.device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|error| crate::Error::Gpu { reason: error.to_string() })?;
        poll_fn(|context| signal.poll(context)).await;
        Ok(())
    }
}

/// Whether a callback was called, and whom that wakes.
#[derive(Clone, Default)]
struct Signal(Arc<Mutex<(bool, Option<Waker>)>>);

impl Signal {
    fn give(&self) -> impl FnOnce() + Send + 'static {
        let signal = self.clone();
        move || {
            let mut state = signal.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = true;
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        }
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    }
}
