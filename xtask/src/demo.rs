//! `cargo xtask demo`: builds the page and serves it, and the example of examples/embed under
//! `/embed/`; with `--check`, asks one question headless.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::{build, tools};

#[derive(clap::Args)]
pub struct Args {
    /// A shard set: a folder made by `instructblip convert`, or the address of one
    #[arg(long, value_name = "FOLDER|URL")]
    model: Option<String>,
    /// The port to serve on
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Do not open a browser
    #[arg(long)]
    no_open: bool,
    /// Ask one question in a headless browser, print the answer and its speed, and exit
    #[arg(long)]
    check: bool,
}

pub fn run(args: &Args) -> Result<()> {
    tools::npm_file("binaryen")?;
    let model = args.model.as_deref().map(Model::parse).transpose()?;
    if model.is_none() && !tools::root().join("www/pocket/config.json").exists() {
        bail!("www/pocket has no model. Give one with --model.");
    }
    build::run(&build::Args::default())?;
    if args.check {
        return check(model.as_ref());
    }
    serve(args, model.as_ref())
}

/// What `--model` names.
enum Model {
    Folder(String),
    Url(String),
}

impl Model {
    fn parse(given: &str) -> Result<Self> {
        if given.starts_with("http://") || given.starts_with("https://") {
            return Ok(Self::Url(given.to_owned()));
        }
        let folder = std::path::absolute(given)?;
        if !folder.join("model.safetensors.index.json").exists() {
            bail!(
                "{given} is not a shard set. Make one: cargo run -- convert CHECKPOINT {given} --quant q4"
            );
        }
        Ok(Self::Folder(folder.display().to_string()))
    }

    /// The arguments for the server, and the page's query.
    fn serving(&self) -> (Vec<String>, String) {
        match self {
            // The page's own policy allows https alone.
            Self::Url(url) => {
                let allow = url.starts_with("http://").then(|| ["--allow".into(), url.clone()]);
                (allow.into_iter().flatten().collect(), format!("?model={}", encode(url)))
            }
            Self::Folder(folder) => {
                let name = Path::new(folder).file_name().unwrap_or_default();
                let at = format!("/models/{}", name.to_string_lossy());
                let query = format!("?model={}", encode(&format!(".{at}/")));
                (vec!["--mount".into(), format!("{at}={folder}")], query)
            }
        }
    }
}

fn check(model: Option<&Model>) -> Result<()> {
    if tools::chromium().is_none() {
        bail!(
            "No Chromium was found. Run `cargo xtask setup`, or set CHROMIUM to the path of its program."
        );
    }
    let mut node = tools::node()?;
    node.arg("tests/browser/ask_once.mjs");
    match model {
        Some(Model::Folder(folder)) => node.args(["--model", folder]),
        Some(Model::Url(url)) => node.args(["--model", url]),
        None => &mut node,
    };
    tools::run(&mut node)
}

fn serve(args: &Args, model: Option<&Model>) -> Result<()> {
    let (mounts, query) = model.map(Model::serving).unwrap_or_default();
    let mut node = tools::node()?;
    node.args(["tools/serve.mjs", "--child", "--mount", "/embed=examples/embed"])
        .args(["--port", &args.port.to_string()])
        .args(mounts)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut server = node.spawn().context("could not start the server")?;
    let mut url = String::new();
    if let Some(stdout) = server.stdout.take() {
        BufReader::new(stdout).read_line(&mut url)?;
    }
    if url.is_empty() {
        server.wait()?;
        bail!("The server did not start. Is port {} taken? Choose another with --port.", args.port);
    }
    let url = format!("{}{query}", url.trim());
    println!("\n{url}\nCtrl-C ends it.");
    if !args.no_open {
        open(&url);
    }
    // Holds the pipe to its input open until here.
    let _input = server.stdin.take();
    server.wait()?;
    Ok(())
}

/// Opens the visitor's browser, if this machine has a way to.
fn open(url: &str) {
    let mut command = if cfg!(target_os = "macos") {
        tools::command("open")
    } else if cfg!(windows) {
        tools::command("explorer")
    } else {
        tools::command("xdg-open")
    };
    command.arg(url).stdout(Stdio::null()).stderr(Stdio::null());
    // Without it the address is on the screen.
    let _ = command.spawn();
}

/// Percent-encodes a query value.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_address_is_encoded_for_a_query() {
        assert_eq!(encode("http://a/b?c=d&é"), "http%3A//a/b%3Fc%3Dd%26%C3%A9");
    }

    #[test]
    fn an_http_address_is_allowed_besides_https() {
        let serving = |url: &str| Model::Url(url.into()).serving().0;
        assert_eq!(serving("http://localhost:9000/a/"), ["--allow", "http://localhost:9000/a/"]);
        assert!(serving("https://example.org/a/").is_empty());
    }

    #[test]
    fn a_folder_is_mounted_under_its_name() {
        let model = Model::Folder("/data/flan-q4".into());
        let (mounts, query) = model.serving();
        assert_eq!(mounts, ["--mount", "/models/flan-q4=/data/flan-q4"]);
        assert_eq!(query, "?model=./models/flan-q4/");
    }
}
