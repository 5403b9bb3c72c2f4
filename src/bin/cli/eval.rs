//! `instructblip eval`: scores on a data set, beside the paper's.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use instructblip_web::checkpoint::Folder;
use instructblip_web::eval::{self, AnswersFile, Item, Metric, Report};
use instructblip_web::session::AskOptions;
use instructblip_web::{Error, Result};

use super::load::{self, DeviceName};
use super::terminal;

/// Arguments of `eval`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Data set: one JSON object a line, see docs/eval.md.
    data: PathBuf,
    /// Model folder: a shard set, or a Hugging Face checkpoint.
    #[arg(long)]
    model: PathBuf,
    /// Folder of the pictures [default: the data set's]. Pictures outside of it are refused, also
    /// where a link leads to them.
    #[arg(long)]
    images: Option<PathBuf>,
    /// Report to write, with .md and .answers.jsonl beside it [default: DATA.report.json].
    #[arg(long)]
    out: Option<PathBuf>,
    /// How to score; `auto` follows the data.
    #[arg(long, value_enum, default_value = "auto")]
    metric: MetricName,
    /// Only the first N items.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Throw the answers of earlier runs away; without it a run continues them.
    #[arg(long)]
    restart: bool,
    /// Beams of generated answers [default: 5].
    #[arg(long)]
    num_beams: Option<usize>,
    /// Most tokens of an answer [default: 10, captions 30].
    #[arg(long)]
    max_new_tokens: Option<usize>,
    /// Fewest tokens of an answer [default: none, captions 8].
    #[arg(long)]
    min_length: Option<usize>,
    /// Exponent of the length in a beam's score [default: -1, captions 1].
    #[arg(long, allow_negative_numbers = true)]
    length_penalty: Option<f32>,
    /// The Q-Former does not read the question, as in the paper's ablation of instruction-aware
    /// features.
    #[arg(long)]
    without_instruction: bool,
    /// Where to run.
    #[arg(long, value_enum, default_value = "wgpu")]
    device: DeviceName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MetricName {
    Vqa,
    Exact,
    Cider,
    Mrr,
    Auc,
    Auto,
}

impl MetricName {
    fn metric(self) -> Option<Metric> {
        match self {
            Self::Vqa => Some(Metric::Vqa),
            Self::Exact => Some(Metric::Exact),
            Self::Cider => Some(Metric::Cider),
            Self::Mrr => Some(Metric::Mrr),
            Self::Auc => Some(Metric::Auc),
            Self::Auto => None,
        }
    }
}

/// Answers what has no answer yet, writes the report and prints its table.
///
/// # Errors
/// Whatever is wrong with the data set, a picture, the model or a file.
pub fn run(args: &Args) -> Result<()> {
    let beside = args.data.parent().unwrap_or(Path::new(""));
    let images = args.images.as_deref().unwrap_or(beside);
    let mut items = eval::data::read(&args.data, images, args.metric.metric())?;
    if let Some(limit) = args.limit {
        items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    let items: Vec<(Item, AskOptions)> = items
        .into_iter()
        .map(|item| {
            let decoding = args.decoding(item.metric);
            (item, decoding)
        })
        .collect();
    let out = args.out.clone().unwrap_or_else(|| args.data.with_extension("report.json"));
    let fingerprint = eval::fingerprint(&Folder::open(&args.model)?)?;
    let answers_path = out.with_extension("answers.jsonl");
    let mut answers = AnswersFile::open(&answers_path, &fingerprint, args.restart)?;

    let data = args.data.display().to_string();
    let mut session = load::session(&args.model, &args.device.open()?)?;
    let bar = bar(items.len());
    let mut started = false;
    eval::run(&mut session, &items, &data, &mut answers, &mut |progress| {
        if !started {
            started = true;
            if progress.done > 0 {
                let (done, total) = (progress.done, progress.total);
                terminal::note(format_args!("{done} of {total} answered before"));
            }
            // The rate and the time left are those of this run.
            bar.set_length((progress.total - progress.done) as u64);
        }
        let left = (progress.total - progress.done) as u64;
        bar.set_position(bar.length().unwrap_or(left) - left);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();

    let model = args.model.display().to_string();
    let report = Report::new(model, fingerprint, data, &items, &answers)?;
    let json = serde_json::to_string_pretty(&report)
        .map_err(|error| Error::Internal { reason: error.to_string() })?;
    let table = report.markdown();
    write(&out, &(json + "\n"))?;
    write(&out.with_extension("md"), &table)?;
    terminal::print(&table)?;
    let answers = answers_path.display();
    terminal::note(format_args!("report: {}, answers: {answers}", out.display()));
    Ok(())
}

impl Args {
    /// The metric's decoding with what was asked for.
    fn decoding(&self, metric: Metric) -> AskOptions {
        let usual = metric.decoding();
        AskOptions {
            num_beams: self.num_beams.or(usual.num_beams),
            max_new_tokens: self.max_new_tokens.or(usual.max_new_tokens),
            min_length: self.min_length.or(usual.min_length),
            length_penalty: self.length_penalty.or(usual.length_penalty),
            instruction_aware: self.without_instruction.then_some(false),
            ..usual
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| Error::io(path, error))
}

fn bar(items: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}  {per_sec}  {eta} left");
    ProgressBar::new(items as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
