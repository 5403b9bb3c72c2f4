//! The tokenizers and configurations that a conversion copies as they are.
//!
//! In: a checkpoint's folder. Out: the same files in the output. The output is made to be
//! published, and a checkpoint may come from anybody: a link in it could lead to a file of the
//! user's own that is nobody's business. So only files of known names are copied, which lie in
//! the folder itself or, as the hub's cache has it, among the blobs beside its snapshots, and
//! which are JSON objects or vocabularies. A secret that somebody had already put into the
//! checkpoint as such a file goes with it: it is not told apart from a tokenizer.

use super::QFORMER_TOKENIZER;
use super::output::OutputFolder;
use crate::checkpoint::folder;
use crate::error::{Error, Result};
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files that are copied, where the checkpoint has them.
const COPIED: [&str; 7] = [
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// Files of that folder that are copied, too.
const COPIED_INNER: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
];

/// Whether a file of this name is copied.
#[must_use]
pub fn is_copied(name: &str) -> bool {
    let inner = name.strip_prefix(QFORMER_TOKENIZER).and_then(|rest| rest.strip_prefix('/'));
    inner.map_or(COPIED.contains(&name), |inner| COPIED_INNER.contains(&inner))
}

/// Copies the files that are there.
///
/// # Errors
/// A file cannot be read or written, leads out of the checkpoint, or is not what its name says.
pub fn copy(root: &Path, output: &mut OutputFolder) -> Result<()> {
    let inner = COPIED_INNER.map(|name| format!("{QFORMER_TOKENIZER}/{name}"));
    let mut names: Vec<String> = COPIED.map(str::to_owned).into_iter().chain(inner).collect();
    names.sort();
    let homes = homes(root);
    for name in names {
        let path = root.join(&name);
        let real = match path.canonicalize() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(|e| Error::io(&path, e))?,
        };
        let invalid = |reason| Error::ConfigInvalid { file: path.display().to_string(), reason };
        if !homes.iter().any(|home| real.starts_with(home)) {
            return Err(invalid(format!(
                "it is a link to {}, outside of the checkpoint, and would be copied; put the file itself there, or remove the link",
                real.display()
            )));
        }
        if let Some(bytes) = folder::read_optional(root, &name)? {
            check(&name, &bytes).map_err(invalid)?;
            output.write(&name, &bytes)?;
        }
    }
    Ok(())
}

/// Where a checkpoint's files may lie: its folder, and the blobs of the hub's cache that
/// `…/snapshots/COMMIT` has its links to.
fn homes(root: &Path) -> Vec<PathBuf> {
    let Ok(root) = root.canonicalize() else { return Vec::new() };
    let snapshots = root.parent().filter(|parent| parent.ends_with("snapshots"));
    let blobs = snapshots.and_then(Path::parent).map(|folder| folder.join("blobs"));
    // Not where the folder of blobs itself is a link.
    let blobs = blobs.filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()));
    [Some(root), blobs].into_iter().flatten().collect()
}

/// What is wrong with a file's content, if anything.
fn check(name: &str, bytes: &[u8]) -> Result<(), String> {
    if name.ends_with(".json") {
        let object = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(bytes);
        return object.map(|_| ()).map_err(|e| format!("it is not a JSON object ({e})"));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| format!("it is not a vocabulary ({e})"))?;
    match text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        true => Err("it is not a vocabulary: it has control characters".into()),
        false => Ok(()),
    }
}
