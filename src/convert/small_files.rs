//! The tokenizers, configurations and texts that a conversion copies as they are.
//!
//! In: a checkpoint's folder. Out: the same files in the output. The output is made to be
//! published, and a checkpoint may come from anybody: a link in it could lead to a file of the
//! user's own that is nobody's business. So only files of known names are copied, which lie in
//! the folder itself or, as the hub's cache has it, among the blobs beside its snapshots, and
//! which are what their names say: JSON objects, SentencePiece models, vocabularies or other
//! texts. A secret that somebody had already put into the checkpoint as such a file goes with
//! it: it is not told apart from a tokenizer.

use super::output::OutputFolder;
use super::{QFORMER_TOKENIZER, card};
use crate::checkpoint::folder;
use crate::error::{Error, Result};
use crate::limits::{MAX_TERMS, is_terms};
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Files that are copied, where the checkpoint has them; besides these its terms of use.
const COPIED: [&str; 11] = [
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    SENTENCE_PIECES,
    "chat_template.json",
    "chat_template.jinja",
    card::FILE,
];

/// The language model's tokenizer, for the classes that read it in its own form.
const SENTENCE_PIECES: &str = "spiece.model";

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
    let outer = || COPIED.contains(&name) || is_terms(name);
    inner.map_or_else(outer, |inner| COPIED_INNER.contains(&inner))
}

/// Copies the files that are there, save for a card that a conversion wrote, and returns their
/// names.
///
/// # Errors
/// A file cannot be read or written, leads out of the checkpoint, or is not what its name says;
/// or there are absurdly many with terms of use.
pub fn copy(root: &Path, output: &mut OutputFolder) -> Result<BTreeSet<String>> {
    copy_if(root, output, |_| true)
}

/// As [`copy`], but without the card, which tells of other weights.
///
/// # Errors
/// As [`copy`].
pub fn copy_tokenizers(root: &Path, output: &mut OutputFolder) -> Result<()> {
    copy_if(root, output, |name| name != card::FILE).map(drop)
}

fn copy_if(
    root: &Path,
    output: &mut OutputFolder,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeSet<String>> {
    let inner = COPIED_INNER.map(|name| format!("{QFORMER_TOKENIZER}/{name}"));
    let mut names: BTreeSet<String> = COPIED.map(str::to_owned).into_iter().chain(inner).collect();
    names.append(&mut terms(root)?);
    names.retain(|name| wanted(name));
    let mut copied = BTreeSet::new();
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
            if name == card::FILE && card::is_ours(&bytes) {
                continue; // it tells of the source
            }
            check(&name, &bytes).map_err(invalid)?;
            output.write(&name, &bytes)?;
            copied.insert(name);
        }
    }
    Ok(copied)
}

/// The names of the files with terms of use.
fn terms(root: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root).map_err(|e| Error::io(root, e))? {
        let entry = entry.map_err(|e| Error::io(root, e))?;
        let name = entry.file_name().into_string().ok().filter(|name| is_terms(name));
        // A folder `LICENSES` is left alone.
        names.extend(name.filter(|_| !entry.path().is_dir()));
        if names.len() > MAX_TERMS {
            let reason = format!("it has more than {MAX_TERMS} files named LICENSE… or NOTICE…");
            return Err(Error::ConfigInvalid { file: root.display().to_string(), reason });
        }
    }
    Ok(names)
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
    if name == SENTENCE_PIECES {
        return match is_sentence_pieces(bytes) {
            true => Ok(()),
            false => Err("it is not a SentencePiece model".into()),
        };
    }
    let text = std::str::from_utf8(bytes).map_err(|e| format!("it is not a text ({e})"))?;
    // Old licences turn pages.
    match text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}')) {
        true => Err("it is not a text: it has control characters".into()),
        false => Ok(()),
    }
}

/// Whether these are the parts of a protocol-buffer message `ModelProto`: pieces first, each part
/// with its number, its length and as many bytes, to the end.
fn is_sentence_pieces(bytes: &[u8]) -> bool {
    const PIECE: u64 = 1;
    const LAST_PART: u64 = 5;
    const FIRST_EXTENSION: u64 = 200;
    const WITH_LENGTH: u64 = 2;
    let mut rest = bytes;
    let mut is_first = true;
    while !rest.is_empty() {
        let Some((key, after)) = varint(rest) else { return false };
        let Some((length, after)) = varint(after) else { return false };
        let known = match key >> 3 {
            PIECE => true,
            part => !is_first && (part <= LAST_PART || part >= FIRST_EXTENSION),
        };
        let Some(next) = usize::try_from(length).ok().and_then(|length| after.get(length..)) else {
            return false;
        };
        if !known || key & 7 != WITH_LENGTH {
            return false;
        }
        (rest, is_first) = (next, false);
    }
    !is_first
}

/// A number of seven bits a byte, least first, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().take(9).position(|byte| byte & 0x80 == 0)? + 1;
    let (number, rest) = bytes.split_at(length);
    Some((number.iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f)), rest))
}

#[cfg(test)]
mod tests {
    use super::is_sentence_pieces;

    #[test]
    fn a_sentence_piece_model_is_told_from_other_files() {
        let piece = [0x0a, 3, 0x0a, 1, b'a'];
        let trainer = [0x12, 0x80, 0x01].iter().chain(&[0; 128]).copied().collect::<Vec<u8>>();
        assert!(is_sentence_pieces(&piece));
        assert!(is_sentence_pieces(&[&piece[..], &piece, &trainer].concat()));
        for other in [
            &b""[..],
            b"{}",
            b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
            b"\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUA\n",
            &piece[..4],
            &trainer,
            &[&piece[..], &[0x0a]].concat(),
            &[&piece[..], &[0x08, 1]].concat(),
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert!(!is_sentence_pieces(other), "{other:?}");
        }
    }
}
