//! `instructblip ask`: one question about a picture or several, the answer streamed to the terminal, or
//! given answers ranked.

use std::ops::ControlFlow;
use std::path::PathBuf;

use instructblip_web::pace::Pace;
use instructblip_web::session::{Answer, AskOptions, PictureInfo, RankOptions, Session};
use instructblip_web::{Error, Result};
use serde_json::json;

use super::attention::{self, AttentionArgs};
use super::generation::GenerationArgs;
use super::load::{self, DeviceName};
use super::terminal::{self, print_json, print_line};

/// Arguments of `ask`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Model folder: a shard set, or a Hugging Face checkpoint.
    #[arg(long)]
    model: PathBuf,
    /// Picture: PNG, JPEG, WebP, GIF or BMP. Several, such as frames of a video, are asked about
    /// together.
    #[arg(long, required = true)]
    image: Vec<PathBuf>,
    /// The question, or any instruction.
    question: String,
    /// Print one JSON object with text, ids and times instead of streaming.
    #[arg(long)]
    json: bool,
    /// Where to run.
    #[arg(long, value_enum, default_value = "wgpu")]
    device: DeviceName,
    #[command(flatten)]
    generation: GenerationArgs,
    /// Do not generate: rank this answer among all given ones, most probable first.
    #[arg(long, value_name = "ANSWER", help_heading = "Ranking")]
    rank: Vec<String>,
    /// Weight of an answer before looking, one for each --rank in order [default: alike].
    #[arg(long, value_name = "WEIGHT", requires = "rank", help_heading = "Ranking")]
    prior: Vec<f32>,
    #[command(flatten)]
    attention: AttentionArgs,
    /// The Q-Former does not read the question: its queries look at the picture alone, as in the
    /// paper's ablation of instruction-aware features. Only the language model knows what was
    /// asked. Also for --rank and --attention.
    #[arg(long)]
    without_instruction: bool,
}

impl Args {
    fn instruction_aware(&self) -> Option<bool> {
        self.without_instruction.then_some(false)
    }
}

/// Answers one question.
///
/// # Errors
/// Whatever is wrong with the model, the picture, the question or an option.
pub fn run(args: &Args) -> Result<()> {
    let read = |file: &PathBuf| std::fs::read(file).map_err(|error| Error::io(file, error));
    let pictures = args.image.iter().map(read).collect::<Result<Vec<_>>>()?;
    let mut session = load::session(&args.model, &args.device.open()?)?;
    let infos = pollster::block_on(session.set_pictures(&pictures, &Pace::default()))?;
    if args.rank.is_empty() {
        answer(args, &mut session, &infos)?;
    } else {
        rank(args, &mut session)?;
    }
    let aware = args.instruction_aware();
    attention::write(&args.attention, &session, &args.question, aware, &pictures[0])
}

fn answer(args: &Args, session: &mut Session, pictures: &[PictureInfo]) -> Result<()> {
    let options =
        AskOptions { instruction_aware: args.instruction_aware(), ..args.generation.0.clone() };
    let answer = pollster::block_on(session.ask(
        &args.question,
        &options,
        &Pace::default(),
        &mut |token| {
            if !args.json {
                // A closed pipe ends the answer: nobody reads on.
                if terminal::print(&token.text).is_err() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        },
    ))?;
    if args.json {
        return print_json(&json!({ "pictures": pictures, "answer": answer }));
    }
    print_line("")?;
    print_rest(&answer)
}

/// The other answers, and what is worth knowing about all of them.
fn print_rest(answer: &Answer) -> Result<()> {
    for candidate in answer.candidates.iter().skip(1) {
        print_line(&candidate.text)?;
    }
    if let Some(seed) = answer.seed {
        terminal::note(format_args!("note: drawn with --seed {seed}"));
    }
    if answer.truncated_question {
        terminal::note(
            "note: the question is longer than the model takes; its beginning was left out",
        );
    }
    Ok(())
}

fn rank(args: &Args, session: &mut Session) -> Result<()> {
    let options = RankOptions {
        prior: (!args.prior.is_empty()).then(|| args.prior.clone()),
        instruction_aware: args.instruction_aware(),
    };
    let pace = Pace::default();
    let ranked = pollster::block_on(session.rank(&args.question, &args.rank, &options, &pace))?;
    if args.json {
        return print_json(&json!(ranked));
    }
    for place in ranked {
        let percent = 100.0 * place.probability;
        let (likelihood, text) = (place.log_likelihood, place.text);
        print_line(format_args!("{percent:6.2} %  {likelihood:9.3}  {text}"))?;
    }
    Ok(())
}
