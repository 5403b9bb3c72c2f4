//! `cargo xtask peer`: the same random model in this project's engine and in ONNX Runtime, in turns.
//!
//! synth → convert → export → golden → ONNX graphs with the same weights; then both engines in one
//! headless Chromium on one adapter, and natively (ONNX Runtime on the CPU). A ratio is the peer's
//! time over ours, above 1 where ours is faster; docs/peer.md says what is measured and why so.

mod model;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{build, tools};
use model::{IMAGE, Made, PROMPT, ids_of};
use report::{Report, Run, Runs, run_of};

/// The name of this project's engine among the samples.
const ENGINE: &str = "engine";

#[derive(clap::Args)]
pub struct Args {
    /// tiny, mini, or the config.json of another model; may be given several times
    #[arg(long = "size", value_name = "SIZE|FILE", default_values = ["tiny", "mini"])]
    sizes: Vec<String>,
    /// Runs of each engine that count; one before them does not
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: u32,
    /// Tokens of the answer
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=128))]
    tokens: u32,
    /// Write all samples and ratios to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only natively
    #[arg(long, conflicts_with = "browser")]
    native: bool,
    /// Only in headless Chromium
    #[arg(long)]
    browser: bool,
    /// On this machine's GPU, not on software ones
    #[arg(long)]
    hardware: bool,
    /// A Python with the packages of tools/peer/requirements.txt
    #[arg(long, env = "INSTRUCTBLIP_PYTHON", value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    model::require_packages(&args.python)?;
    if !args.native {
        tools::npm_file("onnxruntime-web/package.json")?;
        if tools::chromium().is_none() {
            bail!("No Chromium was found. Run `cargo xtask setup`, or give --native.");
        }
        build::run(&build::Args::default())?;
    }
    tools::run(tools::cargo().args(["build", "--locked", "--package", "instructblip-web"]))?;
    let program = tools::root().join("target/debug/instructblip");
    let mut reports = Vec::new();
    for size in &args.sizes {
        let made = Made::new(&program, &args.python, size, args.tokens)?;
        if !args.native {
            reports.push(in_browser(args, &made)?);
        }
        if !args.browser {
            reports.push(natively(args, &program, &made)?);
        }
    }
    for report in &reports {
        println!("\n{report}");
    }
    if let Some(path) = &args.json {
        let all: Vec<Value> = reports.iter().map(Report::json).collect();
        let text = serde_json::to_string_pretty(&all)?;
        fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// What a program of tools/peer prints: where it ran, and the runs of each engine or format, all of
/// which must have given the right answer.
fn samples(command: &mut Command, made: &Made) -> Result<(String, Vec<Runs>)> {
    let output: Value = serde_json::from_str(&captured(command)?).context("no samples came")?;
    let mut all = Vec::new();
    for (name, samples) in output["samples"].as_object().context("no samples came")? {
        let run = |sample: &Value| {
            made.require_right(name, &ids_of(&sample["ids"])?)?;
            run_of(sample).with_context(|| format!("{sample} has no times"))
        };
        let samples = samples.as_array().context("no samples came")?;
        let runs = samples.iter().map(run).collect::<Result<_>>()?;
        all.push(Runs { name: name.clone(), runs });
    }
    let machine = output["machine"].as_str().unwrap_or("an unknown machine");
    Ok((machine.to_owned(), all))
}

/// Runs a program that must succeed and takes its standard output; the rest is seen.
fn captured(command: &mut Command) -> Result<String> {
    let name = tools::describe(command);
    println!("{name}");
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("could not start `{name}`"))?;
    if !output.status.success() {
        bail!("`{name}` failed ({})", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn in_browser(args: &Args, made: &Made) -> Result<Report> {
    let mut node = tools::node()?;
    node.arg("tools/peer/browser.mjs").args([&made.set, &made.graphs]).arg(IMAGE);
    node.arg("--repetitions").arg(args.repetitions.to_string());
    if args.hardware {
        node.arg("--hardware");
    }
    let (machine, mut peer) = samples(node.env_remove("VK_DRIVER_FILES"), made)?;
    let engine =
        peer.iter().position(|runs| runs.name == ENGINE).context("no runs of the engine")?;
    let engine = peer.remove(engine);
    Ok(Report { model: made.name.clone(), machine, engine, peer })
}

/// Both programs in turns, each of which warms up by itself.
fn natively(args: &Args, program: &Path, made: &Made) -> Result<Report> {
    let native = Native { args, program, made };
    made.require_right(ENGINE, &native.ids()?)?;
    let mut engine = Runs { name: ENGINE.into(), runs: Vec::new() };
    let mut peer: Vec<Runs> = Vec::new();
    let mut machines = (String::new(), String::new());
    for _ in 0..args.repetitions {
        let (adapter, run) = native.engine()?;
        engine.runs.push(run);
        let mut python = tools::command(&args.python);
        python.arg("tools/peer/native.py").arg(&made.graphs);
        let (machine, runs) = samples(&mut python, made)?;
        for (at, more) in runs.into_iter().enumerate() {
            match peer.get_mut(at) {
                Some(known) => known.runs.extend(more.runs),
                None => peer.push(more),
            }
        }
        machines = (adapter, machine);
    }
    let machine = format!("the engine on {}, {}", machines.0, machines.1);
    Ok(Report { model: made.name.clone(), machine, engine, peer })
}

/// This project's engine without a browser.
struct Native<'a> {
    args: &'a Args,
    program: &'a Path,
    made: &'a Made,
}

impl Native<'_> {
    fn command(&self) -> Command {
        let mut command = tools::command(self.program);
        if let (false, Some(driver)) = (self.args.hardware, tools::lavapipe()) {
            command.env("VK_DRIVER_FILES", driver);
        }
        command
    }

    fn ids(&self) -> Result<Vec<u64>> {
        let mut ask = self.command();
        ask.args(["ask", "--json", "--num-beams", "1", "--image", IMAGE, PROMPT, "--model"]);
        ask.arg(&self.made.set);
        ask.arg("--max-new-tokens").arg(self.args.tokens.to_string());
        let said: Value = serde_json::from_str(&captured(&mut ask)?)?;
        ids_of(&said["answer"]["ids"])
    }

    /// The adapter's name, and the milliseconds of one warm run.
    fn engine(&self) -> Result<(String, Run)> {
        let report = self.made.set.with_file_name("bench.json");
        let mut bench = self.command();
        bench.arg("bench").arg(&self.made.set).args(["--no-kernels", "--iterations", "1"]);
        bench.arg("--tokens").arg(self.args.tokens.to_string());
        captured(bench.args(["--question", PROMPT, "--json"]).arg(&report))?;
        let report: Value = serde_json::from_slice(&fs::read(&report)?)?;
        let median = |row: &Value| row["milliseconds"]["median"].as_f64();
        let stages = report["stages"].as_array().context("a report without stages")?;
        let sum = |names: &[&str]| {
            let found = names.iter().map(|name| {
                let row = stages.iter().find(|row| row["name"] == *name);
                row.and_then(median).with_context(|| format!("no time of the stage {name}"))
            });
            found.sum::<Result<f64>>()
        };
        let adapter = report["machine"]["adapter"].as_str().unwrap_or("an unknown adapter");
        let run = [
            sum(&["vision"])?,
            sum(&["bridge", "prefill"])?,
            median(&report["token"]).context("no time of a token")?,
        ];
        Ok((adapter.to_owned(), run))
    }
}
