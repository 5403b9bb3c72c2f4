//! `instructblip inspect`: what is in a checkpoint or a shard set.

use super::terminal;
use instructblip_web::Error;
use instructblip_web::convert::inspect;
use std::path::PathBuf;

/// Show the parts of a checkpoint or shard set: tensors, parameters, bytes, formats.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the checkpoint or shard set.
    path: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the table.
///
/// # Errors
/// Those of `inspect`, or the output is closed.
pub fn run(args: Args) -> Result<(), Error> {
    let table = inspect(&args.path)?;
    match args.json {
        true => terminal::print_json(&table),
        false => terminal::print(&table),
    }
}
