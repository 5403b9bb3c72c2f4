//! The file of answers: appended to as they come, read again when a run is continued.
//!
//! JSONL. The first line names the model; every other is an [`AnswerRecord`]. An answer counts
//! for an item when its [`key`] does, so the data set may grow or change between runs and
//! exactly the changed items are asked again. A last line that was cut off is dropped.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Item;
use crate::checkpoint::Folder;
use crate::error::{Error, Result};
use crate::session::AskOptions;

/// Bytes of each tensor that go into a model's fingerprint.
const SAMPLE: usize = 256;

/// An item's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// The item.
    pub id: String,
    /// What was asked, see [`key`].
    pub key: String,
    /// What was generated, or the best candidate.
    pub text: String,
    /// Of a generated answer, see [`Answer::probability`](crate::session::Answer::probability).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
    /// Log-likelihood of each candidate, in their order; empty for a generated answer.
    #[serde(default)]
    pub scores: Vec<f32>,
    /// Time it took, the picture's share included.
    pub milliseconds: f64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    model: String,
}

/// The open file.
#[derive(Debug)]
pub struct AnswersFile {
    path: PathBuf,
    file: File,
    known: HashMap<String, AnswerRecord>,
}

impl AnswersFile {
    /// Opens or makes the file for the model with this fingerprint; `restart` empties it.
    ///
    /// # Errors
    /// It cannot be read or written, is malformed, or belongs to another model.
    pub fn open(path: &Path, model: &str, restart: bool) -> Result<Self> {
        let io = |error| Error::io(path, error);
        let text = match std::fs::read_to_string(path) {
            Ok(text) if !restart => text,
            Ok(_) => String::new(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io(error)),
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut file =
            OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(io)?;
        let mut known = HashMap::new();
        for (number, line) in (1..).zip(text[..whole].lines()) {
            let invalid = |error: serde_json::Error| Error::DataInvalid {
                file: path.display().to_string(),
                line: number,
                reason: format!("{error} of this line; repair it, or start again with --restart"),
            };
            if number == 1 {
                let header: Header = serde_json::from_str(line).map_err(invalid)?;
                if header.model != model {
                    return Err(Error::OptionInvalid {
                        option: "--out".into(),
                        reason: format!(
                            "{} holds the answers of another model; choose another file, or --restart",
                            path.display()
                        ),
                    });
                }
            } else {
                let record: AnswerRecord = serde_json::from_str(line).map_err(invalid)?;
                known.insert(record.key.clone(), record);
            }
        }
        file.set_len(whole as u64).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        let mut answers = Self { path: path.to_path_buf(), file, known };
        if whole == 0 {
            answers.write(&Header { model: model.to_owned() })?;
        }
        Ok(answers)
    }

    /// The answer to what has this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&AnswerRecord> {
        self.known.get(key)
    }

    /// Adds an answer and gives it to the operating system.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push(&mut self, record: AnswerRecord) -> Result<()> {
        self.write(&record)?;
        self.known.insert(record.key.clone(), record);
        Ok(())
    }

    /// One write a line, so that a run that is killed leaves at most one line cut off.
    fn write(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value)
            .map_err(|error| Error::Internal { reason: error.to_string() })?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|error| Error::io(&self.path, error))
    }
}

/// What decides an answer: pictures, prompt, candidates, decoding, and whether the Q-Former read
/// the prompt, as a short hash.
///
/// # Errors
/// The options cannot be written as JSON.
pub fn key(item: &Item, decoding: &AskOptions) -> Result<String> {
    // Of candidates the decoding decides nothing.
    let looking =
        AskOptions { instruction_aware: decoding.instruction_aware, ..AskOptions::default() };
    let decoding = match item.candidates.is_empty() {
        true => Some(decoding),
        false => looking.instruction_aware.map(|_| &looking),
    };
    let text =
        serde_json::to_vec(&(&item.id, &item.images, &item.prompt, &item.candidates, decoding))
            .map_err(|error| Error::Internal { reason: error.to_string() })?;
    Ok(short(Sha256::digest(text).as_slice()))
}

/// Tells models apart: names, shapes and the first bytes of all tensors, as a short hash.
///
/// # Errors
/// A file cannot be read.
pub fn fingerprint(folder: &Folder) -> Result<String> {
    let mut hash = Sha256::new();
    for tensor in folder.tensors() {
        hash.update(format!("{} {:?} {:?}\n", tensor.name, tensor.dtype, tensor.shape));
        hash.update(tensor.read_range(0..tensor.byte_len().min(SAMPLE))?);
    }
    Ok(short(hash.finalize().as_slice()))
}

fn short(hash: &[u8]) -> String {
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
