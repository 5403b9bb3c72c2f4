//! Build, serve, test and check the project: `cargo xtask --help`.
//!
//! A fresh clone needs two commands: `cargo xtask setup`, then `cargo xtask demo`.

mod audit;
mod bench;
mod build;
mod check;
mod demo;
mod e2e;
mod fuzz;
mod peer;
mod setup;
mod sizes;
mod steps;
mod test;
mod tools;
mod types;
mod wasm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Build, serve, test and check InstructBLIP in the browser"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch what the other commands need: the wasm target, npm packages, and for the tests a browser and a software GPU
    Setup,
    /// Build the page's wasm module into www/dist
    Build(build::Args),
    /// Build the page and serve it on this machine
    Demo(demo::Args),
    /// Run every test: natively on a software GPU, then in headless Chromium
    Test(test::Args),
    /// Take a random checkpoint, up to the real size, through conversion, the browser and comparison
    E2e(e2e::Args),
    /// Time the engine and ONNX Runtime side by side on the same random models
    Peer(peer::Args),
    /// Time every stage and every token, natively or in headless Chromium, over what the GPU could do
    Bench(bench::Args),
    /// Look at what the project is built from: licences, sources, known advisories
    Audit(audit::Args),
    /// Read damaged files of every kind, made from a seed: each must be read or refused with a typed error
    Fuzz(fuzz::Args),
    /// Write the types of the page's JavaScript from the table of knobs and the types in Rust
    Types,
    /// The quick check before a commit: format, lints for native and wasm32, docs, unit tests, JavaScript types
    Check,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup => setup::run(),
        Command::Build(args) => build::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::E2e(args) => e2e::run(&args),
        Command::Peer(args) => peer::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Types => types::run(),
        Command::Check => check::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
