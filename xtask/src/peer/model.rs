//! The model under comparison: one random checkpoint, as a shard set for us and as ONNX graphs for the peer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::tools;

pub const IMAGE: &str = "www/examples/shapes.png";
pub const PROMPT: &str = "What is in the picture?";

/// What must be importable; pip's names are in tools/peer/requirements.txt.
const IMPORTS: &str = "import numpy, onnx, onnxruntime, PIL, safetensors, torch, transformers";

/// # Errors
/// The Python is absent or lacks a package: says what to install.
pub fn require_packages(python: &Path) -> Result<()> {
    let name = python.display();
    let hint = "Install them: python3 -m pip install -r tools/peer/requirements.txt. \
        Another Python is chosen with --python or INSTRUCTBLIP_PYTHON.";
    let mut command = tools::command(python);
    let output = command.args(["-c", IMPORTS]).output();
    let output = output.with_context(|| format!("{name} could not be started. {hint}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let reason = said.lines().last().unwrap_or_default();
        bail!("{name} lacks packages ({reason}). {hint}");
    }
    Ok(())
}

/// A model in both forms, under target/peer.
pub struct Made {
    pub name: String,
    /// The shard set, every matrix in 4 bits.
    pub set: PathBuf,
    /// The folder of ONNX graphs.
    pub graphs: PathBuf,
    /// The greedy answer according to transformers, on the weights of the shard set.
    pub ids: Vec<u64>,
}

impl Made {
    /// Makes it anew, in some seconds; what an earlier run left is removed.
    pub fn new(program: &Path, python: &Path, size: &str, tokens: u32) -> Result<Self> {
        let (name, shape) = match size {
            "mini" => (size, ["--size", size]),
            "tiny" => (size, ["--config", "tools/peer/tiny.json"]),
            file if Path::new(file).is_file() => (
                Path::new(file).file_stem().and_then(|stem| stem.to_str()).unwrap_or("model"),
                ["--config", file],
            ),
            _ => bail!("{size} is neither tiny, mini nor a config.json"),
        };
        println!("\n== the model {name}");
        let folder = tools::root().join("target/peer").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let at = |part: &str| folder.join(part);
        let (checkpoint, set, plain) = (at("checkpoint"), at("set"), at("plain"));
        let (golden, graphs) = (at("golden.safetensors"), at("graphs"));

        let mut synth = tools::command(program);
        synth.arg("synth").arg(&checkpoint).args(shape);
        tools::run(synth.args(["--seed", "1", "--dtype", "f32", "--tokenizers", "www/pocket"]))?;
        let mut convert = tools::command(program);
        convert.arg("convert").args([&checkpoint, &set]);
        tools::run(convert.args(["--quant", "q4", "--keep", "*=q4"]))?;
        tools::run(tools::command(program).arg("export").args([&set, &plain]))?;
        let python = |script: &str| {
            let mut command = tools::command(python);
            command.arg(script).stdout(Stdio::null());
            command
        };
        let mut record = python("tools/make_golden.py");
        record.args([&plain, &golden]).args(["--image", IMAGE, "--prompt", PROMPT]);
        tools::run(record.arg("--max-new-tokens").arg(tokens.to_string()))?;
        tools::run(python("tools/peer/export.py").args([&set, &plain, &golden, &graphs]))?;
        for folder in [checkpoint, plain] {
            fs::remove_dir_all(folder)?;
        }
        let case: Value = serde_json::from_slice(&fs::read(graphs.join("case.json"))?)?;
        let ids = ids_of(&case["greedyIds"])?;
        Ok(Self { name: name.to_owned(), set, graphs, ids })
    }

    /// # Errors
    /// These are not the ids of the right answer.
    pub fn require_right(&self, who: &str, ids: &[u64]) -> Result<()> {
        if ids != self.ids {
            bail!("{who} on {} answered {ids:?}, not {:?}", self.name, self.ids);
        }
        Ok(())
    }
}

/// A JSON list of token ids.
pub fn ids_of(list: &Value) -> Result<Vec<u64>> {
    let ids = list.as_array().and_then(|ids| ids.iter().map(Value::as_u64).collect());
    ids.with_context(|| format!("{list} is no list of token ids"))
}
