//! What an interrupted conversion has finished, so that the same command continues there.
//!
//! `journal.jsonl` lies beside the unfinished files: first the key of the conversion, then a line
//! with length and SHA-256 for every file that is complete. A run that is killed leaves at worst
//! half a line and half a file; a file counts only if its bytes have the hash that was noted.

use super::planted::is_lone_file;
use crate::checkpoint::ShardInfo;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

const NAME: &str = "journal.jsonl";

/// How a conversion starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// Nothing was there.
    #[default]
    Fresh,
    /// Complete files of the same conversion are there.
    Resumed,
    /// There was work of another conversion, or of another source; it was thrown away.
    Restarted,
}

/// The notes of a conversion, locked against a second one in the same folder.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    done: Vec<ShardInfo>,
    /// Files that have a line already.
    noted: usize,
}

#[derive(Serialize, Deserialize)]
struct Key {
    key: String,
}

impl Journal {
    /// Opens the journal in `folder`, which is made where it is missing. `key` stands for
    /// everything that the files depend on; `file` gives the path of the n-th file.
    ///
    /// # Errors
    /// The folder cannot be written, another conversion is writing to it, or what is in the
    /// journal's place is not a file of its own.
    pub fn open(
        folder: &Path,
        key: &str,
        file: impl Fn(usize) -> PathBuf,
    ) -> Result<(Self, Start)> {
        let path = folder.join(NAME);
        let found = fs::symlink_metadata(&path);
        if found.as_ref().is_ok_and(|found| !is_lone_file(found)) {
            return Err(Error::OptionInvalid {
                option: "output folder".into(),
                reason: format!(
                    "{} is a link, and the journal would be written elsewhere; remove {}",
                    path.display(),
                    folder.display()
                ),
            });
        }
        let there = found.is_ok();
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let io = |e| Error::io(&path, e);
        let mut options = OpenOptions::new();
        let mut journal = options.read(true).append(true).create(true).open(&path).map_err(io)?;
        journal.try_lock().map_err(|e| match e {
            TryLockError::Error(e) => io(e),
            TryLockError::WouldBlock => Error::OptionInvalid {
                option: "output folder".into(),
                reason: format!("another conversion is writing to {}", folder.display()),
            },
        })?;
        let mut text = Vec::new();
        journal.read_to_end(&mut text).map_err(io)?;
        let mut lines = text.split_inclusive(|b| *b == b'\n');
        let first = lines.next().unwrap_or_default();
        let same = serde_json::from_slice::<Key>(first).is_ok_and(|noted| noted.key == key);
        let (mut done, mut length) = (Vec::new(), first.len() as u64);
        if same && first.ends_with(b"\n") {
            for line in lines.filter(|line| line.ends_with(b"\n")) {
                let Ok(info) = serde_json::from_slice::<ShardInfo>(line) else { break };
                if !is_complete(&file(done.len()), &info) {
                    break;
                }
                done.push(info);
                length += line.len() as u64;
            }
            journal.set_len(length).map_err(io)?;
        } else {
            journal.set_len(0).map_err(io)?;
            write_line(&mut journal, &Key { key: key.into() }).map_err(io)?;
        }
        let start = match (there, done.is_empty()) {
            (_, false) => Start::Resumed,
            (true, true) if !same => Start::Restarted,
            _ => Start::Fresh,
        };
        let noted = done.len();
        Ok((Self { path, file: journal, done, noted }, start))
    }

    /// The complete files, in order.
    #[must_use]
    pub fn done(&self) -> &[ShardInfo] {
        &self.done
    }

    /// Takes only the first `count` files as complete. The others will be written again, and be
    /// the same: their lines stay.
    pub fn truncate(&mut self, count: usize) {
        self.done.truncate(count);
    }

    /// Notes that the next file is complete.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn add(&mut self, info: &ShardInfo) -> Result<()> {
        self.done.push(info.clone());
        if self.done.len() > self.noted {
            write_line(&mut self.file, info).map_err(|e| Error::io(&self.path, e))?;
            self.noted += 1;
        }
        Ok(())
    }
}

fn write_line(file: &mut File, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    file.write_all(&line)
}

/// Whether this is a file of its own, with the length and the hash that were noted.
fn is_complete(path: &Path, info: &ShardInfo) -> bool {
    let hash = || -> io::Result<Sha256> {
        let found = fs::symlink_metadata(path)?;
        if !is_lone_file(&found) || found.len() != info.bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut hash = Sha256::new();
        io::copy(&mut File::open(path)?, &mut hash)?;
        Ok(hash)
    };
    hash().is_ok_and(|hash| info.check_digest("", &hash.finalize()).is_ok())
}
