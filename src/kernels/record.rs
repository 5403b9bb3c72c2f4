//! A sequence of kernels, resolved once and replayed as one compute pass.
//!
//! While [`record`] runs a model's code, kernels are not launched but written down: which pipeline,
//! which buffers, how many workgroups. What is then replayed is what the modules do, so the two
//! cannot drift apart; a replay costs three WebGPU calls a kernel and none of Burn's bookkeeping.
//! Everything that changes from one replay to the next must lie in a buffer: a [`Slot`] is one the
//! host writes before a replay.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use burn::tensor::{Int, Tensor};
use burn_cubecl::cubecl::wgpu::WgpuServer;
use burn_cubecl::tensor::CubeTensor;
use burn_wgpu::{AutoCompiler, WgpuResource};

use super::census;
use super::shader::Shader;
use super::tensors::cube_of;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::meter::{self, Counts};

/// Offsets of uniforms in one buffer are multiples of this in WebGPU.
const UNIFORM_ALIGNMENT: usize = 256;

thread_local! {
    /// What is being written down, if anything is.
    static TAPE: RefCell<Option<Vec<Entry>>> = const { RefCell::new(None) };
    static PIPELINES: RefCell<HashMap<Shader, wgpu::ComputePipeline>> = RefCell::default();
}

/// A kernel that was written down.
pub(super) struct Entry {
    pub(super) shader: Shader,
    /// In the order of their bindings, the output last.
    pub(super) buffers: Vec<CubeTensor>,
    /// What the output holds before is kept, but for what is written.
    pub(super) in_place: bool,
    pub(super) params: Vec<u64>,
    pub(super) grid: [u32; 3],
    pub(super) work: Counts,
}

/// Writes the kernel down if a recording is being made; otherwise gives it back.
pub(super) fn take(entry: Entry) -> Option<Entry> {
    TAPE.with_borrow_mut(|tape| match tape {
        Some(tape) => {
            tape.push(entry);
            None
        }
        None => Some(entry),
    })
}

/// Kernels ready to be replayed, with the memory they work on.
#[derive(Debug)]
pub struct Recording {
    dispatches: Vec<Dispatch>,
    /// Keeps every buffer where it is.
    _memory: Vec<Memory>,
    /// What the kernels write, by [`number`].
    written: HashSet<usize>,
    work: Counts,
}

#[derive(Debug)]
struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    grid: [u32; 3],
}

/// Runs `work`, whose kernels are recorded instead of launched, on this thread.
///
/// Nothing may be read or uploaded inside, and of Burn's own operations only those that copy
/// nothing may be used, such as a reshape: they run now and in no replay.
///
/// # Errors
/// A kernel reads what was uploaded or what Burn computed inside, or the device gives up a buffer.
/// An operation that Burn does in place, on a tensor that nobody else holds, is not found.
pub fn record<T>(gpu: &Gpu, work: impl FnOnce() -> T) -> Result<(T, Recording)> {
    let first = cube_of(Tensor::<1, Int>::empty([1], &gpu.device)).ok_or_else(not_on_gpu)?;
    TAPE.set(Some(Vec::new()));
    let result = work();
    let entries = TAPE.take().unwrap_or_default();
    let written = written(&entries, number(&first))?;
    Ok((result, Recording::new(gpu, entries, written)?))
}

/// Of the tensor's memory. Burn counts them up as it makes them, and uses none twice.
fn number(tensor: &CubeTensor) -> usize {
    tensor.handle.clone().binding().memory.id().value
}

/// What the kernels write. All they read must be that, or older than memory number `first`.
fn written(entries: &[Entry], first: usize) -> Result<HashSet<usize>> {
    let mut written = HashSet::new();
    for entry in entries {
        let numbers: Vec<usize> = entry.buffers.iter().map(number).collect();
        let read = &numbers[..numbers.len() - usize::from(!entry.in_place)];
        if read.iter().any(|number| *number > first && !written.contains(number)) {
            return Err(not_recorded(entry.shader.name));
        }
        written.extend(numbers.last());
    }
    Ok(written)
}

fn not_recorded(reader: &str) -> Error {
    let reason = format!(
        "{reader} reads a tensor that no recorded kernel writes and that was made while they were \
         recorded: by an upload, or by an operation of Burn, which no replay repeats"
    );
    Error::Internal { reason }
}

fn not_on_gpu() -> Error {
    Error::Internal { reason: "only what lies on a GPU is recorded".into() }
}

impl Recording {
    fn new(gpu: &Gpu, entries: Vec<Entry>, written: HashSet<usize>) -> Result<Self> {
        let params = Uniforms::new(gpu, &entries);
        let mut memory = Vec::new();
        let mut dispatches = Vec::with_capacity(entries.len());
        let mut work = Counts::default();
        for (entry, params) in entries.into_iter().zip(params.bindings()) {
            let bound: Vec<_> = entry.buffers.iter().map(Memory::of).collect::<Result<_>>()?;
            let pipeline = pipeline(gpu, &entry.shader);
            let resources = bound.iter().map(|memory| memory.resource.as_wgpu_bind_resource());
            let entries: Vec<_> = resources
                .chain([params])
                .zip(0..)
                .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
                .collect();
            let bindings = gpu.raw.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(entry.shader.name),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            work = work + Counts { dispatches: 1, ..entry.work };
            dispatches.push(Dispatch { pipeline, bindings, grid: entry.grid });
            memory.extend(bound);
        }
        Ok(Self { dispatches, _memory: memory, written, work })
    }

    /// The memory of `words`, which the kernels write.
    ///
    /// # Errors
    /// They do not, or the device gives up the buffer.
    pub fn output(&self, words: &Tensor<1, Int>) -> Result<Slot> {
        let tensor = cube_of(words.clone()).ok_or_else(not_on_gpu)?;
        if !self.written.contains(&number(&tensor)) {
            return Err(not_recorded("the host"));
        }
        Ok(Slot { memory: Memory::of(&tensor)? })
    }

    /// Number of dispatches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dispatches.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dispatches.is_empty()
    }

    /// Puts all kernels into one compute pass.
    pub fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        timestamps: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) {
        let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: timestamps };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        for Dispatch { pipeline, bindings, grid: [x, y, z] } in &self.dispatches {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, bindings, &[]);
            pass.dispatch_workgroups(*x, *y, *z);
        }
        drop(pass);
        meter::replayed(&self.work);
    }

    /// Submits all kernels as one compute pass, and after it what `then` encodes.
    pub fn submit(
        &self,
        gpu: &Gpu,
        timestamps: Option<wgpu::ComputePassTimestampWrites<'_>>,
        then: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> wgpu::SubmissionIndex {
        // No label: it would be a string made for the browser with every token.
        let mut encoder = gpu.raw.create_command_encoder(&Default::default());
        self.encode(&mut encoder, timestamps);
        then(&mut encoder);
        gpu.queue.submit([encoder.finish()])
    }
}

/// All parameters of a recording in one buffer.
struct Uniforms {
    buffer: wgpu::Buffer,
    sizes: Vec<usize>,
}

impl Uniforms {
    fn new(gpu: &Gpu, entries: &[Entry]) -> Self {
        let sizes: Vec<usize> =
            entries.iter().map(|entry| size_of_val(&entry.params[..])).collect();
        let padded = |bytes: usize| bytes.next_multiple_of(UNIFORM_ALIGNMENT);
        let mut bytes = Vec::with_capacity(sizes.iter().copied().map(padded).sum());
        for entry in entries {
            bytes.extend_from_slice(bytemuck::cast_slice(&entry.params));
            bytes.resize(padded(bytes.len()), 0);
        }
        let buffer = gpu.raw.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: bytes.len().max(UNIFORM_ALIGNMENT) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        meter::created_buffer();
        gpu.queue.write_buffer(&buffer, 0, &bytes);
        Self { buffer, sizes }
    }

    fn bindings(&self) -> impl Iterator<Item = wgpu::BindingResource<'_>> {
        let mut offset = 0;
        self.sizes.iter().map(move |size| {
            let binding = wgpu::BufferBinding {
                buffer: &self.buffer,
                offset,
                size: std::num::NonZeroU64::new(*size as u64),
            };
            offset += size.next_multiple_of(UNIFORM_ALIGNMENT) as u64;
            wgpu::BindingResource::Buffer(binding)
        })
    }
}

/// The shader, compiled once a thread.
pub(crate) fn pipeline(gpu: &Gpu, shader: &Shader) -> wgpu::ComputePipeline {
    PIPELINES.with_borrow_mut(|pipelines| {
        let create = || {
            census::made(shader, true);
            let module = gpu.raw.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(shader.name),
                source: wgpu::ShaderSource::Wgsl(shader.source().into()),
            });
            gpu.raw.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(shader.name),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    // No kernel reads workgroup memory that it has not written.
                    zero_initialize_workgroup_memory: false,
                    ..wgpu::PipelineCompilationOptions::default()
                },
                cache: None,
            })
        };
        pipelines.entry(shader.clone()).or_insert_with(create).clone()
    })
}

/// A tensor's memory, which stays where it is while this is held.
struct Memory {
    resource: WgpuResource,
    /// Burn's hold on it; the type has no public name.
    _held: Box<dyn Any>,
}

impl Memory {
    fn of(tensor: &CubeTensor) -> Result<Self> {
        let held = tensor
            .client
            .get_resource::<WgpuServer<AutoCompiler>>(tensor.handle.clone())
            .map_err(|error| Error::Gpu { reason: error.to_string() })?;
        Ok(Self { resource: held.resource().clone(), _held: Box::new(held) })
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.resource.fmt(f)
    }
}

/// Words on the device that the host writes, or reads, between replays.
#[derive(Debug)]
pub struct Slot {
    memory: Memory,
}

impl Slot {
    /// The memory of `words`; writing it changes every clone of the tensor.
    ///
    /// # Errors
    /// The tensor is not on a GPU, or the device gives up the buffer.
    pub fn new(words: &Tensor<1, Int>) -> Result<Self> {
        let tensor = cube_of(words.clone()).ok_or_else(not_on_gpu)?;
        Ok(Self { memory: Memory::of(&tensor)? })
    }

    /// Writes `words` from word `at` on, before whatever is submitted next.
    pub fn write(&self, gpu: &Gpu, at: usize, words: &[u32]) {
        let memory = &self.memory.resource;
        let offset = memory.offset + (at * size_of::<u32>()) as u64;
        gpu.queue.write_buffer(&memory.buffer, offset, bytemuck::cast_slice(words));
    }

    /// Copies `count` words from word `at` on to the beginning of `target`.
    pub fn copy_to(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        at: usize,
        count: usize,
        target: &wgpu::Buffer,
    ) {
        let memory = &self.memory.resource;
        let bytes = |words: usize| (words * size_of::<u32>()) as u64;
        let from = memory.offset + bytes(at);
        encoder.copy_buffer_to_buffer(&memory.buffer, from, target, 0, bytes(count));
    }
}
