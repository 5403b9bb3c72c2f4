//! The command line: convert, export, inspect and check checkpoints; ask; verify; measure.

// Whatever is printed goes through `cli::terminal`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use instructblip_web::Error;

#[path = "cli/mod.rs"]
mod cli;

/// InstructBLIP on your own GPU.
#[derive(Parser, Debug)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Convert a Hugging Face checkpoint to a shard set for the browser.
    Convert(cli::convert::Args),
    /// Write a shard set back as a plain Hugging Face checkpoint.
    Export(cli::export::Args),
    /// Print what a checkpoint or shard set holds.
    Inspect(cli::inspect::Args),
    /// Check a published shard set as a fresh visitor meets it.
    Check(cli::check::Args),
    /// Write a random checkpoint in the real layout, of any size.
    Synth(cli::synth::Args),
    /// Compare every stage with recorded outputs of the reference implementation.
    Verify(cli::verify::Args),
    /// Ask a question about a picture.
    Ask(Box<cli::ask::Args>),
    /// Score a model on a data set, beside the paper's figures.
    Eval(cli::eval::Args),
    /// Time every stage and every token of a model on this machine's GPU.
    Bench(cli::bench::Args),
}

fn main() -> ExitCode {
    quiet_wayland();
    match run() {
        Ok(code) => code,
        Err(error) => {
            cli::terminal::note(format_args!("error [{}]: {error}", error.code()));
            ExitCode::FAILURE
        }
    }
}

/// Mesa's Vulkan layer that sorts GPUs asks the desktop which one it draws on, whenever somebody
/// lists them. Where there is no desktop, and no `XDG_RUNTIME_DIR`, libwayland complains of that on
/// standard error, each time. A folder that cannot exist says the same and is not complained of.
fn quiet_wayland() {
    const FOLDER: &str = "XDG_RUNTIME_DIR";
    if cfg!(target_os = "linux") && std::env::var_os(FOLDER).is_none() {
        // SAFETY: nothing ran before this, so no other thread reads the environment.
        unsafe { std::env::set_var(FOLDER, "/dev/null/no-desktop") };
    }
}

fn run() -> Result<ExitCode, Error> {
    match Arguments::parse().command {
        Command::Convert(args) => cli::convert::run(args)?,
        Command::Export(args) => cli::export::run(args)?,
        Command::Inspect(args) => cli::inspect::run(args)?,
        Command::Synth(args) => cli::synth::run(args)?,
        Command::Ask(args) => cli::ask::run(&args)?,
        Command::Eval(args) => cli::eval::run(&args)?,
        Command::Bench(args) => cli::bench::run(&args)?,
        Command::Check(args) => return cli::check::run(&args),
        Command::Verify(args) => return cli::verify::run(&args),
    }
    Ok(ExitCode::SUCCESS)
}
