//! Steps with their names and times, and a table of them at the end.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The steps that ran so far.
#[derive(Default)]
pub struct Steps {
    done: Vec<(String, Duration, bool)>,
}

impl Steps {
    /// Runs a step. An error is printed, remembered, and does not keep later steps from running.
    pub fn run<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Option<T> {
        println!("\n== {name}");
        let start = Instant::now();
        let result = step();
        self.done.push((name.to_owned(), start.elapsed(), result.is_ok()));
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                eprintln!("error: {error:#}");
                None
            }
        }
    }

    /// How many steps failed.
    pub fn failed(&self) -> usize {
        self.done.iter().filter(|(_, _, ok)| !ok).count()
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("\n{:>8}  step", "time");
        for (name, time, ok) in &self.done {
            let seconds = time.as_secs();
            let mark = if *ok { "" } else { "  FAILED" };
            println!("{:>5}:{:02}  {name}{mark}", seconds / 60, seconds % 60);
        }
    }
}
