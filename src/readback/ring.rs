//! Small reads that do not hold up the queue: a few buffers, made once, take turns.

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::meter;

/// Buffers that the results of recorded steps are copied into.
#[derive(Debug)]
pub struct Ring {
    buffers: Vec<wgpu::Buffer>,
    words: usize,
    next: usize,
}

impl Ring {
    /// Room for `count` reads of `words` words each on their way.
    #[must_use]
    pub fn new(gpu: &Gpu, count: usize, words: usize) -> Self {
        let buffer = |_| {
            meter::created_buffer();
            gpu.raw.create_buffer(&wgpu::BufferDescriptor {
                label: Some("readback"),
                size: (words * size_of::<u32>()) as u64,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        Self { buffers: (0..count).map(buffer).collect(), words, next: 0 }
    }

    /// Words of a read.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words
    }

    /// The buffer whose turn it is, to be copied into; [`Ring::read`] follows the submit.
    #[must_use]
    pub fn target(&self) -> &wgpu::Buffer {
        &self.buffers[self.next]
    }

    /// Asks for what `submission` copied into [`Ring::target`].
    pub fn read(&mut self, gpu: &Gpu, submission: wgpu::SubmissionIndex) -> Reading {
        let buffer = self.buffers[self.next].clone();
        self.next = (self.next + 1) % self.buffers.len();
        let (sender, mapped) = async_channel::bounded(1);
        buffer.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            // Fails where nobody waits any more: the text has ended.
            let _ = sender.try_send(result);
        });
        meter::read(self.words * size_of::<u32>());
        Reading { buffer, mapped, device: gpu.raw.clone(), submission }
    }
}

/// A read on its way.
#[derive(Debug)]
pub struct Reading {
    buffer: wgpu::Buffer,
    mapped: async_channel::Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
    device: wgpu::Device,
    submission: wgpu::SubmissionIndex,
}

impl Reading {
    /// The words, once the GPU has made them.
    ///
    /// # Errors
    /// The GPU failed.
    pub async fn words(self) -> Result<Vec<u32>> {
        // A browser calls back by itself and ignores this; elsewhere it waits.
        let wait = wgpu::PollType::Wait { submission_index: Some(self.submission), timeout: None };
        self.device.poll(wait).map_err(failed)?;
        self.mapped.recv().await.map_err(failed)?.map_err(failed)?;
        let words = {
            let bytes = self.buffer.slice(..).get_mapped_range().map_err(failed)?;
            bytemuck::pod_collect_to_vec(&bytes)
        };
        self.buffer.unmap();
        Ok(words)
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Gpu { reason: error.to_string() }
}
