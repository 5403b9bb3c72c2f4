//! Counts what the GPU is asked to do, and what goes over the border between it and the host.
//!
//! Counters belong to the thread that launches. Only this crate's own kernels and transfers are
//! counted; Burn's (a cache filled with zeros) come a few times an answer, not with every token.

use std::cell::Cell;
use std::future::poll_fn;
use std::ops::{Add, Sub};
use std::pin::pin;

/// Kernels that Burn's wgpu stream gathers before it submits them (its default `tasks_max`).
const KERNELS_A_SUBMIT: u64 = 32;

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts::NONE) };
    /// Kernels since the last submit.
    static PENDING: Cell<u64> = const { Cell::new(0) };
}

/// Totals of this thread, or with `-` what came between two of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Kernels launched.
    pub dispatches: u64,
    /// Command buffers handed to the queue.
    pub submits: u64,
    /// Reads begun.
    pub readbacks: u64,
    /// Times the host waited for a read with nothing queued behind it: reads on the critical path.
    pub waits: u64,
    /// Bytes read back.
    pub bytes_read: u64,
    /// Bytes that the kernels read and write in GPU memory, each buffer counted once a kernel.
    pub bytes_moved: u64,
    /// Those of them that are the model's matrices.
    pub weight_bytes: u64,
    /// Floating-point operations of products and attention.
    pub flops: u64,
    /// Buffers made for recordings: their parameters and what is read back.
    pub buffers: u64,
}

impl Counts {
    const NONE: Self = Self {
        dispatches: 0,
        submits: 0,
        readbacks: 0,
        waits: 0,
        bytes_read: 0,
        bytes_moved: 0,
        weight_bytes: 0,
        flops: 0,
        buffers: 0,
    };

    fn with(self, other: Self, operation: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            dispatches: operation(self.dispatches, other.dispatches),
            submits: operation(self.submits, other.submits),
            readbacks: operation(self.readbacks, other.readbacks),
            waits: operation(self.waits, other.waits),
            bytes_read: operation(self.bytes_read, other.bytes_read),
            bytes_moved: operation(self.bytes_moved, other.bytes_moved),
            weight_bytes: operation(self.weight_bytes, other.weight_bytes),
            flops: operation(self.flops, other.flops),
            buffers: operation(self.buffers, other.buffers),
        }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        self.with(more, u64::saturating_add)
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }
}

/// The totals so far.
#[must_use]
pub fn counts() -> Counts {
    COUNTS.get()
}

/// What `work` launches, without what goes on beside it while it waits.
pub async fn during<T>(work: impl Future<Output = T>) -> (T, Counts) {
    let mut work = pin!(work);
    let mut sum = Counts::NONE;
    let done = poll_fn(|context| {
        let before = counts();
        let polled = work.as_mut().poll(context);
        sum = sum + (counts() - before);
        polled
    })
    .await;
    (done, sum)
}

/// A kernel with this work.
pub(crate) fn dispatched(work: &Counts) {
    add(Counts { dispatches: 1, ..*work });
    PENDING.set(PENDING.get() + 1);
    if PENDING.get() == KERNELS_A_SUBMIT {
        submitted();
    }
}

/// A recording's kernels, encoded for the submit that follows.
pub(crate) fn replayed(work: &Counts) {
    PENDING.set(PENDING.get() + work.dispatches);
    add(*work);
}

/// A buffer of our own.
pub(crate) fn created_buffer() {
    add(Counts { buffers: 1, ..Counts::default() });
}

/// A flush, or an upload, before which what is pending must go.
pub(crate) fn submitted() {
    if PENDING.replace(0) > 0 {
        add(Counts { submits: 1, ..Counts::default() });
    }
}

/// The host waits for a read, and the GPU has nothing else to do.
pub(crate) fn waited() {
    add(Counts { waits: 1, ..Counts::default() });
}

/// A read always submits its copy.
pub(crate) fn read(bytes: usize) {
    PENDING.set(0);
    add(Counts { submits: 1, readbacks: 1, bytes_read: bytes as u64, ..Counts::default() });
}

fn add(more: Counts) {
    COUNTS.set(COUNTS.get() + more);
}
