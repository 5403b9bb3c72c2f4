//! `instructblip verify`: every stage against recorded outputs of the reference implementation.

use std::path::PathBuf;
use std::process::ExitCode;

use instructblip_web::verify::{DEFAULT_TOLERANCE, Golden, Report, VerifyOptions, verify};
use instructblip_web::{Error, Result};

use super::load::{self, DeviceName};
use super::terminal::{self, print_line};

/// Arguments of `verify`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Model folder: a shard set, or a Hugging Face checkpoint.
    model: PathBuf,
    /// Golden files (.safetensors), see tests/README.md for the format.
    #[arg(required = true)]
    golden: Vec<PathBuf>,
    /// Where to run.
    #[arg(long, value_enum, default_value = "wgpu")]
    device: DeviceName,
    /// Largest relative error of a stage.
    #[arg(long, default_value_t = DEFAULT_TOLERANCE)]
    tolerance: f64,
    /// Leave the vision tower out and start from the golden's own features.
    #[arg(long)]
    from_vision: bool,
    /// Print a JSON array instead of tables.
    #[arg(long)]
    json: bool,
}

/// Compares and prints; the exit code is 1 where a tolerance is broken.
///
/// # Errors
/// A file is missing or malformed.
pub fn run(args: &Args) -> Result<ExitCode> {
    let session = load::session(&args.model, &args.device.open()?)?;
    let mut reports = Vec::new();
    for path in &args.golden {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let golden = Golden::parse(&name, bytes)?;
        let options = VerifyOptions {
            tolerance: args.tolerance,
            from_vision: args.from_vision,
            ..VerifyOptions::default()
        };
        let report = pollster::block_on(verify(&session, &golden, &options))?;
        if !args.json {
            print(&report)?;
        }
        reports.push(report);
    }
    let ok = reports.iter().all(|report| report.ok);
    if args.json {
        terminal::print_json(&reports)?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report) -> Result<()> {
    print_line(format_args!("{}: {}", report.golden, report.prompt))?;
    let mark = |ok| if ok { "ok" } else { "FAIL" };
    for stage in &report.stages {
        print_line(format_args!(
            "  {:28} max |d| {:9.2e}  relative {:9.2e}  {:8.2} s  {}",
            stage.name,
            stage.max_absolute,
            stage.relative,
            stage.milliseconds / 1e3,
            mark(stage.ok)
        ))?;
    }
    for ids in &report.ids {
        let (equal, count) = (if ids.ok { "equal" } else { "different" }, ids.expected.len());
        print_line(format_args!("  {:28} {count} ids {equal}  {}", ids.name, mark(ids.ok)))?;
        if !ids.ok {
            let (expected, found) = (&ids.expected, &ids.found);
            print_line(format_args!("    expected {expected:?}\n    found    {found:?}"))?;
        }
    }
    Ok(())
}
