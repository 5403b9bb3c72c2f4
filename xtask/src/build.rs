//! `cargo xtask build`: the crate as a wasm module with its JavaScript glue, in `www/dist`.
//!
//! 1. `cargo rustc --crate-type cdylib`: LTO is ignored for a library of several crate types, so
//!    the cdylib is asked for alone. Profile `web`: opt-level z and LTO, for a small
//!    download.
//! 2. wasm-bindgen, as a library.
//! 3. Functions of [`NEVER_RUN`] become traps, and what only they used falls away below.
//! 4. wasm-opt, which is part of the build and not a finish: without it a launch takes several
//!    times as long. The features are named, since `--all-features` emits what browsers reject.
//! 5. `tools/page_files.mjs`: the list of the page's files, by which an offline copy is whole.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::wasm::{Function, Module};
use crate::{sizes, tools};

/// The name of the module and of its files.
const NAME: &str = "instructblip_web";

/// Crates and modules that are linked because tables name them, and that nothing here calls
/// (`docs/size.md`). Were one of them called after all, the module would trap, which ends the
/// engine with an error; `clippy.toml` names the functions of Burn that would.
const NEVER_RUN: [&str; 8] = [
    // The text form of CubeCL's intermediate representation, which is only ever built in memory;
    // with [`PARSERS`].
    "combine::",
    "pliron::irfmt::parsers::",
    // Burn's quantised tensors, matrix products and reductions: the kernels here are its own.
    "burn_cubecl::ops::qtensor::",
    "cubecl_std::quant::",
    "cubek_matmul::",
    "cubek_quant::",
    "cubek_reduce::",
    "cubek_tile::",
];
const PARSERS: [&str; 2] =
    [" as pliron::parsable::Parsable>::parse", "pliron::op::canonical_syntax_parse_impl"];
/// Smaller functions stay: the compiler merges equal ones, so one may serve others too.
const SMALL_BYTES: usize = 64;

const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

#[derive(clap::Args, Default)]
pub struct Args {
    /// Optimise for size and speed (the default)
    #[arg(long, conflicts_with = "dev")]
    release: bool,
    /// Build faster: no LTO, little wasm-opt; larger and slower, for work on the page
    #[arg(long)]
    dev: bool,
    /// Print what the module is made of, by crate
    #[arg(long)]
    sizes: bool,
}

/// Builds, if anything changed, and prints the sizes.
pub fn run(args: &Args) -> Result<()> {
    let module = compile(args.dev)?;
    let dist = tools::root().join("www/dist");
    let stamp_file = module.with_extension("page-stamp");
    let stamp = stamp(&module, args.dev)?;
    let old = fs::read_to_string(&stamp_file).unwrap_or_default();
    let built = dist.join(format!("{NAME}_bg.wasm"));
    match old.strip_prefix(&stamp) {
        Some(sizes) if built.exists() => println!("www/dist is up to date: {sizes}"),
        _ => {
            bind(&module)?;
            optimise(&dist, args.dev)?;
            let sizes = sizes(&built)?;
            println!("www/dist: {sizes}");
            fs::write(&stamp_file, format!("{stamp}{sizes}"))?;
        }
    }
    // Always: any file of the page may have changed.
    tools::run(tools::node()?.arg("tools/page_files.mjs"))?;
    if args.sizes {
        let named = named();
        wasm_opt(&trimmed(), &named, &["-Oz", "--debuginfo"])?;
        print!("{}", sizes::table(&Module::parse(&fs::read(&named)?)?));
    }
    Ok(())
}

/// Where wasm-bindgen puts its output.
fn bound() -> PathBuf {
    tools::root().join("target/web/bindgen")
}

/// The module without the functions that never run, names and all.
fn trimmed() -> PathBuf {
    bound().join("trimmed.wasm")
}

/// The optimised module with the names of its functions.
fn named() -> PathBuf {
    bound().join("named.wasm")
}

/// The module as rustc leaves it.
fn compile(dev: bool) -> Result<PathBuf> {
    let target = tools::root().join("target/web");
    let mut cargo = tools::cargo();
    cargo.args(["rustc", "--locked", "--lib", "--crate-type", "cdylib"]);
    cargo.args(["--target", "wasm32-unknown-unknown", "--profile", "web"]);
    cargo.arg("--target-dir").arg(&target);
    if dev {
        cargo.args(["--config", "profile.web.lto=false"]);
        cargo.args(["--config", "profile.web.codegen-units=16"]);
    }
    tools::run(&mut cargo)?;
    Ok(target.join(format!("wasm32-unknown-unknown/web/{NAME}.wasm")))
}

/// What tells whether `www/dist` was made from this module in this way.
fn stamp(module: &Path, dev: bool) -> Result<String> {
    let metadata = fs::metadata(module).with_context(|| module.display().to_string())?;
    let time = metadata.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
    Ok(format!("{} {time} dev={dev}\n", metadata.len()))
}

fn never_runs(function: &Function) -> bool {
    let path = function.name.trim_start_matches(['<', '&']);
    function.body.len() > SMALL_BYTES
        && (NEVER_RUN.iter().any(|start| path.starts_with(start))
            || PARSERS.iter().any(|part| path.contains(part)))
}

/// wasm-bindgen, and away with what never runs.
fn bind(module: &Path) -> Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).out_name(NAME);
    bindgen.web(true)?.typescript(true).remove_producers_section(true);
    bindgen.omit_default_module_path(false);
    bindgen.generate(bound())?;
    let bytes = fs::read(bound().join(format!("{NAME}_bg.wasm")))?;
    let (rest, cut) = Module::parse(&bytes)?.without(never_runs);
    println!("{:.2} MB of code never run", cut as f64 / 1e6);
    fs::write(trimmed(), rest)?;
    Ok(())
}

fn optimise(dist: &Path, dev: bool) -> Result<()> {
    let wasm = format!("{NAME}_bg.wasm");
    let optimised = bound().join("optimised.wasm");
    // A module for work on the page keeps the names, for readable traps.
    let level: &[&str] = if dev { &["-O1", "--debuginfo"] } else { &["-Oz"] };
    wasm_opt(&trimmed(), &optimised, level)?;

    fs::create_dir_all(dist)?;
    for file in [format!("{NAME}.js"), format!("{NAME}.d.ts")] {
        fs::copy(bound().join(&file), dist.join(&file))?;
    }
    // A packed copy of the old module must not be served with the new one's JavaScript.
    match fs::remove_file(dist.join(format!("{wasm}.br"))) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    fs::rename(&optimised, dist.join(&wasm))?;
    Ok(())
}

fn wasm_opt(from: &Path, to: &Path, how: &[&str]) -> Result<()> {
    let mut node = tools::node()?;
    node.arg("--stack-size=4000").arg(tools::npm_file("binaryen/bin/wasm-opt")?);
    node.args(how).args(FEATURES).arg(from).arg("-o").arg(to);
    println!("wasm-opt ...");
    tools::run(&mut node)
}

/// Packs the module as a host would send it, beside itself, and tells both sizes.
fn sizes(wasm: &Path) -> Result<String> {
    let script = "const {readFileSync, writeFileSync} = require('fs'), {brotliCompressSync} = require('zlib');\
        const bytes = readFileSync(process.argv[1]), packed = brotliCompressSync(bytes);\
        writeFileSync(`${process.argv[1]}.br`, packed);\
        const mb = (n) => (n / 1e6).toFixed(2) + ' MB';\
        console.log(`wasm ${mb(bytes.length)} raw, ${mb(packed.length)} brotli`);";
    let mut node = tools::node()?;
    let output = node.arg("--eval").arg(script).arg(wasm).output()?;
    if !output.status.success() {
        bail!("could not pack the module: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
