//! Which pipelines there will be, and how many of them there are.
//!
//! A pipeline is compiled when its kernel is first launched, or first recorded for replays, which
//! needs one of its own. [`list`] runs work whose kernels are only noted; the same work, run after
//! that, makes the pipelines of the list one by one. What the browser has been handed it compiles
//! in turn: whoever learns that it is done with all of a moment says so by [`compiled`].
//!
//! Everything belongs to the thread that launches. Burn's few own kernels are not counted.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;

use super::Shader;

/// A kernel's variant, and whether it is for replays.
type Key = (Shader, bool);

thread_local! {
    /// Whether kernels are noted only.
    static NOTING: Cell<bool> = const { Cell::new(false) };
    /// Whether those that are noted are for replays.
    static REPLAYS: Cell<bool> = const { Cell::new(false) };
    /// The pipelines of the list, and whether each was made.
    static LIST: RefCell<HashMap<Key, bool>> = RefCell::default();
    /// How many they are, once all are listed.
    static LISTED: Cell<usize> = const { Cell::new(0) };
    static MADE: Cell<usize> = const { Cell::new(0) };
    static COMPILED: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work` with its kernels noted and not launched, and not those of others meanwhile.
pub async fn list<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let done = poll_fn(|context| {
        NOTING.set(true);
        let polled = work.as_mut().poll(context);
        NOTING.set(false);
        polled
    })
    .await;
    LISTED.set(LIST.with_borrow(HashMap::len));
    done
}

/// Whether kernels are noted only.
#[must_use]
pub fn is_noting() -> bool {
    NOTING.get()
}

/// The kernels of `work` are noted as recorded for replays, if they will be.
pub(crate) fn for_replays<T>(replays: bool, work: impl FnOnce() -> T) -> T {
    REPLAYS.set(replays);
    let done = work();
    REPLAYS.set(false);
    done
}

/// A kernel is to be launched. False where it was only noted.
pub(super) fn launched(shader: &Shader) -> bool {
    if NOTING.get() {
        LIST.with_borrow_mut(|list| {
            list.entry((shader.clone(), REPLAYS.get())).or_default();
        });
        return false;
    }
    made(shader, false);
    true
}

/// The pipeline of a kernel is made, if it was not.
pub(super) fn made(shader: &Shader, replays: bool) {
    LIST.with_borrow_mut(|list| {
        // All are there after a while: then this is the whole work of a launch.
        if MADE.get() < list.len()
            && let Some(known) = list.get_mut(&(shader.clone(), replays))
            && !std::mem::replace(known, true)
        {
            MADE.set(MADE.get() + 1);
        }
    });
}

/// Pipelines of the list; 0 until it is complete.
#[must_use]
pub fn listed() -> usize {
    LISTED.get()
}

/// Those of them that were handed over so far.
#[must_use]
pub fn handed_over() -> usize {
    MADE.get()
}

/// The browser is done with the first `count` that were handed over.
pub fn compiled(count: usize) {
    COMPILED.set(COMPILED.get().max(count));
}

/// Those that are known to be done.
#[must_use]
pub fn done() -> usize {
    COMPILED.get()
}
