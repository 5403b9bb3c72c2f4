//! `instructblip check`: what a fresh visitor meets at a published shard set.

use std::process::ExitCode;

use instructblip_web::Result;
use instructblip_web::check::source::Source;
use instructblip_web::check::{Finding, Report, Severity, check};

use super::progress::bytes_bar;
use super::terminal;

/// Check a shard set where it was put, as a browser that has never seen it would meet it.
///
/// Reads every file of the set, whole, and compares it with the index; of a host also whether
/// pages may read it. One line a finding, worst first; nothing is kept on this machine. Ends with
/// status 1 where the set does not load.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the set's folder, or a folder on this machine.
    #[arg(value_name = "URL|FOLDER")]
    place: String,
    /// Origin of the page that is to load the set, such as `https://page.example` [default: any].
    #[arg(long)]
    origin: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Checks, with a progress bar, and prints what was found.
///
/// # Errors
/// The place is none, or the output is closed.
pub fn run(args: &Args) -> Result<ExitCode> {
    let source = Source::new(&args.place, args.origin.as_deref())?;
    let bar = bytes_bar("checking ");
    let report = check(&source, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    if args.json {
        terminal::print_json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report) -> Result<()> {
    for finding in &report.findings {
        terminal::print_line(finding)?;
    }
    let Report { files, bytes, .. } = report;
    let megabytes = *bytes as f64 / 1e6;
    let is = |severity| report.findings.iter().any(|found: &Finding| found.severity == severity);
    let verdict = match (is(Severity::Broken), is(Severity::Warning)) {
        (true, _) => "the set does not load",
        (false, true) => "the set loads, but see above",
        (false, false) => "the set loads",
    };
    terminal::print_line(format_args!("{verdict}: {files} files, {megabytes:.2} MB read"))
}
