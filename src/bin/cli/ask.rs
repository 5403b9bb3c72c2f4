//! `instructblip ask`: one question about one picture, the answer streamed to the terminal.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use instructblip_web::pace::Pace;
use instructblip_web::session::AskOptions;
use instructblip_web::{Error, Result};

use super::load::{self, DeviceName};

/// Arguments of `ask`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Model folder: a shard set, or a Hugging Face checkpoint.
    #[arg(long)]
    model: PathBuf,
    /// Picture: PNG, JPEG, WebP, GIF or BMP.
    #[arg(long)]
    image: PathBuf,
    /// The question, or any instruction.
    question: String,
    /// At most this many tokens.
    #[arg(long)]
    max_new_tokens: Option<usize>,
    /// Print one JSON object with text, ids and times instead of streaming.
    #[arg(long)]
    json: bool,
    /// Where to run.
    #[arg(long, value_enum, default_value = "wgpu")]
    device: DeviceName,
}

/// Answers one question.
///
/// # Errors
/// Whatever is wrong with the model, the picture or the question.
pub fn run(args: &Args) -> Result<()> {
    let picture = std::fs::read(&args.image).map_err(|error| Error::io(&args.image, error))?;
    let mut session = load::session(&args.model, &args.device.open()?)?;
    let options = AskOptions { max_new_tokens: args.max_new_tokens, ..AskOptions::default() };
    let info = pollster::block_on(session.set_picture(&picture, &Pace::default()))?;
    let mut stdout = std::io::stdout();
    let answer = pollster::block_on(session.ask(
        &args.question,
        &options,
        &Pace::default(),
        &mut |token| {
            if !args.json {
                // A closed pipe ends the answer: nobody reads on.
                let written = write!(stdout, "{}", token.text).and_then(|()| stdout.flush());
                if written.is_err() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        },
    ))?;
    if args.json {
        let json = serde_json::json!({ "picture": info, "answer": answer });
        println!("{json:#}");
    } else {
        println!();
        if answer.truncated_question {
            eprintln!(
                "note: the question is longer than the model takes; its beginning was left out"
            );
        }
    }
    Ok(())
}
