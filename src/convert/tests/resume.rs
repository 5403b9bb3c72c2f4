//! Conversions that are interrupted and started again.

use super::fixture::*;
use crate::convert::output::UNFINISHED;
use crate::convert::*;
use crate::quant::Format;
use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Files so small that weights are torn from their scales.
fn options(format: Format) -> ConvertOptions {
    ConvertOptions { limit: 1 << 10, threads: 2, ..ConvertOptions::new(format) }
}

/// Converts up to the report `stop`; whether it was cancelled there.
fn interrupted(source: &Path, out: &Path, stop: usize) -> bool {
    let mut reports = 0;
    let mut count = |_: &Progress<'_>| {
        reports += 1;
        if reports == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    match convert(source, out, &options(Format::Q4), &mut count) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.code(), "cancelled");
            true
        }
    }
}

/// Converts to the end; how it began, and with how many bytes done.
fn finished(source: &Path, out: &Path, format: Format) -> (Start, u64) {
    let mut first = None;
    let mut note = |progress: &Progress<'_>| {
        first.get_or_insert((progress.start, progress.done));
        ControlFlow::Continue(())
    };
    convert(source, out, &options(format), &mut note).unwrap();
    first.unwrap()
}

#[test]
fn the_bytes_are_those_of_an_uninterrupted_run() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    assert_eq!(finished(&t.join("a"), &t.join("whole"), Format::Q4), (Start::Fresh, 0));
    let whole = content(&t.join("whole"));
    let mut resumed = 0;
    for stop in (1..).step_by(7) {
        let set = t.join(&format!("set-{stop}"));
        if !interrupted(&t.join("a"), &set, stop) {
            break;
        }
        if set.exists() {
            // As a kill leaves them: half a line, half a file.
            let journal = set.join(UNFINISHED).join("journal.jsonl");
            let mut journal = fs::OpenOptions::new().append(true).open(journal).unwrap();
            journal.write_all(b"{\"bytes\":12").unwrap();
            fs::write(set.join(UNFINISHED).join("00099"), b"half").unwrap();
        }
        // And a second time, a little later.
        interrupted(&t.join("a"), &set, 3);
        let (start, done) = finished(&t.join("a"), &set, Format::Q4);
        assert_eq!(start == Start::Resumed, done > 0, "{stop}");
        resumed += u64::from(start == Start::Resumed);
        assert_eq!(content(&set), whole, "{stop}");
    }
    assert!(resumed > 5, "{resumed}");
}

#[test]
fn other_work_is_not_continued() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    converted(&t.join("a"), &t.join("other"), Format::Q8).unwrap();
    let begin = || assert!(interrupted(&t.join("a"), &t.join("set"), 9));
    begin();
    assert_eq!(finished(&t.join("a"), &t.join("set"), Format::Q8), (Start::Restarted, 0));
    fs::remove_dir_all(t.join("set")).unwrap();
    begin();
    let weights = fs::File::options().write(true).open(t.join("a/model.safetensors")).unwrap();
    weights.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    assert_eq!(finished(&t.join("a"), &t.join("set"), Format::Q4), (Start::Restarted, 0));
    fs::remove_dir_all(t.join("set")).unwrap();
    begin();
    let first = t.join("set").join(UNFINISHED).join("00000");
    let mut bytes = fs::read(&first).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&first, bytes).unwrap();
    assert_eq!(finished(&t.join("a"), &t.join("set"), Format::Q4), (Start::Fresh, 0));
}

#[test]
fn two_conversions_do_not_write_to_one_folder() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    let (source, out) = (t.join("a"), t.join("set"));
    let mut codes = Vec::new();
    let mut second = |_: &Progress<'_>| {
        codes.push(code(convert(&source, &out, &options(Format::Q4), &mut go)));
        ControlFlow::Continue(())
    };
    convert(&source, &out, &options(Format::Q4), &mut second).unwrap();
    assert!(codes.len() > 5 && codes.iter().all(|code| *code == "option-invalid"), "{codes:?}");
}
