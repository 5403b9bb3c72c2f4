//! What several measurements of one thing say, and the host's part of a future's time.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

use serde::{Deserialize, Serialize};
use web_time::Instant;

/// Median and extremes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Of an even number of samples, the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of these samples; zeros where there are none.
    #[must_use]
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (samples.first(), samples.last()) else {
            return Self::default();
        };
        let middle = samples.len() / 2;
        let median = match samples.len() % 2 {
            1 => samples[middle],
            _ => f64::midpoint(samples[middle - 1], samples[middle]),
        };
        Self { median, min: *min, max: *max }
    }

    /// As many more samples: between the two medians.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            median: f64::midpoint(self.median, other.median),
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// The same in another unit.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { median: self.median * factor, min: self.min * factor, max: self.max * factor }
    }

    /// `work` over each time: a rate, whose least belongs to the longest time.
    #[must_use]
    pub fn rate(self, work: f64) -> Self {
        Self { median: work / self.median, min: work / self.max, max: work / self.min }
    }
}

/// A clock for futures that counts only what the host computes, not what it waits for.
#[derive(Debug, Default)]
pub(super) struct HostClock {
    before: Cell<f64>,
    entered: Cell<Option<Instant>>,
}

impl HostClock {
    /// Seconds inside the futures so far; may be asked from within one.
    pub(super) fn seconds(&self) -> f64 {
        self.before.get() + self.entered.get().map_or(0.0, |at| at.elapsed().as_secs_f64())
    }

    /// Runs a future and counts the time inside its polls.
    pub(super) async fn watch<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.entered.set(Some(Instant::now()));
            let poll = future.as_mut().poll(context);
            self.before.set(self.seconds());
            self.entered.set(None);
            poll
        })
        .await
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!(spread, Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
        let both = spread.and(Spread { median: 4.0, min: 2.0, max: 5.0 });
        assert_eq!(both, Spread { median: 3.0, min: 1.0, max: 5.0 });
        assert_eq!(spread.rate(6.0), Spread { median: 3.0, min: 2.0, max: 6.0 });
    }

    #[test]
    fn waiting_is_not_counted() {
        let clock = HostClock::default();
        let (sender, receiver) = std::sync::mpsc::channel::<std::task::Waker>();
        let other = std::thread::spawn(move || {
            let waker = receiver.recv().ok();
            std::thread::sleep(std::time::Duration::from_millis(80));
            waker.map(std::task::Waker::wake)
        });
        let start = Instant::now();
        let mut sent = false;
        pollster::block_on(clock.watch(poll_fn(|context| {
            if std::mem::replace(&mut sent, true) {
                return std::task::Poll::Ready(());
            }
            let _ = sender.send(context.waker().clone());
            std::task::Poll::Pending
        })));
        assert!(other.join().is_ok());
        assert!(start.elapsed().as_secs_f64() > 0.07);
        assert!(clock.seconds() < 0.04, "{}", clock.seconds());
    }
}
