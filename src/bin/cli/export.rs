//! `instructblip export`: a shard set back to a plain Hugging Face checkpoint.

use super::progress::Bar;
use instructblip_web::Error;
use instructblip_web::convert::{ExportOptions, export};
use std::path::PathBuf;

/// Unpack a shard set to an f32 checkpoint that transformers loads.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the shard set.
    source: PathBuf,
    /// Folder for the checkpoint, empty or new.
    out: PathBuf,
    /// Replace the checkpoint in OUT.
    #[arg(long)]
    force: bool,
}

/// Exports, with a progress bar.
///
/// # Errors
/// Those of `export`.
pub fn run(args: Args) -> Result<(), Error> {
    let options = ExportOptions { force: args.force, ..ExportOptions::default() };
    let bar = Bar::new();
    let summary = export(&args.source, &args.out, &options, &mut |progress| bar.show(progress))?;
    bar.finish(&args.out, &summary);
    Ok(())
}
