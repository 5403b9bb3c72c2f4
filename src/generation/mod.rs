//! From encoder output to token ids.

mod greedy;

pub use greedy::{GreedyOptions, Stop, greedy};
