//! `instructblip synth`: a random checkpoint in the real layout.

use super::progress::Bar;
use clap::ValueEnum;
use instructblip_web::Error;
use instructblip_web::checkpoint::Dtype;
use instructblip_web::convert::synth::{SIZES, SynthOptions, named_config, synth};
use std::path::PathBuf;

/// Write a random checkpoint, to try sizes for which there are no weights at hand.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the checkpoint, empty or new.
    out: PathBuf,
    /// A size by name.
    #[arg(long, default_value = SIZES[0], value_parser = clap::builder::PossibleValuesParser::new(SIZES))]
    size: String,
    /// A config.json in place of a named size.
    #[arg(long, conflicts_with = "size")]
    config: Option<PathBuf>,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Type of the weights.
    #[arg(long, value_enum, default_value = "f16")]
    dtype: FloatType,
    /// Copy tokenizers and processor files from this checkpoint or shard set.
    #[arg(long, value_name = "FOLDER")]
    tokenizers: Option<PathBuf>,
    /// Replace the checkpoint in OUT.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FloatType {
    F16,
    Bf16,
    F32,
}

/// Writes, with a progress bar.
///
/// # Errors
/// Those of `synth`.
pub fn run(args: Args) -> Result<(), Error> {
    let config = match &args.config {
        Some(path) => std::fs::read(path).map_err(|error| Error::io(path, error))?,
        None => named_config(&args.size)?,
    };
    let options = SynthOptions {
        config,
        seed: args.seed,
        dtype: match args.dtype {
            FloatType::F16 => Dtype::F16,
            FloatType::Bf16 => Dtype::BF16,
            FloatType::F32 => Dtype::F32,
        },
        tokenizers: args.tokenizers,
        force: args.force,
        limit: 0,
    };
    let bar = Bar::new();
    let summary = synth(&args.out, &options, &mut |progress| bar.show(progress))?;
    bar.finish(&args.out, &summary);
    Ok(())
}
