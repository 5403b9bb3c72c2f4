//! Tells the page how far loading has come, at most ten times a second.

use std::cell::{Cell, RefCell};

use js_sys::Function;
use wasm_bindgen::JsValue;
use web_time::{Duration, Instant};

use crate::loading::progress::{Counts, Phase};

use super::js;

const PAUSE: Duration = Duration::from_millis(100);

/// Counts, and tells the page. Shared by the downloads in flight.
pub struct Meter {
    callback: Option<Function>,
    counts: RefCell<Counts>,
    emitted: Cell<Option<Instant>>,
}

impl Meter {
    /// A meter that calls `callback` with each event.
    pub fn new(callback: Option<Function>) -> Self {
        Self { callback, counts: RefCell::default(), emitted: Cell::new(None) }
    }

    /// Enters a phase and says so.
    pub fn enter(&self, phase: Phase) {
        self.counts.borrow_mut().enter(phase);
        self.emit(true);
    }

    /// Sets how many bytes there will be.
    pub fn expect(&self, total: u64) {
        self.counts.borrow_mut().expect(total);
    }

    /// A shard is being fetched, until the value is dropped.
    pub fn fetching(&self) -> Fetching<'_> {
        let first = self.counts.borrow_mut().fetching();
        if first {
            self.emit(true);
        }
        Fetching(self)
    }

    /// Bytes came from the network.
    pub fn received(&self, bytes: u64) {
        self.counts.borrow_mut().received(bytes, Instant::now());
        self.emit(false);
    }

    /// Bytes came from the storage.
    pub fn cached(&self, bytes: u64) {
        self.counts.borrow_mut().cached(bytes, Instant::now());
        self.emit(false);
    }

    /// Bytes that were counted will be fetched again.
    pub fn forget(&self, bytes: u64) {
        self.counts.borrow_mut().forget(bytes);
    }

    /// Bytes are on the GPU.
    pub fn uploaded(&self, bytes: u64) {
        self.counts.borrow_mut().uploaded(bytes);
        self.emit(false);
    }

    /// Says how far things are, if that was not said just now.
    pub fn tell(&self) {
        self.emit(false);
    }

    /// Something the visitor should know; the first one stays.
    pub fn warn(&self, warning: String) {
        self.counts.borrow_mut().warn(warning);
        self.emit(true);
    }

    fn emit(&self, always: bool) {
        let Some(callback) = &self.callback else {
            return;
        };
        let now = Instant::now();
        let recent = self.emitted.get().is_some_and(|time| now.duration_since(time) < PAUSE);
        if recent && !always {
            return;
        }
        self.emitted.set(Some(now));
        let progress = self.counts.borrow().progress();
        if let Ok(event) = js::to_value(&progress) {
            // What the page's callback throws is the page's affair.
            let _ = callback.call1(&JsValue::NULL, &event);
        }
    }
}

/// Counts as a download for as long as it lives.
pub struct Fetching<'a>(&'a Meter);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.counts.borrow_mut().fetched();
    }
}
