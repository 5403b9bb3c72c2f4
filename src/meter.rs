//! Counts what goes over the border between host and GPU: kernels, submits, bytes read back.
//!
//! Counters belong to the thread that launches. Only this crate's own kernels and transfers are
//! counted; Burn's (a cache filled with zeros) come a few times an answer, not with every token.

use std::cell::Cell;
use std::ops::Sub;

/// Kernels that Burn's wgpu stream gathers before it submits them (its default `tasks_max`).
const KERNELS_A_SUBMIT: u64 = 32;

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { dispatches: 0, submits: 0, bytes_read: 0 }) };
    /// Kernels since the last submit.
    static PENDING: Cell<u64> = const { Cell::new(0) };
}

/// Totals of this thread, or with `-` what came between two of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Kernels launched.
    pub dispatches: u64,
    /// Command buffers handed to the queue.
    pub submits: u64,
    /// Bytes read back.
    pub bytes_read: u64,
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            dispatches: self.dispatches - earlier.dispatches,
            submits: self.submits - earlier.submits,
            bytes_read: self.bytes_read - earlier.bytes_read,
        }
    }
}

/// The totals so far.
#[must_use]
pub fn counts() -> Counts {
    COUNTS.get()
}

pub(crate) fn dispatched() {
    add(Counts { dispatches: 1, ..Counts::default() });
    PENDING.set(PENDING.get() + 1);
    if PENDING.get() == KERNELS_A_SUBMIT {
        submitted();
    }
}

/// A flush, or an upload, before which what is pending must go.
pub(crate) fn submitted() {
    if PENDING.replace(0) > 0 {
        add(Counts { submits: 1, ..Counts::default() });
    }
}

/// A read always submits its copy.
pub(crate) fn read(bytes: usize) {
    PENDING.set(0);
    add(Counts { submits: 1, bytes_read: bytes as u64, ..Counts::default() });
}

fn add(more: Counts) {
    let Counts { dispatches, submits, bytes_read } = COUNTS.get();
    COUNTS.set(Counts {
        dispatches: dispatches + more.dispatches,
        submits: submits + more.submits,
        bytes_read: bytes_read + more.bytes_read,
    });
}
