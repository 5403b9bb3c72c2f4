//! Progress of loading: bytes, rate, time left, at most ten events a second.

use std::cell::RefCell;
use std::collections::VecDeque;

use js_sys::Function;
use serde::Serialize;
use wasm_bindgen::JsValue;
use web_time::{Duration, Instant};

use super::js;

/// The rate is that of the last seconds.
const WINDOW: Duration = Duration::from_secs(5);
/// A rate from less than this is noise.
const SETTLED: Duration = Duration::from_millis(800);
const PAUSE: Duration = Duration::from_millis(100);

/// What loading is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Reading the small files.
    Manifest,
    /// Fetching shards; each goes to the GPU as it arrives.
    Download,
    /// Reading shards from the browser's storage; none is being fetched.
    Cache,
    /// All bytes are there; the last of them go to the GPU.
    Upload,
    /// The model is being put together, and its first pipelines are compiled.
    Pipelines,
    /// Done.
    Ready,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    phase: Phase,
    loaded: f64,
    uploaded: f64,
    total: f64,
    from_cache: f64,
    bytes_per_second: f64,
    seconds_left: Option<f64>,
    warning: Option<&'a str>,
}

/// Counts, and tells the page. Shared by the downloads in flight.
pub struct Meter {
    callback: Option<Function>,
    state: RefCell<State>,
}

struct State {
    phase: Phase,
    loaded: u64,
    uploaded: u64,
    total: u64,
    from_cache: u64,
    warning: Option<String>,
    /// Shards being fetched.
    fetching: usize,
    /// (time, bytes that had arrived by then), of this phase
    samples: VecDeque<(Instant, u64)>,
    emitted: Option<Instant>,
}

impl Meter {
    /// A meter that calls `callback` with each event.
    pub fn new(callback: Option<Function>) -> Self {
        let state = State {
            phase: Phase::Manifest,
            loaded: 0,
            uploaded: 0,
            total: 0,
            from_cache: 0,
            warning: None,
            fetching: 0,
            samples: VecDeque::new(),
            emitted: None,
        };
        Self { callback, state: RefCell::new(state) }
    }

    /// Enters a phase and says so.
    pub fn enter(&self, phase: Phase) {
        self.state.borrow_mut().enter(phase);
        self.emit(true);
    }

    /// Sets how many bytes there will be.
    pub fn expect(&self, total: u64) {
        self.state.borrow_mut().total = total;
    }

    /// A shard is being fetched, until the value is dropped.
    pub fn fetching(&self) -> Fetching<'_> {
        let first = {
            let mut state = self.state.borrow_mut();
            state.fetching += 1;
            state.enter(Phase::Download)
        };
        if first {
            self.emit(true);
        }
        Fetching(self)
    }

    /// Bytes came from the network.
    pub fn received(&self, bytes: u64) {
        self.state.borrow_mut().arrive(bytes);
        self.emit(false);
    }

    /// Bytes came from the cache.
    pub fn cached(&self, bytes: u64) {
        {
            let mut state = self.state.borrow_mut();
            state.from_cache += bytes;
            if state.fetching == 0 {
                state.enter(Phase::Cache);
            }
            state.arrive(bytes);
        }
        self.emit(false);
    }

    /// Bytes that were counted will be fetched again.
    pub fn forget(&self, bytes: u64) {
        let mut state = self.state.borrow_mut();
        state.loaded = state.loaded.saturating_sub(bytes);
        state.samples.clear();
    }

    /// Bytes are on the GPU.
    pub fn uploaded(&self, bytes: u64) {
        {
            let mut state = self.state.borrow_mut();
            state.uploaded += bytes;
            if state.loaded >= state.total {
                state.enter(Phase::Upload);
            }
        }
        self.emit(false);
    }

    /// Something the visitor should know; the first one stays.
    pub fn warn(&self, warning: String) {
        self.state.borrow_mut().warning.get_or_insert(warning);
        self.emit(true);
    }

    fn emit(&self, always: bool) {
        let Some(callback) = &self.callback else {
            return;
        };
        let event = {
            let mut state = self.state.borrow_mut();
            let now = Instant::now();
            let recent = state.emitted.is_some_and(|time| now.duration_since(time) < PAUSE);
            if recent && !always {
                return;
            }
            state.emitted = Some(now);
            let rate = state.rate();
            let left = state.total.saturating_sub(state.loaded) as f64;
            js::to_value(&Event {
                phase: state.phase,
                loaded: state.loaded as f64,
                uploaded: state.uploaded as f64,
                total: state.total as f64,
                from_cache: state.from_cache as f64,
                bytes_per_second: rate,
                seconds_left: (rate > 0.0).then(|| left / rate),
                warning: state.warning.as_deref(),
            })
        };
        if let Ok(event) = event {
            // What the page's callback throws is the page's affair.
            let _ = callback.call1(&JsValue::NULL, &event);
        }
    }
}

/// Counts as a download for as long as it lives.
pub struct Fetching<'a>(&'a Meter);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().fetching -= 1;
    }
}

impl State {
    /// Whether the phase is a new one; its rate begins anew.
    fn enter(&mut self, phase: Phase) -> bool {
        if self.phase == phase {
            return false;
        }
        self.phase = phase;
        self.samples.clear();
        true
    }

    fn arrive(&mut self, bytes: u64) {
        self.loaded += bytes;
        let now = Instant::now();
        self.samples.push_back((now, self.loaded));
        while self.samples.len() > 2
            && self.samples.front().is_some_and(|(time, _)| now.duration_since(*time) > WINDOW)
        {
            self.samples.pop_front();
        }
    }

    /// Bytes per second of this phase; 0 while it cannot be told.
    fn rate(&self) -> f64 {
        let (Some((start, before)), Some((end, now))) = (self.samples.front(), self.samples.back())
        else {
            return 0.0;
        };
        let time = end.duration_since(*start);
        if time < SETTLED {
            return 0.0;
        }
        now.saturating_sub(*before) as f64 / time.as_secs_f64()
    }
}
