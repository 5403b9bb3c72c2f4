//! `cargo xtask e2e`: a random checkpoint through every step a real one takes.
//!
//! synth → convert → compared with the specification natively and in headless Chromium, with a
//! table of times, peak memories and errors at the end. `--full` does it at the size of
//! InstructBLIP-FlanT5-XL, which needs 28 GB of disk and about an hour on two cores.

mod measure;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{build, tools};
use measure::{Measured, Rows};

/// Allowed relative error of a stage against the specification on the same quantised weights.
const TOLERANCE: &str = "1e-3";
const IMAGE: &str = "www/examples/shapes.png";
const PROMPT: &str = "What is in the picture?";

#[derive(clap::Args)]
pub struct Args {
    /// The size of InstructBLIP-FlanT5-XL, 4 billion parameters; without it a small model of the same shape
    #[arg(long)]
    full: bool,
    /// Use this Hugging Face checkpoint, not a random one
    #[arg(long, value_name = "FOLDER", conflicts_with = "full")]
    model: Option<PathBuf>,
    /// Format of the matrices
    #[arg(long, default_value = "q4")]
    quant: String,
    /// Where the checkpoints are written; emptied first, removed at the end
    #[arg(long, value_name = "FOLDER", default_value = "target/e2e")]
    work: PathBuf,
    /// Keep the shard set and the golden
    #[arg(long)]
    keep: bool,
    /// A golden of an earlier run with --keep: saves exporting and computing it again
    #[arg(long, value_name = "FILE")]
    golden: Option<PathBuf>,
    /// A Python with torch, transformers and safetensors
    #[arg(long, env = "INSTRUCTBLIP_PYTHON", value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// The folder of the oracle, with spec/forward.py; without it nothing is compared
    #[arg(long, env = "INSTRUCTBLIP_ORACLE", value_name = "FOLDER")]
    oracle: Option<PathBuf>,
    /// Seconds that the vision tower may take in Chromium, on whose software GPU it is slow; 0 to leave it out
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    vision_limit: u32,
    /// Only the native part
    #[arg(long)]
    native: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if !args.native {
        if tools::chromium().is_none() {
            bail!("No Chromium was found. Run `cargo xtask setup`, or give --native.");
        }
        build::run(&build::Args::default())?;
    }
    tools::run(tools::cargo().args(["build", "--locked", "--package", "instructblip-web"]))?;
    let run = Run { args, work: Work::create(args)?, rows: Rows::default() };
    run.all()
}

struct Run<'a> {
    args: &'a Args,
    work: Work,
    rows: Rows,
}

impl Run<'_> {
    fn all(mut self) -> Result<()> {
        let set = self.work.path("set");
        let checkpoint = self.checkpoint()?;
        let copy = self.work.path("copy");
        let copied = self.rows.step("copy the checkpoint (cp)", || {
            measure::run(tools::command("cp").arg("-r").arg(&checkpoint).arg(&copy))
        })?;
        fs::remove_dir_all(&copy)?;
        let mut convert = self.instructblip(&["convert"], &[&checkpoint, &set]);
        convert.args(["--quant", &self.args.quant]);
        let converted = self.rows.step("convert", || measure::run(&mut convert))?;
        let source = size_of(&checkpoint)?;
        self.rows.note(format!(
            "{:.0} MB/s read, {:.2} x the time of cp, {:.2} GB written",
            source as f64 / 1e6 / converted.seconds,
            converted.seconds / copied.seconds,
            size_of(&set)? as f64 / 1e9,
        ));
        if self.args.model.is_none() {
            fs::remove_dir_all(&checkpoint)?;
        }
        tools::run(&mut self.instructblip(&["inspect"], &[&set]))?;
        let golden = match &self.args.golden {
            Some(golden) => Some(golden.clone()),
            None => self.golden(&set)?,
        };
        if let Some(golden) = &golden {
            self.verify_native(&set, golden)?;
        }
        if !self.args.native {
            self.load_in_browser(&set)?;
            if let Some(golden) = &golden {
                self.verify_in_browser(&set, golden)?;
            }
        }
        self.rows.print();
        if self.args.keep {
            println!("\nkept in {}", self.work.folder.display());
        }
        if self.rows.failed() {
            bail!("a comparison failed");
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<PathBuf> {
        if let Some(model) = &self.args.model {
            return Ok(std::path::absolute(model)?);
        }
        let out = self.work.path("checkpoint");
        let mut synth = self.instructblip(&["synth"], &[&out]);
        synth.args(["--seed", "1", "--tokenizers", "www/pocket"]);
        synth.args(["--size", if self.args.full { "flan-t5-xl" } else { "mini" }]);
        self.rows.step("synth, f16", || measure::run(&mut synth))?;
        self.rows.note(format!("{:.2} GB", size_of(&out)? as f64 / 1e9));
        Ok(out)
    }

    /// What the specification says of the set's own, quantised weights.
    fn golden(&mut self, set: &Path) -> Result<Option<PathBuf>> {
        let Some(oracle) = &self.args.oracle else {
            self.rows.skip("compare with the specification", "INSTRUCTBLIP_ORACLE is not set");
            return Ok(None);
        };
        let (plain, golden) = (self.work.path("plain"), self.work.path("golden.safetensors"));
        let mut export = self.instructblip(&["export"], &[set, &plain]);
        self.rows.step("export, f32", || measure::run(&mut export))?;
        let mut python = tools::command(&self.args.python);
        python.arg("tools/make_large_golden.py").args([&plain, &golden]);
        python.arg("--spec").arg(oracle.join("spec"));
        python.args(["--image", IMAGE, "--prompt", PROMPT]);
        self.rows.step("specification (plain torch)", || measure::run(&mut python))?;
        fs::remove_dir_all(&plain)?;
        Ok(Some(golden))
    }

    fn verify_native(&mut self, set: &Path, golden: &Path) -> Result<()> {
        let mut verify = self.instructblip(&["verify", "--json", "--tolerance", TOLERANCE], &[]);
        verify.args([set, golden]);
        if let (Some(driver), None) = (tools::lavapipe(), std::env::var_os("VK_DRIVER_FILES")) {
            verify.env("VK_DRIVER_FILES", driver);
        }
        let measured = self.rows.step("verify natively", || measure::capture(&mut verify))?;
        self.report(&measured, |json| json.get(0))
    }

    fn load_in_browser(&mut self, set: &Path) -> Result<()> {
        let mut load = tools::node()?;
        load.arg("tests/browser/load_full.mjs").arg(set).env_remove("VK_DRIVER_FILES");
        let measured = self.rows.step("load in Chromium", || measure::capture(&mut load))?;
        println!("{}", measured.output);
        self.rows.note("see the figures above".into());
        Ok(())
    }

    fn verify_in_browser(&mut self, set: &Path, golden: &Path) -> Result<()> {
        let mut verify = tools::node()?;
        verify.arg("tests/browser/verify_set.mjs").args([set, golden]);
        verify.args(["--tolerance", TOLERANCE]);
        verify.args(["--vision-limit", &self.args.vision_limit.to_string()]);
        verify.env_remove("VK_DRIVER_FILES");
        let measured = self.rows.step("verify in Chromium", || measure::capture(&mut verify))?;
        self.report(&measured, |json| Some(json))
    }

    /// Adds a row for each stage and list of ids of a report.
    fn report(
        &mut self,
        measured: &Measured,
        pick: impl Fn(&Value) -> Option<&Value>,
    ) -> Result<()> {
        let json: Value = serde_json::from_str(&measured.output)
            .with_context(|| format!("no report came: {}", measured.output))?;
        let report = pick(&json).context("an empty report")?;
        if let Some(unfinished) = report["unfinished"].as_str() {
            self.rows.note(unfinished.to_owned());
        }
        for (list, figure) in [("stages", "relative"), ("ids", "found")] {
            for row in report[list].as_array().into_iter().flatten() {
                let name = row["name"].as_str().unwrap_or_default();
                let seconds = row["milliseconds"].as_f64().unwrap_or_default() / 1e3;
                let figure = match row[figure].as_f64() {
                    Some(relative) => format!("relative error {relative:.1e}"),
                    None => format!("{} against {}", row["found"], row["expected"]),
                };
                self.rows.result(name, seconds, figure, row["ok"] == true);
            }
        }
        Ok(())
    }

    fn instructblip(&self, words: &[&str], paths: &[&Path]) -> Command {
        let mut command = tools::command(tools::root().join("target/debug/instructblip"));
        command.args(words).args(paths);
        command
    }
}

/// The folder of everything this run writes; removed when dropped.
struct Work {
    folder: PathBuf,
    keep: bool,
}

impl Work {
    fn create(args: &Args) -> Result<Self> {
        let folder = tools::root().join(&args.work);
        // Only what a run of this command left is removed.
        for name in ["checkpoint", "copy", "plain", "set"] {
            if folder.join(name).exists() {
                fs::remove_dir_all(folder.join(name))?;
            }
        }
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, keep: args.keep })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let kept: &[&str] = if self.keep { &["set", "golden.safetensors"] } else { &[] };
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if kept.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let path = entry.path();
            // What cannot be removed is the reader's to see.
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Bytes of the files in a folder.
fn size_of(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let data = entry?.metadata()?;
        sum += if data.is_file() { data.len() } else { 0 };
    }
    Ok(sum)
}
