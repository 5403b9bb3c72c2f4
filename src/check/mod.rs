//! What a fresh visitor meets at a published shard set.
//!
//! In: the address of a folder, or a folder on the disk. Out: a [`Report`] of all that would keep
//! the set from loading, or make it load worse. Every file is read whole from where it lies,
//! and nothing is kept: a browser that has loaded the set before takes its shards from its storage
//! and would not notice that they are gone.
//!
//! - [`source`]: one file of a folder or of a host, as a stream.
//! - `headers`: what a host says about a file, and what a browser makes of it.
//! - `shards`: lengths, hashes and tensors against the index.

mod headers;
mod shards;
pub mod source;

use std::fmt;

use serde::Serialize;

use crate::checkpoint::Index;
use crate::convert::describe;
use crate::error::Result;
use crate::fit::check_claim;
use crate::limits;
use crate::loading::manifest::{self, REQUIRED, SMALL};
use crate::weights::Description;
use source::{Absent, Source};

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The set does not load.
    Broken,
    /// It loads for some, or not as it should.
    Warning,
    /// It could be better.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Broken => "broken",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, and what to do.
    pub what: String,
    /// The files that it is true of; none where it is of the whole set.
    pub files: Vec<String>,
}

impl fmt::Display for Finding {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity)?;
        match self.files.as_slice() {
            [] => {}
            [file] => write!(f, "{file}: ")?,
            [first, others @ ..] => write!(f, "{first} and {} more: ", others.len())?,
        }
        f.write_str(&self.what)
    }
}

/// All that was found, worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One entry each; the same of several files is one.
    pub findings: Vec<Finding>,
    /// Files that were read.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Report {
    /// Whether a visitor can load the set.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Broken)
    }

    fn add(&mut self, severity: Severity, file: &str, what: impl Into<String>) {
        let what = what.into();
        let files = if file.is_empty() { Vec::new() } else { vec![file.to_owned()] };
        let same = |known: &&mut Finding| known.severity == severity && known.what == what;
        match self.findings.iter_mut().find(same) {
            Some(known) => known.files.extend(files),
            None => self.findings.push(Finding { severity, what, files }),
        }
    }

    fn broken(&mut self, file: &str, what: impl Into<String>) {
        self.add(Severity::Broken, file, what);
    }
}

/// Checks the set at `source`; `progress` gets the bytes that were read and those there will be.
///
/// # Errors
/// The folder is none, or the address not of the web; all else is a finding.
pub fn check(source: &Source, progress: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let mut report = Report::default();
    source.look_around(&mut report)?;
    let small = SMALL.map(|name| small_file(source, name, &mut report));
    if small.iter().take(REQUIRED).all(Option::is_some) {
        match understood(&small) {
            Ok((description, index)) => {
                shards::check(source, &description, &index, &mut report, progress);
            }
            Err(error) => report.broken("", error.to_string()),
        }
    }
    report.findings.sort();
    Ok(report)
}

/// What the small files say, compared with each other as the page does before it fetches more.
fn understood(small: &[Option<Vec<u8>>]) -> Result<(Description, Index)> {
    let (blueprint, index) = manifest::parse("", small)?;
    let description = describe(&blueprint.config)?;
    manifest::shards_of(&index, &description)?;
    check_claim(&description, &index)?;
    description.check_index(&index)?;
    Ok((description, index))
}

/// A small file's bytes, where it is there and one.
fn small_file(source: &Source, name: &str, report: &mut Report) -> Option<Vec<u8>> {
    let required = SMALL.iter().take(REQUIRED).any(|known| *known == name);
    let mut opened = match source.open(name) {
        Ok(opened) => opened,
        Err(Absent::NotThere) => {
            if required {
                report.broken(name, "there is no such file");
            }
            return None;
        }
        Err(Absent::Failed(reason)) => {
            report.broken(name, reason);
            return None;
        }
    };
    let bytes = match opened.whole(limits::limit(name) as u64) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            report.broken(name, limits::too_long(name, None).to_string());
            return None;
        }
        Err(reason) => {
            report.broken(name, reason);
            return None;
        }
    };
    if limits::is_web_page(&bytes) {
        if required {
            report.broken(name, "the host sends a web page in its place");
        } else {
            report.add(
                Severity::Note,
                name,
                "the host sends a web page for a file that is not there, and should say 404",
            );
        }
        return None;
    }
    report.files += 1;
    report.bytes += bytes.len() as u64;
    source.listen(name, &opened.facts, false, report);
    Some(bytes)
}
