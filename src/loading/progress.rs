//! How far loading has come: bytes, rate, time left.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use ts_rs::TS;
use web_time::{Duration, Instant};

use crate::config::About;
use crate::kernels::census;

/// The rate is that of the last seconds.
const WINDOW: Duration = Duration::from_secs(5);
/// A rate from less than this is noise.
const SETTLED: Duration = Duration::from_millis(800);

/// What loading is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Reading the small files.
    #[default]
    Manifest,
    /// Fetching shards; each goes to the GPU as it arrives.
    Download,
    /// Reading shards from the browser's storage; none is being fetched.
    Cache,
    /// All bytes are there; the last of them go to the GPU.
    Upload,
    /// The model is being put together, and its last pipelines are compiled.
    Pipelines,
    /// Done.
    Ready,
}

/// How far loading has come.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// Bytes of shards that have arrived, from the network or the storage.
    pub loaded: u64,
    /// Bytes of shards that are on the GPU.
    pub uploaded: u64,
    /// Bytes of all shards.
    pub total: u64,
    /// Bytes of shards that came out of the browser's storage.
    pub from_cache: u64,
    /// At which bytes arrive in this phase, over the last seconds.
    pub bytes_per_second: f64,
    /// Null while it cannot be told.
    pub seconds_left: Option<f64>,
    /// Pipelines that the GPU has ready; it prepares them beside the download.
    pub compiled: usize,
    /// Pipelines in all; 0 until they are counted.
    pub pipelines: usize,
    /// Something the visitor should know, such as a full disk.
    pub warning: Option<String>,
}

/// What a shard set says of itself; all of it may be absent. Whoever made the set wrote it: show it
/// as text only.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(rename = "About")]
pub struct AboutInfo {
    /// What the model was trained on, by language.
    pub knows: BTreeMap<String, String>,
    /// The language that it is asked in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub language: Option<String>,
    /// Whether it was trained on dialogues.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub dialogues: Option<bool>,
    /// Greedy answers of a lower probability are often wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub unsure_below: Option<f64>,
}

impl From<About> for AboutInfo {
    fn from(About { knows, language, dialogues, unsure_below }: About) -> Self {
        Self { knows, language, dialogues, unsure_below }
    }
}

/// What was loaded.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct ModelInfo {
    /// The folder's name.
    pub name: String,
    /// How the weights are packed, such as `q4`.
    pub format: String,
    /// Weights, counted unpacked.
    pub parameters: u64,
    /// Bytes of all shards.
    pub bytes: u64,
}

/// The counts behind [`Progress`]. Times are given, so that a test can choose them.
#[derive(Debug, Default)]
pub struct Counts {
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
}

impl Counts {
    /// Enters a phase, whose rate begins anew; tells whether it is another one.
    pub fn enter(&mut self, phase: Phase) -> bool {
        if self.phase == phase {
            return false;
        }
        self.phase = phase;
        self.samples.clear();
        true
    }

    /// Sets how many bytes there will be.
    pub fn expect(&mut self, total: u64) {
        self.total = total;
    }

    /// A shard is being fetched, until [`Counts::fetched`]; tells whether the phase is new.
    pub fn fetching(&mut self) -> bool {
        self.fetching += 1;
        self.enter(Phase::Download)
    }

    /// A fetch ended.
    pub fn fetched(&mut self) {
        self.fetching -= 1;
    }

    /// Bytes came from the network.
    pub fn received(&mut self, bytes: u64, now: Instant) {
        self.loaded += bytes;
        self.samples.push_back((now, self.loaded));
        let old = |(time, _): &(Instant, u64)| now.duration_since(*time) > WINDOW;
        while self.samples.len() > 2 && self.samples.front().is_some_and(old) {
            self.samples.pop_front();
        }
    }

    /// Bytes came from the storage.
    pub fn cached(&mut self, bytes: u64, now: Instant) {
        self.from_cache += bytes;
        if self.fetching == 0 {
            self.enter(Phase::Cache);
        }
        self.received(bytes, now);
    }

    /// Bytes that were counted will be fetched again.
    pub fn forget(&mut self, bytes: u64) {
        self.loaded = self.loaded.saturating_sub(bytes);
        self.samples.clear();
    }

    /// Bytes are on the GPU.
    pub fn uploaded(&mut self, bytes: u64) {
        self.uploaded += bytes;
        if self.loaded >= self.total {
            self.enter(Phase::Upload);
        }
    }

    /// Something the visitor should know; the first one stays.
    pub fn warn(&mut self, warning: String) {
        self.warning.get_or_insert(warning);
    }

    /// What the page is told.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let rate = self.rate();
        let left = self.total.saturating_sub(self.loaded) as f64;
        Progress {
            phase: self.phase,
            loaded: self.loaded,
            uploaded: self.uploaded,
            total: self.total,
            from_cache: self.from_cache,
            bytes_per_second: rate,
            seconds_left: (rate > 0.0).then(|| left / rate),
            compiled: census::done(),
            pipelines: census::listed(),
            warning: self.warning.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds_of_the_phase() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut counts = Counts::default();
        counts.expect(10_000);
        assert!(counts.fetching() && !counts.fetching());
        counts.received(1000, at(0));
        counts.received(500, at(700));
        assert_eq!(counts.progress().seconds_left, None); // too soon
        counts.received(500, at(1000));
        let progress = counts.progress();
        assert_eq!((progress.bytes_per_second, progress.seconds_left), (1000.0, Some(8.0)));
        // What lies further back than five seconds no longer counts.
        counts.received(2000, at(9000));
        counts.received(1000, at(10_000));
        assert_eq!(counts.progress().bytes_per_second, 1000.0);
        // A damaged shard is fetched again: the bytes are taken back, and the rate begins anew.
        counts.forget(1000);
        let progress = counts.progress();
        assert_eq!((progress.loaded, progress.bytes_per_second), (4000, 0.0));
    }

    #[test]
    fn phases_follow_what_arrives() {
        let now = Instant::now();
        let mut counts = Counts::default();
        counts.expect(300);
        counts.cached(100, now);
        assert_eq!(counts.progress().phase, Phase::Cache);
        counts.fetching();
        counts.cached(100, now); // beside a fetch it stays a download
        assert_eq!(counts.progress().phase, Phase::Download);
        counts.uploaded(200);
        counts.received(100, now);
        counts.fetched();
        assert_eq!(counts.progress().phase, Phase::Download);
        counts.uploaded(100);
        counts.warn("first".into());
        counts.warn("second".into());
        let progress = counts.progress();
        assert_eq!(progress.phase, Phase::Upload);
        assert_eq!((progress.loaded, progress.uploaded, progress.from_cache), (300, 300, 200));
        assert_eq!(progress.warning.as_deref(), Some("first"));
    }
}
