//! Long work in short submits, stopped when asked.
//!
//! A model calls [`Pace::after`] between its blocks. Every block is a submit of its own, so that
//! none keeps the GPU busy for long (a long one hangs the desktop or loses the device), and the
//! host stays at most two batches of blocks ahead of the GPU, so that a wish to stop is heard
//! before all the work is queued. Waiting costs an idle GPU, so a batch is as many blocks as take
//! `BATCH`: a large model waits after every block, a tiny one almost never. In a browser,
//! waiting is also what lets the worker receive a message.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use burn::tensor::Tensor;
use web_time::Instant;

use crate::error::{Error, Result};
use crate::readback::{self, Fence};

/// Work that is queued at a time; up to twice this runs on after a cancel.
const BATCH: Duration = Duration::from_millis(50);

/// How a long computation is cut up, and whether it should stop.
#[derive(Default)]
pub struct Pace {
    cancelled: Option<Box<dyn Fn() -> bool>>,
    queue: RefCell<Queue>,
}

/// What the GPU has been given.
struct Queue {
    /// Resolves at the end of the batch before this one, and that batch's number of blocks.
    earlier: Option<(Fence, u32)>,
    /// Blocks of this batch so far.
    blocks: u32,
    /// Blocks that make a batch.
    batch: u32,
    /// When the last batch ended.
    since: Instant,
}

impl Default for Queue {
    fn default() -> Self {
        Self { earlier: None, blocks: 0, batch: 1, since: Instant::now() }
    }
}

impl Pace {
    /// Stops with [`Error::Cancelled`] once `cancelled` says so.
    pub fn new(cancelled: impl Fn() -> bool + 'static) -> Self {
        Self { cancelled: Some(Box::new(cancelled)), ..Self::default() }
    }

    /// # Errors
    /// [`Error::Cancelled`].
    pub fn check(&self) -> Result<()> {
        match &self.cancelled {
            Some(cancelled) if cancelled() => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    /// Called with the result of every block.
    ///
    /// # Errors
    /// [`Error::Cancelled`], or the GPU failed.
    pub async fn after<const D: usize>(&self, block: &Tensor<D>) -> Result<()> {
        self.check()?;
        readback::flush(&block.device())?;
        let mut queue = self.queue.take();
        queue.blocks += 1;
        if queue.blocks >= queue.batch {
            queue.close(block).await?;
            self.check()?;
        }
        self.queue.replace(queue);
        Ok(())
    }
}

impl Queue {
    /// Ends this batch with `block` and waits for the one before it.
    async fn close<const D: usize>(&mut self, block: &Tensor<D>) -> Result<()> {
        let blocks = std::mem::take(&mut self.blocks);
        let mut end = readback::finished(block);
        // The first poll puts the fence behind the block; it is waited for at the next end.
        let earlier = match poll_fn(|context| Poll::Ready(end.as_mut().poll(context))).await {
            Poll::Ready(done) => {
                done?;
                self.earlier.take()
            }
            Poll::Pending => self.earlier.replace((end, blocks)),
        };
        if let Some((earlier, blocks)) = earlier {
            earlier.await?;
            let block = self.since.elapsed() / blocks;
            let fit = BATCH.as_nanos() / block.as_nanos().max(1);
            // At most twice as many as before: the next stage's blocks may be longer.
            self.batch =
                u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, self.batch.saturating_mul(2));
        }
        self.since = Instant::now();
        Ok(())
    }
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pace").finish_non_exhaustive()
    }
}
