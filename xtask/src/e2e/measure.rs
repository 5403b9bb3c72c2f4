//! Seconds and peak memory of other programs, and the table of them.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tools;

/// A program that has ended.
#[derive(Debug, Default)]
pub struct Measured {
    /// From its start to its end.
    pub seconds: f64,
    /// Peak resident bytes of the program itself, where the system tells.
    pub peak: Option<u64>,
    /// What it wrote, where that was captured.
    pub output: String,
}

/// Runs a program that must succeed.
///
/// # Errors
/// It cannot be started, or fails.
pub fn run(command: &mut Command) -> Result<Measured> {
    watch(command, true)
}

/// Runs a program and captures what it writes. It may fail: its output tells.
///
/// # Errors
/// It cannot be started.
pub fn capture(command: &mut Command) -> Result<Measured> {
    watch(command.stdout(Stdio::piped()), false)
}

fn watch(command: &mut Command, must_succeed: bool) -> Result<Measured> {
    let name = tools::describe(command);
    println!("{name}");
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("could not start `{name}`"))?;
    let reader = child.stdout.take().map(|mut stdout| {
        std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        })
    });
    let mut peak = None;
    let status = loop {
        peak = peak_of(child.id()).or(peak);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let seconds = start.elapsed().as_secs_f64();
    if must_succeed && !status.success() {
        bail!("`{name}` failed ({status})");
    }
    let output = match reader.map(std::thread::JoinHandle::join) {
        Some(Ok(text)) => text?,
        Some(Err(_)) => bail!("the output of `{name}` could not be read"),
        None => String::new(),
    };
    Ok(Measured { seconds, peak, output })
}

/// The most memory a living process has had resident (Linux).
fn peak_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// The table.
#[derive(Default)]
pub struct Rows {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    seconds: Option<f64>,
    peak: Option<u64>,
    note: String,
    ok: bool,
}

impl Rows {
    /// Runs a step and adds its row.
    ///
    /// # Errors
    /// Those of the step.
    pub fn step(
        &mut self,
        name: &str,
        step: impl FnOnce() -> Result<Measured>,
    ) -> Result<Measured> {
        println!("\n== {name}");
        let measured = step()?;
        self.rows.push(Row {
            name: name.into(),
            seconds: Some(measured.seconds),
            peak: measured.peak,
            note: String::new(),
            ok: true,
        });
        Ok(measured)
    }

    /// Says more about the last row.
    pub fn note(&mut self, note: String) {
        if let Some(row) = self.rows.last_mut() {
            row.note = note;
        }
    }

    /// A row for a part of the last step.
    pub fn result(&mut self, name: &str, seconds: f64, note: String, ok: bool) {
        let name = format!("  {name}");
        self.rows.push(Row { name, seconds: Some(seconds), peak: None, note, ok });
    }

    /// A row for what was not done, and why.
    pub fn skip(&mut self, name: &str, why: &str) {
        let note = format!("skipped: {why}");
        self.rows.push(Row { name: name.into(), seconds: None, peak: None, note, ok: true });
    }

    /// Whether a result was not as it should be.
    pub fn failed(&self) -> bool {
        self.rows.iter().any(|row| !row.ok)
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("\n{:32} {:>9} {:>10}", "", "seconds", "peak");
        for row in &self.rows {
            let seconds = row.seconds.map_or_else(String::new, |seconds| format!("{seconds:.1}"));
            let peak = row.peak.map_or_else(String::new, |peak| format!("{} MB", peak / 1_000_000));
            let mark = if row.ok { "" } else { "  FAILED" };
            println!("{:32} {seconds:>9} {peak:>10}  {}{mark}", row.name, row.note);
        }
    }
}
