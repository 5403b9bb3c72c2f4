//! `cargo xtask test`: everything that needs nothing outside the repository.
//!
//! Native tests run on Mesa's software Vulkan driver where it is installed, else on the machine's
//! GPU. The browser tests drive headless Chromium on its own software GPU. Where
//! `INSTRUCTBLIP_ORACLE` names the folder of the larger oracle, both use it too. The last line is
//! `N passed, N failed, N skipped`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::steps::Steps;
use crate::{build, tools};

#[derive(clap::Args)]
pub struct Args {
    /// Only the native tests
    #[arg(long, conflicts_with = "browser")]
    native: bool,
    /// Only the browser tests
    #[arg(long)]
    browser: bool,
}

/// How many tests ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

pub fn run(args: &Args) -> Result<()> {
    tools::npm_file("playwright-core")?;
    let mut steps = Steps::default();
    let mut counts = Vec::new();
    if !args.browser {
        counts.push(steps.run("native tests", native));
    }
    if !args.native {
        let built = steps.run("build of the page", || build::run(&build::Args::default()));
        counts.push(built.and_then(|()| steps.run("browser tests", browser)));
    }
    steps.print();
    let mut sum = Counts::default();
    for count in counts.into_iter().flatten() {
        sum.add(count);
    }
    // A step that could not be run at all counts as one failure.
    sum.failed += steps.failed();
    println!("\n{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    if sum.failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

fn native() -> Result<Counts> {
    let mut counts = Counts::default();
    for package in tools::PACKAGES {
        counts.add(native_package(package)?);
    }
    Ok(counts)
}

fn native_package(package: &str) -> Result<Counts> {
    let mut cargo = tools::cargo();
    cargo.args(["test", "--locked", "--no-fail-fast", "--package", package]);
    // Tests that need the larger oracle are marked ignored, and counted as skipped without it.
    if std::env::var_os("INSTRUCTBLIP_ORACLE").is_some() {
        cargo.args(["--", "--include-ignored"]);
    }
    tools::without_desktop(&mut cargo);
    match tools::lavapipe() {
        Some(driver) if std::env::var_os("VK_DRIVER_FILES").is_none() => {
            println!("Vulkan driver: {}", driver.display());
            cargo.env("VK_DRIVER_FILES", driver);
        }
        Some(_) => {}
        None => println!("No software Vulkan driver; the tests use this machine's GPU."),
    }
    let (lines, success) = tee(&mut cargo)?;
    let mut counts = Counts::default();
    for line in &lines {
        if let Some(counted) = cargo_counts(line) {
            counts.add(counted);
        }
    }
    if !success && counts.failed == 0 {
        bail!("`cargo test` failed before its tests ran");
    }
    Ok(counts)
}

fn browser() -> Result<Counts> {
    if tools::chromium().is_none() {
        bail!(
            "No Chromium was found. Run `cargo xtask setup`, or set CHROMIUM to the path of its program."
        );
    }
    let tap = tools::root().join("target/browser-tests.tap");
    fs::create_dir_all(tools::root().join("target"))?;
    let mut node = tools::node()?;
    // Two files at a time: while one waits for its server or its page, the other compiles.
    node.args(["--test", "--test-concurrency=2"])
        .args(["--test-reporter=spec", "--test-reporter-destination=stdout"])
        .arg("--test-reporter=tap")
        .arg(format!("--test-reporter-destination={}", tap.display()))
        .args(tests()?)
        .env_remove("VK_DRIVER_FILES");
    let status = node.status().context("could not start node")?;
    let counts = tap_counts(&fs::read_to_string(&tap)?);
    if !status.success() && counts.failed == 0 {
        bail!("the browser tests failed before they ran");
    }
    Ok(counts)
}

/// The files of browser tests.
fn tests() -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(tools::root().join("tests/browser"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".test.mjs") {
            files.push(format!("tests/browser/{name}"));
        }
    }
    files.sort();
    Ok(files)
}

/// Runs a command, showing its output while collecting it.
fn tee(command: &mut Command) -> Result<(Vec<String>, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            lines.push(line);
        }
    }
    Ok((lines, child.wait()?.success()))
}

/// The counts of a line such as `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
fn cargo_counts(line: &str) -> Option<Counts> {
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        rest.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok()).unwrap_or(0)
    };
    Some(Counts { passed: count("passed"), failed: count("failed"), skipped: count("ignored") })
}

/// The counts at the end of node's TAP report.
fn tap_counts(report: &str) -> Counts {
    let count = |what: &str| {
        report
            .lines()
            .filter_map(|line| {
                line.strip_prefix("# ")?.strip_prefix(what)?.trim().parse::<usize>().ok()
            })
            .next_back()
            .unwrap_or(0)
    };
    Counts {
        passed: count("pass "),
        failed: count("fail ") + count("cancelled "),
        skipped: count("skipped ") + count("todo "),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn counts_are_read_from_both_reports() {
        let line =
            "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out";
        let expected = Counts { passed: 12, failed: 2, skipped: 1 };
        assert_eq!(cargo_counts(line), Some(expected));
        let report =
            "ok 1 - a\n# tests 15\n# pass 12\n# fail 1\n# cancelled 1\n# skipped 1\n# todo 0\n";
        assert_eq!(tap_counts(report), expected);
        assert_eq!(cargo_counts("running 3 tests"), None);
    }
}
