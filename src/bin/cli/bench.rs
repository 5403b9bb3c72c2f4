//! `instructblip bench`: how long a model takes on this machine, over what its GPU could do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use indicatif::ProgressBar;
use instructblip_web::bench::{BenchOptions, BenchReport, Machine, bench, table};
use instructblip_web::{Error, Result, gpu};

use super::load::{self, DeviceName};
use super::terminal;

/// Time every stage and every token, beside the bandwidth and the arithmetic of this GPU.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Model folder: a shard set, or a Hugging Face checkpoint; with --show, a file of --json,
    /// also of `cargo xtask bench`.
    set: PathBuf,
    /// Write the measurements to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Runs of every stage that count; fewer where a stage takes longer than 20 seconds.
    #[arg(long, value_name = "N", default_value_t = BenchOptions::default().iterations)]
    iterations: usize,
    /// Tokens to decode in each run.
    #[arg(long, value_name = "N", default_value_t = BenchOptions::default().tokens)]
    tokens: usize,
    /// What to ask: its length decides how much the encoder reads.
    #[arg(long, default_value_t = BenchOptions::default().question, value_parser = NonEmptyStringValueParser::new())]
    question: String,
    /// Leave the vision tower out, for which software GPUs take minutes at full size.
    #[arg(long)]
    no_vision: bool,
    /// Leave out the products alone.
    #[arg(long)]
    no_kernels: bool,
    /// Measure nothing: print the tables of a file of --json.
    #[arg(long, conflicts_with = "json")]
    show: bool,
    /// With --show, print what changed since the measurements in this file.
    #[arg(long, value_name = "FILE", requires = "show")]
    before: Option<PathBuf>,
}

/// Measures and prints tables.
///
/// # Errors
/// The model cannot be read, there is no GPU, or an option is out of range.
pub fn run(args: &Args) -> Result<()> {
    if args.show {
        return show(args);
    }
    let report = measure(args)?;
    terminal::print(table::render(&report))?;
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report)
            .map_err(|error| Error::Internal { reason: error.to_string() })?;
        std::fs::write(path, json).map_err(|error| Error::io(path, error))?;
    }
    Ok(())
}

fn show(args: &Args) -> Result<()> {
    let reports = read(&args.set)?;
    let Some(path) = &args.before else {
        let tables: Vec<String> = reports.iter().map(table::render).collect();
        return terminal::print(tables.join("\n"));
    };
    let before = read(path)?;
    for after in &reports {
        match before.iter().find(|before| before.model == after.model) {
            Some(before) => terminal::print_line(table::compare(before, after))?,
            None => terminal::note(format_args!(
                "note: {} has no measurements of {}",
                path.display(),
                after.model
            )),
        }
    }
    Ok(())
}

/// A report, or an array of them.
fn read(path: &Path) -> Result<Vec<BenchReport>> {
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    serde_json::from_slice::<Vec<BenchReport>>(&bytes)
        .or_else(|_| serde_json::from_slice(&bytes).map(|report| vec![report]))
        .map_err(|error| {
            let file = path.display().to_string();
            Error::ConfigInvalid { file, reason: format!("no report of this bench: {error}") }
        })
}

fn measure(args: &Args) -> Result<BenchReport> {
    let session = load::session(&args.set, &DeviceName::Wgpu.open()?)?;
    let adapter = gpu::open_device().map(|gpu| gpu.adapter.get_info());
    let adapter = adapter.ok_or_else(|| Error::Internal { reason: "no device is open".into() })?;
    let machine = Machine {
        adapter: adapter.name,
        driver: format!("{} {}, {}", adapter.driver, adapter.driver_info, adapter.backend),
        host: host(),
        build: if cfg!(debug_assertions) { "dev profile" } else { "release profile" }.into(),
    };
    let options = BenchOptions {
        iterations: args.iterations,
        tokens: args.tokens,
        question: args.question.clone(),
        vision: !args.no_vision,
        kernels: !args.no_kernels,
    };
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(200));
    let progress =
        |what: &str| spinner.set_message(terminal::plain(format_args!("measuring: {what}")));
    let name = name(&args.set);
    let report = pollster::block_on(bench(&session, &name, machine, options, &progress));
    spinner.finish_and_clear();
    report
}

/// The folder's name, also of `.`.
fn name(set: &Path) -> String {
    let set = std::path::absolute(set).unwrap_or_else(|_| set.to_path_buf());
    set.file_name().unwrap_or(set.as_os_str()).to_string_lossy().into_owned()
}

fn host() -> String {
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let processor = processor.unwrap_or_else(|| std::env::consts::ARCH.into());
    format!("{}, {processor}, {threads} threads", std::env::consts::OS)
}
