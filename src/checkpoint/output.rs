//! A folder that is written whole or not at all.
//!
//! Everything goes to files with a temporary name; [`OutputFolder::commit`] gives them their
//! own, the index last. Dropped before that, on an error or when the user cancels, it leaves
//! the folder as it was.

use super::index::{INDEX_FILE, Index};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The names of temporary files, which a killed run may leave behind.
const TEMPORARY: (&str, &str) = (".instructblip-", ".partial");

/// A folder that is being written.
#[derive(Debug)]
pub struct OutputFolder {
    root: PathBuf,
    /// Whether the folder was made here, and goes when nothing is committed.
    made: bool,
    /// Temporary file and final name, relative to the folder.
    pending: Vec<(PathBuf, String)>,
    /// Weight files of the checkpoint that is replaced.
    replaced: BTreeSet<String>,
}

impl OutputFolder {
    /// Starts writing to `root`. A folder that is not empty is an error unless `force` says
    /// that the checkpoint in it is to be replaced; other files in it stay.
    ///
    /// # Errors
    /// The folder cannot be made, is not empty, or is `source`.
    pub fn create(root: &Path, source: &Path, force: bool) -> Result<Self> {
        let refuse = |reason: &str| Error::OptionInvalid {
            option: "output folder".into(),
            reason: format!("{} {reason}", root.display()),
        };
        let made = !root.exists();
        fs::create_dir_all(root).map_err(|e| Error::io(root, e))?;
        if let (Ok(a), Ok(b)) = (root.canonicalize(), source.canonicalize())
            && a == b
        {
            return Err(refuse("is the source; choose another folder"));
        }
        let mut empty = true;
        for entry in fs::read_dir(root).map_err(|e| Error::io(root, e))? {
            let entry = entry.map_err(|e| Error::io(root, e))?;
            let name = entry.file_name();
            let left_behind = name
                .to_str()
                .is_some_and(|n| n.starts_with(TEMPORARY.0) && n.ends_with(TEMPORARY.1));
            if left_behind {
                fs::remove_file(entry.path()).map_err(|e| Error::io(entry.path(), e))?;
            } else {
                empty = false;
            }
        }
        if !empty && !force {
            return Err(refuse(
                "is not empty; choose another folder, or replace the checkpoint in it with --force",
            ));
        }
        let mut replaced = BTreeSet::from(["model.safetensors".to_owned(), INDEX_FILE.to_owned()]);
        if let Ok(bytes) = fs::read(root.join(INDEX_FILE))
            && let Ok(index) = Index::parse(&bytes)
        {
            // Names that the parser let through are plain: they stay within the folder.
            replaced.extend(index.files().into_iter().map(str::to_owned));
        }
        Ok(Self { root: root.into(), made, pending: Vec::new(), replaced })
    }

    /// Announces a file and returns the temporary path to write it to; it gets its name, which
    /// may be known only after it was written, from [`OutputFolder::name`].
    pub fn add(&mut self) -> PathBuf {
        let path =
            self.root.join(format!("{}{:05}{}", TEMPORARY.0, self.pending.len(), TEMPORARY.1));
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
        fs::write(&path, bytes).map_err(|e| Error::io(&path, e))
    }

    /// Gives all files their names, in the order in which they were written, and removes the
    /// weights of a checkpoint that was replaced.
    ///
    /// # Errors
    /// A file cannot be renamed.
    pub fn commit(mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.made = false;
        for (temporary, name) in &pending {
            let path = self.root.join(name);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
            }
            fs::rename(temporary, &path).map_err(|e| Error::io(&path, e))?;
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
        Ok(())
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        // Nothing can be reported from here, and what stays is removed by the next run.
        for (temporary, _) in &self.pending {
            let _ = fs::remove_file(temporary);
        }
        if self.made {
            let _ = fs::remove_dir(&self.root);
        }
    }
}
