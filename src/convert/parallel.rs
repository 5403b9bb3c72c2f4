//! Work on numbered pieces on several threads, with the results in order.
//!
//! Threads take the next piece as soon as they are free, so all of them stay busy whatever a
//! piece costs; the caller takes results in order meanwhile. Threads wait where they are too far
//! ahead of the caller, which bounds the memory.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Pieces that a thread may be ahead of the caller.
const AHEAD: usize = 4;

/// One thread for every core.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Calls `work` for `0..count` on `threads` threads. `consume` runs on the calling thread and
/// gets a function that returns the result of the next piece; when `consume` returns, no further
/// piece is begun.
///
/// # Errors
/// What `consume` returns. A panic in `work` is an error of its piece.
pub fn in_order<T: Send, R>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
    consume: impl FnOnce(&mut dyn FnMut() -> Result<T>) -> Result<R>,
) -> Result<R> {
    let threads = threads.max(1);
    let queue = Queue { state: Mutex::new(State::new()), changed: Condvar::new() };
    std::thread::scope(|scope| {
        let _stop = Stop(&queue);
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(piece) = queue.begin(count, threads * AHEAD) {
                    let panicked = |_| Err(Error::Internal { reason: "a thread panicked".into() });
                    let result = catch_unwind(AssertUnwindSafe(|| work(piece)));
                    queue.finish(piece, result.unwrap_or_else(panicked));
                }
            });
        }
        consume(&mut || queue.take(count))
    })
}

struct State<T> {
    /// The first piece that nobody has begun.
    next: usize,
    /// The first piece that the caller has not taken.
    taken: usize,
    ready: BTreeMap<usize, Result<T>>,
    stopped: bool,
}

impl<T> State<T> {
    fn new() -> Self {
        Self { next: 0, taken: 0, ready: BTreeMap::new(), stopped: false }
    }
}

struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Queue<T> {
    fn begin(&self, count: usize, ahead: usize) -> Option<usize> {
        let wait = |state: &mut State<T>| {
            !state.stopped && state.next < count && state.next >= state.taken + ahead
        };
        let mut state = self.when(wait);
        if state.stopped || state.next >= count {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    fn finish(&self, piece: usize, result: Result<T>) {
        self.lock().ready.insert(piece, result);
        self.changed.notify_all();
    }

    fn take(&self, count: usize) -> Result<T> {
        let mut state = self.when(|s| s.taken < count && !s.ready.contains_key(&s.taken));
        let taken = state.taken;
        let result = state.ready.remove(&taken);
        state.taken += 1;
        self.changed.notify_all();
        result.unwrap_or_else(|| {
            Err(Error::Internal { reason: format!("there are {count} pieces, not {}", taken + 1) })
        })
    }

    fn when(&self, wait: impl FnMut(&mut State<T>) -> bool) -> MutexGuard<'_, State<T>> {
        self.changed.wait_while(self.lock(), wait).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the threads end when the caller is done or unwinds.
struct Stop<'a, T>(&'a Queue<T>);

impl<T> Drop for Stop<'_, T> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn results_come_in_order_and_memory_is_bounded() {
        for threads in [1, 2, 7] {
            let (begun, mut worst) = (AtomicUsize::new(0), 0);
            let work = |piece: usize| {
                begun.fetch_add(1, Ordering::SeqCst);
                // Later pieces are quicker: without order they would overtake.
                std::thread::sleep(Duration::from_micros(50 * (7 - piece as u64 % 7)));
                Ok(piece)
            };
            let all = in_order(threads, 100, work, |next| {
                (0..100)
                    .map(|taken| {
                        worst = worst.max(begun.load(Ordering::SeqCst).saturating_sub(taken));
                        next()
                    })
                    .collect::<Result<Vec<_>>>()
            });
            assert_eq!(all.unwrap(), (0..100).collect::<Vec<_>>());
            assert!(worst <= threads * AHEAD, "{worst}");
        }
    }

    #[test]
    fn the_caller_may_stop_early_or_ask_too_often() {
        let begun = AtomicUsize::new(0);
        let work = |piece| {
            begun.fetch_add(1, Ordering::SeqCst);
            Ok(piece)
        };
        let error = in_order(2, 1000, work, |next| {
            next()?;
            Err::<(), _>(Error::Cancelled)
        });
        assert_eq!(error.unwrap_err().code(), "cancelled");
        assert!(begun.into_inner() <= 2 * AHEAD + 1);
        let error = in_order(2, 1, Ok, |next| next().and_then(|_| next()));
        assert_eq!(error.unwrap_err().code(), "internal");
    }

    #[test]
    fn errors_and_panics_belong_to_their_piece() {
        let work = |piece| match piece {
            3 => Err(Error::QuestionEmpty),
            5 => panic!("on purpose"),
            _ => Ok(()),
        };
        let codes = in_order(3, 7, work, |next| {
            Ok((0..7).map(|_| next().map_or_else(|e| e.code(), |()| "")).collect::<Vec<_>>())
        });
        assert_eq!(codes.unwrap(), ["", "", "", "question-empty", "", "internal", ""]);
    }
}
