//! The progress bar of the long commands, on standard error, and how Ctrl-C ends them.

use super::terminal;
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use instructblip_web::convert::{Progress, Start, Summary};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Whether Ctrl-C was pressed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The status of a process that Ctrl-C ends, as shells give it.
const INTERRUPT_STATUS: i32 = 130;

/// A bar with bytes, rate and time left.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    begun: Instant,
}

impl Bar {
    /// A bar that shows from the first report on. From now on Ctrl-C ends the work in order, and
    /// a second one at once.
    #[must_use]
    pub fn new() -> Self {
        // Where no handler can be set, Ctrl-C ends the process as ever.
        let _ = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPT_STATUS);
            }
        });
        Self { bar: bytes_bar(""), begun: Instant::now() }
    }

    /// Shows a report; breaks after Ctrl-C.
    pub fn show(&self, progress: &Progress<'_>) -> ControlFlow<()> {
        if self.bar.length() == Some(0) {
            self.bar.set_length(progress.total);
            // Rate and time left are those of this run.
            self.bar.set_position(progress.done);
            self.bar.reset_eta();
            // Said where standard error is no terminal, too.
            self.bar.suspend(|| match progress.start {
                Start::Fresh => {}
                Start::Resumed => terminal::note(format_args!(
                    "Continuing an interrupted conversion, {} are done.",
                    DecimalBytes(progress.done)
                )),
                Start::Restarted => terminal::note(
                    "Starting over: what an interrupted conversion left was made with other options or from another source."
                ),
            });
        }
        self.bar.set_position(progress.done);
        match INTERRUPTED.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Replaces the bar by what was written.
    pub fn finish(&self, out: &Path, summary: &Summary) {
        self.bar.finish_and_clear();
        let after = DecimalBytes(summary.bytes);
        // A random checkpoint has no source.
        let before = match summary.source_bytes {
            0 => String::new(),
            bytes => format!("{} -> ", DecimalBytes(bytes)),
        };
        let files = if summary.files == 1 { "file" } else { "files" };
        let Summary { tensors, files: count, .. } = summary;
        let seconds = self.begun.elapsed().as_secs_f64();
        terminal::note(format_args!(
            "{tensors} tensors, {before}{after} in {count} {files}, {seconds:.1} s: {}",
            out.display()
        ));
        if summary.left_out > 0 {
            terminal::note(format_args!(
                "{} tensors of the source are not of this model and were left out.",
                summary.left_out
            ));
        }
    }
}

/// An empty bar for bytes.
#[must_use]
pub fn bytes_bar(what: &str) -> ProgressBar {
    let template = "{msg}{wide_bar} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_message(what.to_owned())
}
