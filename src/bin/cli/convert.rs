//! `instructblip convert`: a Hugging Face checkpoint to a shard set.

use super::progress::{Bar, bytes_bar};
use super::terminal;
use instructblip_web::Error;
use instructblip_web::config::About;
use instructblip_web::convert::output::UNFINISHED;
use instructblip_web::convert::{ConvertOptions, Recipe, convert};
use instructblip_web::hub::{Hub, is_repository};
use instructblip_web::quant::Format;
use std::path::{Path, PathBuf};

/// Pack a Hugging Face checkpoint into shards that the page streams.
///
/// Interrupted, by Ctrl-C or otherwise, the same command continues where it was.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the checkpoint, as transformers saves it; or OWNER/NAME of a repository on the
    /// Hugging Face hub, which is downloaded to its cache first and compared with its hashes.
    /// HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH and HF_HOME are honoured: HF_TOKEN is sent to
    /// HF_ENDPOINT, which then must be https or this machine; the login that `hf auth login`
    /// stored is sent to huggingface.co only.
    source: PathBuf,
    /// Folder for the shard set, empty or new.
    out: PathBuf,
    /// Branch, tag or commit of the repository.
    #[arg(long, default_value = "main")]
    revision: String,
    /// Format of the matrices: q4 (with the few in q8 for which that was measured to pay), q8,
    /// f16 or f32.
    #[arg(long = "quant", value_name = "FORMAT", default_value = "q4")]
    format: Format,
    /// Store the matrices whose names match in another format; `*` stands for anything.
    /// May be given several times; the last one that matches counts. `*=q4` is q4 throughout.
    #[arg(long, value_name = "PATTERN=FORMAT")]
    keep: Vec<String>,
    /// JSON file with what the set says of itself to visitors: `knows`, a sentence on what the
    /// model was trained on by language; `language`, that it is asked in; `dialogues`, whether it
    /// was trained on them; `unsure_below`, the probability under which answers are often wrong.
    /// Without it, what the checkpoint's config.json says stays.
    #[arg(long, value_name = "FILE")]
    about: Option<PathBuf>,
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
    let mut recipe = Recipe::standard(args.format);
    for rule in &args.keep {
        recipe = recipe.with_rule(rule)?;
    }
    let about = args.about.as_deref().map(read_about).transpose()?;
    let options = ConvertOptions {
        recipe,
        about,
        force: args.force,
        threads: args.threads,
        limit: args.shard_mib << 20,
    };
    let source = match args.source.to_str() {
        Some(name) if !args.source.exists() && is_repository(name) => {
            download(name, &args.revision)?
        }
        _ => args.source,
    };
    let bar = Bar::new();
    let summary = convert(&source, &args.out, &options, &mut |progress| bar.show(progress))
        .inspect_err(|_| say_what_stays(&args.out))?;
    bar.finish(&args.out, &summary);
    terminal::note(
        "Put the folder on a host, check it with `instructblip check ADDRESS`, then open PAGE?model=ADDRESS.",
    );
    Ok(())
}

/// Reads what the set is to say of itself.
fn read_about(path: &Path) -> Result<About, Error> {
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    About::of_file(&path.display().to_string(), &bytes)
}

/// Downloads a repository with a progress bar. Ctrl-C ends the process; what has arrived stays
/// in the cache.
fn download(repository: &str, revision: &str) -> Result<PathBuf, Error> {
    let bar = bytes_bar("downloading ");
    let folder = Hub::from_env()?.fetch(repository, revision, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    terminal::note(format_args!("{repository} at {revision}: {}", folder.display()));
    Ok(folder)
}

fn say_what_stays(out: &Path) {
    let folder = out.join(UNFINISHED);
    if folder.exists() {
        terminal::note(format_args!(
            "The files that are complete stay in {}: the same command continues after them.",
            folder.display()
        ));
    }
}
