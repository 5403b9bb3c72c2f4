//! `cargo xtask bench`: how long every stage and every token takes, over what this GPU could do.
//!
//! Runs `instructblip bench` natively, or with `--browser` the same code in headless Chromium,
//! over shard sets of several sizes. The pocket model lies in `www`; the others are random and
//! are made once, in `target/bench`. The product's code measures and prints; see src/bench.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{build, tools};

#[derive(clap::Args)]
pub struct Args {
    /// In headless Chromium, not natively
    #[arg(long)]
    browser: bool,
    /// pocket, mini, full (4 billion random parameters: 11 GB of disk while it is made, 2.4 GB
    /// after), or the folder of a shard set; may be given several times
    #[arg(long = "size", value_name = "SIZE|FOLDER", default_values = ["pocket", "mini"])]
    sizes: Vec<String>,
    /// Write the reports to this file, a JSON array
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Use the software GPU, whatever there is
    #[arg(long)]
    software: bool,
    /// Build natively with the release profile, not the one of the tests
    #[arg(long)]
    release: bool,
    /// Runs of every stage that count; fewer where a stage takes long [default: 5]
    #[arg(long, value_name = "N")]
    iterations: Option<usize>,
    /// Tokens to decode in each run [default: 32]
    #[arg(long, value_name = "N")]
    tokens: Option<usize>,
    /// What to ask: its length decides how much the encoder reads
    #[arg(long, value_name = "TEXT")]
    question: Option<String>,
    /// Leave the vision tower out, for which software GPUs take minutes at full size
    #[arg(long)]
    no_vision: bool,
    /// Leave out the products alone
    #[arg(long)]
    no_kernels: bool,
}

pub fn run(args: &Args) -> Result<()> {
    for size in &args.sizes {
        let known = ["pocket", "mini", "full"].contains(&size.as_str());
        if !known && !Path::new(size).join("config.json").exists() {
            bail!("{size} is neither pocket, mini, full nor the folder of a shard set");
        }
    }
    if args.browser {
        if tools::chromium().is_none() {
            bail!("No Chromium was found. Run `cargo xtask setup`, or measure without --browser.");
        }
        build::run(&build::Args::default())?;
    }
    let profile: &[&str] = if args.release { &["--release"] } else { &[] };
    let mut cargo = tools::cargo();
    cargo.args(["build", "--locked", "--package", "instructblip-web"]).args(profile);
    tools::run(&mut cargo)?;
    let program = tools::root()
        .join("target")
        .join(if args.release { "release" } else { "debug" })
        .join("instructblip");
    let work = tools::root().join("target/bench");
    fs::create_dir_all(&work)?;

    let sets: Vec<PathBuf> =
        args.sizes.iter().map(|size| set(&program, &work, size)).collect::<Result<_>>()?;
    let mut reports = Vec::new();
    for set in sets {
        println!("\nmeasuring {}", set.display());
        let file = work.join("report.json");
        match args.browser {
            true => in_browser(args, &set, &file)?,
            false => natively(args, &program, &set, &file)?,
        }
        tools::run(tools::command(&program).arg("bench").arg(&file).arg("--show"))?;
        let text = fs::read_to_string(&file)?;
        reports.push(serde_json::from_str::<Value>(&text).context("no report came")?);
        fs::remove_file(&file)?;
    }
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&reports)?;
        fs::write(path, json).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn natively(args: &Args, program: &Path, set: &Path, report: &Path) -> Result<()> {
    let mut bench = tools::command(program);
    bench.arg("bench").arg(set).arg("--json").arg(report);
    args.pass_on(&mut bench);
    if args.software {
        let driver = tools::lavapipe();
        let driver = driver.context("no software Vulkan driver; run `cargo xtask setup`")?;
        bench.env("VK_DRIVER_FILES", driver);
    }
    // Its tables are printed from the report.
    tools::run(bench.stdout(Stdio::null()))
}

fn in_browser(args: &Args, set: &Path, report: &Path) -> Result<()> {
    let mut bench = tools::node()?;
    bench.arg("tests/browser/bench_set.mjs").arg(set);
    args.pass_on(&mut bench);
    if args.software {
        bench.arg("--software");
    }
    bench.env_remove("VK_DRIVER_FILES").stdout(fs::File::create(report)?);
    tools::run(&mut bench)
}

impl Args {
    fn pass_on(&self, bench: &mut Command) {
        if let Some(iterations) = self.iterations {
            bench.arg("--iterations").arg(iterations.to_string());
        }
        if let Some(tokens) = self.tokens {
            bench.arg("--tokens").arg(tokens.to_string());
        }
        if let Some(question) = &self.question {
            bench.arg("--question").arg(question);
        }
        if self.no_vision {
            bench.arg("--no-vision");
        }
        if self.no_kernels {
            bench.arg("--no-kernels");
        }
    }
}

/// The folder of a shard set, made where it is not there yet.
fn set(program: &Path, work: &Path, size: &str) -> Result<PathBuf> {
    let name = match size {
        "pocket" => return Ok(tools::root().join("www/pocket")),
        "mini" => "mini",
        "full" => "flan-t5-xl",
        folder => return Ok(std::path::absolute(folder)?),
    };
    let set = work.join(size);
    // Written last by `convert`, so it tells that the set is whole.
    if set.join("model.safetensors.index.json").exists() {
        return Ok(set);
    }
    let checkpoint = work.join(format!("{size}-checkpoint"));
    let mut synth = tools::command(program);
    synth.arg("synth").arg(&checkpoint).args(["--size", name, "--seed", "1", "--force"]);
    tools::run(synth.args(["--tokenizers", "www/pocket"]))?;
    let mut convert = tools::command(program);
    tools::run(convert.arg("convert").arg(&checkpoint).arg(&set).args(["--quant", "q4"]))?;
    fs::remove_dir_all(&checkpoint)?;
    Ok(set)
}
