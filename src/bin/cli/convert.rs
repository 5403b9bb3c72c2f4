//! `instructblip convert`: a Hugging Face checkpoint to a shard set.

use super::progress::Bar;
use instructblip_web::Error;
use instructblip_web::checkpoint::{ConvertOptions, Recipe, convert};
use instructblip_web::quant::Format;
use std::path::PathBuf;

/// Pack a Hugging Face checkpoint into shards that the page streams.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the checkpoint, as transformers saves it.
    source: PathBuf,
    /// Folder for the shard set, empty or new.
    out: PathBuf,
    /// Format of the matrices: q4, q8, f16 or f32.
    #[arg(long = "quant", value_name = "FORMAT", default_value = "q4")]
    format: Format,
    /// Store the matrices whose names match in another format; `*` stands for anything.
    /// May be given several times; the last one that matches counts.
    #[arg(long, value_name = "PATTERN=FORMAT")]
    keep: Vec<String>,
    /// Replace the checkpoint in OUT.
    #[arg(long)]
    force: bool,
    /// Threads that pack; 0 for one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Most MiB of tensor data in a shard.
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=32))]
    shard_mib: u64,
}

/// Converts, with a progress bar.
///
/// # Errors
/// Those of `convert`.
pub fn run(args: Args) -> Result<(), Error> {
    let mut recipe = Recipe::new(args.format);
    for rule in &args.keep {
        recipe = recipe.with_rule(rule)?;
    }
    let options = ConvertOptions {
        recipe,
        force: args.force,
        threads: args.threads,
        limit: args.shard_mib << 20,
    };
    let bar = Bar::new();
    let summary = convert(&args.source, &args.out, &options, &mut |progress| bar.show(progress))?;
    bar.finish(&args.out, &summary);
    Ok(())
}
