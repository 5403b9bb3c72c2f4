//! `cargo xtask audit`: what the project is built from: licences, sources and known advisories.
//!
//! `cargo-deny` is made once, from the registry, in `.cache/tools`, unless one of this version is
//! installed. Advisories are looked up where their databases can be had; where not, that is said.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::steps::Steps;
use crate::tools;

/// Of cargo-deny; `deny.toml` is written for it.
const VERSION: &str = "0.20.2";

#[derive(clap::Args)]
pub struct Args {
    /// Without the advisories, whose databases come from the network
    #[arg(long)]
    offline: bool,
}

/// Runs all checks; one that fails does not keep the next from running.
pub fn run(args: &Args) -> Result<()> {
    let mut steps = Steps::default();
    steps.run("licences, bans and sources of the crates", licences);
    steps.run("sources of the npm packages", npm_sources);
    if !args.offline {
        steps.run("advisories of the crates", crate_advisories);
        steps.run("advisories of the npm packages", npm_advisories);
    }
    steps.print();
    match steps.failed() {
        0 => Ok(()),
        failed => bail!("{failed} of the steps failed"),
    }
}

/// `cargo deny check licenses bans sources`: it needs no network.
pub fn licences() -> Result<()> {
    let mut deny = tools::command(cargo_deny()?);
    tools::run(
        deny.args(["--locked", "check", "--hide-inclusion-graph"])
            .args(["licenses", "bans", "sources"]),
    )
}

/// Every npm package comes from the registry and has a hash.
pub fn npm_sources() -> Result<()> {
    let lock = std::fs::read(tools::root().join("package-lock.json"))?;
    let lock: serde_json::Value = serde_json::from_slice(&lock)?;
    let packages = lock["packages"].as_object().into_iter().flatten();
    let mut count = 0;
    for (name, package) in packages.filter(|(name, _)| !name.is_empty()) {
        let registry = match package["resolved"].as_str() {
            // Some registries' locks leave the address out: then it is the default one.
            None => true,
            Some(from) => from.starts_with("https://registry.npmjs.org/"),
        };
        let hash = package["integrity"].as_str().unwrap_or_default();
        if !registry || !hash.starts_with("sha512-") {
            bail!("package-lock.json: {name} is not from the registry, or has no hash");
        }
        count += 1;
    }
    println!("{count} packages, each from the registry and with its hash");
    Ok(())
}

fn crate_advisories() -> Result<()> {
    let program = cargo_deny()?;
    let fetched = tools::command(&program).args(["--locked", "fetch", "db"]).output()?;
    if !fetched.status.success() {
        println!("skipped: the database of advisories cannot be fetched from here");
        return Ok(());
    }
    let mut deny = tools::command(program);
    tools::run(deny.args(["--locked", "check", "--disable-fetch", "advisories"]))
}

fn npm_advisories() -> Result<()> {
    let output = tools::npm().args(["audit", "--json"]).output()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let found = &report["metadata"]["vulnerabilities"]["total"];
    match found.as_u64() {
        None => println!("skipped: the registry does not answer about advisories from here"),
        Some(0) => println!("none"),
        Some(count) => bail!("{count} advisories: `npm audit` tells which"),
    }
    Ok(())
}

/// The program, which is made where there is none.
fn cargo_deny() -> Result<PathBuf> {
    let root = tools::root().join(".cache/tools");
    let own = root.join("bin").join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    for program in [PathBuf::from("cargo-deny"), own.clone()] {
        let version = tools::command(&program).arg("--version").output();
        if version.is_ok_and(|found| {
            String::from_utf8_lossy(&found.stdout).trim().ends_with(&format!(" {VERSION}"))
        }) {
            return Ok(program);
        }
    }
    println!("Making cargo-deny {VERSION} once; that takes some minutes.");
    let mut install = tools::cargo();
    // Unoptimised, for it is made once and runs for a second.
    install.args(["install", "cargo-deny", "--version", VERSION, "--locked", "--debug", "--root"]);
    tools::run(install.arg(&root))?;
    Ok(own)
}
