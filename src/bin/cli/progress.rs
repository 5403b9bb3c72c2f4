//! The progress bar of the long commands, on standard error.

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use instructblip_web::checkpoint::{Progress, Summary};
use std::ops::ControlFlow;
use std::path::Path;

/// A bar with bytes, rate and time left.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar that shows from the first report on.
    #[must_use]
    pub fn new() -> Self {
        let template =
            "{wide_bar} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left";
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(0).with_style(style))
    }

    /// Shows a report; never breaks.
    pub fn show(&self, progress: &Progress<'_>) -> ControlFlow<()> {
        self.0.set_length(progress.total);
        self.0.set_position(progress.done);
        ControlFlow::Continue(())
    }

    /// Replaces the bar by what was written.
    pub fn finish(&self, out: &Path, summary: &Summary) {
        self.0.finish_and_clear();
        let after = DecimalBytes(summary.bytes);
        // A random checkpoint has no source.
        let before = match summary.source_bytes {
            0 => String::new(),
            bytes => format!("{} -> ", DecimalBytes(bytes)),
        };
        let files = if summary.files == 1 { "file" } else { "files" };
        let Summary { tensors, files: count, .. } = summary;
        eprintln!("{tensors} tensors, {before}{after} in {count} {files}: {}", out.display());
    }
}
