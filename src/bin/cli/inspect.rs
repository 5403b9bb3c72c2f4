//! `instructblip inspect`: what is in a checkpoint or a shard set.

use instructblip_web::Error;
use instructblip_web::checkpoint::inspect;
use std::io::Write as _;
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
    let text = if args.json {
        let json = serde_json::to_string_pretty(&table);
        json.map_err(|e| Error::Internal { reason: e.to_string() })? + "\n"
    } else {
        table.to_string()
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(|e| Error::io("standard output", e))
}
