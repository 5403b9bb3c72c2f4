//! A folder that is written whole or not at all.
//!
//! Everything goes to a folder of unfinished files within it; [`OutputFolder::commit`] moves them
//! to their places, the index last. Dropped before that, on an error or when the user cancels, it
//! leaves the folder as it was, save for work that a [`Journal`] lets the next run continue.
//! Nothing is written through a link that is there already.

use super::journal::{Journal, Start};
use super::{QFORMER_TOKENIZER, planted};
use crate::checkpoint::folder::read_small;
use crate::checkpoint::index::{INDEX_FILE, Index, ShardInfo};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The folder of unfinished files. It lies within the output and not beside it, because a file
/// can only be moved within a file system.
pub const UNFINISHED: &str = "unfinished.instructblip";

/// A folder that is being written.
#[derive(Debug)]
pub struct OutputFolder {
    root: PathBuf,
    /// Whether the folder was made here, and goes when nothing is committed.
    made: bool,
    /// Unfinished file and final name, relative to the folder.
    pending: Vec<(PathBuf, String)>,
    /// Weight files of the checkpoint that is replaced.
    replaced: BTreeSet<String>,
    /// Whether the unfinished files are ours: not before the folder is known to be free.
    holds: bool,
    /// What the next run may continue with.
    journal: Option<Journal>,
}

impl OutputFolder {
    /// Starts writing to `root`. A folder that is not empty is an error unless `force` says
    /// that the checkpoint in it is to be replaced; other files in it stay.
    ///
    /// # Errors
    /// The folder cannot be made, is not empty, is `source`, or has links where folders belong.
    pub fn create(root: &Path, source: &Path, force: bool) -> Result<Self> {
        let mut output = Self::open(root, source, force)?;
        output.clear()?;
        output.holds = true;
        let folder = root.join(UNFINISHED);
        fs::create_dir_all(&folder).map_err(|e| Error::io(folder, e))?;
        Ok(output)
    }

    /// As [`OutputFolder::create`], but continues after the files that an earlier run with the
    /// same key completed.
    ///
    /// # Errors
    /// As [`OutputFolder::create`]; or another run is writing to the folder.
    pub fn resume(root: &Path, source: &Path, force: bool, key: &str) -> Result<(Self, Start)> {
        let mut output = Self::open(root, source, force)?;
        let (journal, start) =
            Journal::open(&root.join(UNFINISHED), key, |number| unfinished(root, number))?;
        output.journal = Some(journal);
        output.holds = true;
        Ok((output, start))
    }

    fn open(root: &Path, source: &Path, force: bool) -> Result<Self> {
        let refuse = |reason: &str| Error::OptionInvalid {
            option: "output folder".into(),
            reason: format!("{} {reason}", root.display()),
        };
        let absent = !root.exists();
        fs::create_dir_all(root).map_err(|e| Error::io(root, e))?;
        if let (Ok(a), Ok(b)) = (root.canonicalize(), source.canonicalize())
            && a == b
        {
            return Err(refuse("is the source; choose another folder"));
        }
        // Folders of files that will be written; a link in place of a file is replaced.
        planted::check_folder(&root.join(UNFINISHED))?;
        planted::check_folder(&root.join(QFORMER_TOKENIZER))?;
        let mut others = false;
        let mut unfinished = false;
        for entry in fs::read_dir(root).map_err(|e| Error::io(root, e))? {
            let entry = entry.map_err(|e| Error::io(root, e))?;
            match entry.file_name() == UNFINISHED {
                true => unfinished = true,
                false => others = true,
            }
        }
        if others && !force {
            return Err(refuse(
                "is not empty; choose another folder, or replace the checkpoint in it with --force",
            ));
        }
        let mut replaced = BTreeSet::from(["model.safetensors".to_owned(), INDEX_FILE.to_owned()]);
        if let Ok(bytes) = read_small(&root.join(INDEX_FILE))
            && let Ok(index) = Index::parse(&bytes)
        {
            // Names that the parser let through are plain: they stay within the folder.
            replaced.extend(index.files().into_iter().map(str::to_owned));
        }
        // What an earlier run made and left unfinished goes with it.
        let made = absent || (unfinished && !others);
        Ok(Self {
            root: root.into(),
            made,
            pending: Vec::new(),
            replaced,
            holds: false,
            journal: None,
        })
    }

    fn clear(&self) -> Result<()> {
        let folder = self.root.join(UNFINISHED);
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder, e)),
            _ => Ok(()),
        }
    }

    /// The files that an earlier run completed: the first ones to be added.
    #[must_use]
    pub fn done(&self) -> &[ShardInfo] {
        self.journal.as_ref().map_or(&[], Journal::done)
    }

    /// Takes only the first `count` of these as complete.
    pub fn truncate_done(&mut self, count: usize) {
        if let Some(journal) = &mut self.journal {
            journal.truncate(count);
        }
    }

    /// Notes that the weight file that was added last is complete.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn complete(&mut self, info: &ShardInfo) -> Result<()> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.add(info))
    }

    /// Lets nothing be continued: what was written goes when this is dropped.
    pub fn forget(&mut self) {
        self.journal = None;
    }

    /// Announces a file and returns the path to write it to; it gets its name, which may be known
    /// only after it was written, from [`OutputFolder::name`].
    pub fn add(&mut self) -> PathBuf {
        let path = unfinished(&self.root, self.pending.len());
        self.pending.push((path.clone(), String::new()));
        path
    }

    /// Names the file that was added last.
    pub fn name(&mut self, name: String) {
        if let Some(last) = self.pending.last_mut() {
            last.1 = name;
        }
    }

    /// Writes a whole small file, such as `qformer_tokenizer/tokenizer.json`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.add();
        self.name(name.to_owned());
        let written = planted::create(&path).and_then(|mut file| file.write_all(bytes));
        written.map_err(|e| Error::io(&path, e))
    }

    /// Gives all files their names, in the order in which they were written, and removes the
    /// weights of a checkpoint that was replaced.
    ///
    /// # Errors
    /// A file cannot be renamed.
    pub fn commit(mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        for (temporary, name) in &pending {
            let path = self.root.join(name);
            if let Some(folder) = path.parent().filter(|folder| *folder != self.root) {
                planted::check_folder(folder)?;
                fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
            }
            fs::rename(temporary, &path).map_err(|e| Error::io(&path, e))?;
            self.made = false;
            self.replaced.remove(name);
        }
        for name in &self.replaced {
            let path = self.root.join(name);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(&path, e));
                }
                _ => {}
            }
        }
        self.forget();
        self.clear()
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        if !self.done().is_empty() {
            return;
        }
        // Nothing can be reported from here, and what stays is removed by the next run.
        if self.holds {
            let _ = self.clear();
        }
        if self.made {
            let _ = fs::remove_dir(&self.root);
        }
    }
}

fn unfinished(root: &Path, number: usize) -> PathBuf {
    root.join(UNFINISHED).join(format!("{number:05}"))
}
