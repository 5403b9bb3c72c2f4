//! Damaged files of every kind: each input is read, or refused with a typed error, soon and in
//! bounded memory.
//!
//! The inputs are made from a seed and run in a child process, one after another. A panic, an
//! abort, a full stack, a silence or too much memory ends the child, not the test: the input is
//! saved in `target/fuzz` and the next child goes on behind it. `INSTRUCTBLIP_FUZZ` is the
//! number of inputs in all, `INSTRUCTBLIP_FUZZ_SEED` the seed; see `cargo xtask fuzz`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/heap.rs"]
mod heap;
#[path = "fuzz/json.rs"]
mod json;
#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/target.rs"]
mod target;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use target::{KINDS, Seeds};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

const DEFAULT_COUNT: usize = 4500;
const DEFAULT_SEED: u64 = 1;
/// An input that takes longer is a failure, and the child is ended.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes that an input of some kB may take at once. A picture may have 100 megapixels.
const MOST_BYTES: usize = 256 << 20;
/// Set for a child: the number of its first input.
const CHILD: &str = "INSTRUCTBLIP_FUZZ_CHILD";

/// What a child says of an input: its number, how it ended, milliseconds, bytes.
struct Line {
    number: usize,
    outcome: String,
    milliseconds: f64,
    bytes: usize,
}

#[test]
fn every_input_is_read_or_refused_with_a_typed_error() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let count = number("INSTRUCTBLIP_FUZZ").map_or(DEFAULT_COUNT, |n| n as usize);
    let seed = number("INSTRUCTBLIP_FUZZ_SEED").unwrap_or(DEFAULT_SEED);
    let seeds = Seeds::read();
    if let Some(first) = number(CHILD) {
        return child(&seeds, seed, first as usize, count);
    }

    let start = Instant::now();
    let mut report = Report::default();
    let mut next = 0;
    while next < count {
        next = parent(next, count, &mut |line| {
            if let Some(failure) = report.add(&line) {
                let saved = save(&seeds, seed, line.number);
                report.failures.push(format!("{failure}; saved in {}", saved.display()));
            }
        });
    }
    report.print(count, seed, start.elapsed());
    assert!(report.failures.is_empty(), "seed {seed}: {:#?}", report.failures);
}

/// The kind and its own number of an input.
fn place(number: usize) -> (usize, usize) {
    (number % KINDS.len(), number / KINDS.len())
}

/// Runs inputs to the end, or until one ends the process.
fn child(seeds: &Seeds, seed: u64, first: usize, count: usize) {
    let mut out = std::io::stdout();
    for number in first..count {
        let (kind, own) = place(number);
        let input = seeds.input(kind, seed, own);
        writeln!(out, "\nfuzz {number}").unwrap();
        out.flush().unwrap();
        let (start, before) = (Instant::now(), heap::start());
        let result = catch_unwind(AssertUnwindSafe(|| input.run()));
        let outcome = match result {
            Ok(Ok(())) => "accepted",
            Ok(Err(error)) => error.code(),
            Err(_) => "panic",
        };
        let (time, bytes) = (start.elapsed().as_secs_f64() * 1e3, heap::most() - before);
        writeln!(out, "\nfuzz {number} {outcome} {time:.1} {bytes}").unwrap();
    }
    out.flush().unwrap();
}

/// Reads what a child says from input `first` on; returns where the next one begins.
fn parent(first: usize, count: usize, tell: &mut dyn FnMut(Line)) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "every_input_is_read_or_refused_with_a_typed_error"])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null()) // panics that are counted
        .spawn()
        .unwrap();
    let (send, lines) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    // The input at work, and since when.
    let mut at_work = first;
    let mut end = "the process ended";
    while let Ok(line) = lines.recv_timeout(PATIENCE).inspect_err(|error| {
        if *error == mpsc::RecvTimeoutError::Timeout {
            end = "no end";
        }
    }) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["fuzz", number] => at_work = number.parse().unwrap(),
            ["fuzz", number, outcome, time, bytes] => {
                let number = number.parse().unwrap();
                tell(Line {
                    number,
                    outcome: outcome.into(),
                    milliseconds: time.parse().unwrap(),
                    bytes: bytes.parse().unwrap(),
                });
                at_work = number + 1;
            }
            _ => {}
        }
    }
    let _ = child.kill();
    let status = child.wait().unwrap();
    reader.join().unwrap();
    if at_work < count {
        let milliseconds = if end == "no end" { PATIENCE.as_secs_f64() * 1e3 } else { 0.0 };
        tell(Line {
            number: at_work,
            outcome: format!("{end} ({status})"),
            milliseconds,
            bytes: 0,
        });
    }
    at_work + 1
}

/// Writes an input's files into `target/fuzz`.
fn save(seeds: &Seeds, seed: u64, number: usize) -> PathBuf {
    let (kind, own) = place(number);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/fuzz")
        .join(format!("{}-{seed}-{own}", KINDS[kind]));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in seeds.input(kind, seed, own).files() {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    folder
}

/// What became of all inputs.
#[derive(Default)]
struct Report {
    counts: BTreeMap<(usize, String), usize>,
    /// Milliseconds and bytes of the worst input of each kind.
    slowest: BTreeMap<usize, (f64, usize)>,
    largest: BTreeMap<usize, (usize, usize)>,
    failures: Vec<String>,
}

impl Report {
    /// Counts an input; why it is a failure, if it is.
    fn add(&mut self, line: &Line) -> Option<String> {
        let (kind, own) = place(line.number);
        *self.counts.entry((kind, line.outcome.clone())).or_default() += 1;
        let slowest = self.slowest.entry(kind).or_default();
        if line.milliseconds > slowest.0 {
            *slowest = (line.milliseconds, own);
        }
        let largest = self.largest.entry(kind).or_default();
        if line.bytes > largest.0 {
            *largest = (line.bytes, own);
        }
        let typed =
            line.outcome == "accepted" || line.outcome.contains('-') && !line.outcome.contains(' ');
        let slow = line.milliseconds >= PATIENCE.as_secs_f64() * 1e3;
        let large = line.bytes > MOST_BYTES && KINDS[kind] != "picture";
        let Line { outcome, milliseconds, bytes, .. } = line;
        (!typed || slow || large)
            .then(|| format!("{} {own}: {outcome}, {milliseconds} ms, {bytes} bytes", KINDS[kind]))
    }

    fn print(&self, count: usize, seed: u64, time: Duration) {
        println!("{count} inputs, seed {seed}, {:.1} s", time.as_secs_f64());
        for (kind, name) in KINDS.iter().enumerate() {
            let outcomes: Vec<String> = self
                .counts
                .iter()
                .filter(|((of, _), _)| *of == kind)
                .map(|((_, outcome), count)| format!("{outcome} {count}"))
                .collect();
            let (slowest, slowest_at) = self.slowest.get(&kind).copied().unwrap_or_default();
            let (bytes, bytes_at) = self.largest.get(&kind).copied().unwrap_or_default();
            println!(
                "{name:>12}: {}; slowest {slowest:.0} ms (number {slowest_at}), most memory {:.1} MB (number {bytes_at})",
                outcomes.join(", "),
                bytes as f64 / 1e6
            );
        }
    }
}
