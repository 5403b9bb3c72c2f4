//! What the server says a revision holds: the commit and its files with lengths and hashes.
//!
//! In: the server's JSON. Out: a [`Listing`] whose commit and hashes have their forms, and whose
//! names are those a conversion reads: they may be used in paths. Anything else is refused.

use super::client::{Client, Failure, shown};
use super::is_small_file;
use crate::checkpoint::index::INDEX_FILE;
use crate::limits::{self, MAX_TERMS, is_terms};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Longest list of files that is read, in bytes.
const MAX_LISTING: u64 = 8 << 20;

/// Most files in a list.
const MAX_FILES: usize = 20_000;

/// Longest file of weights.
const MAX_WEIGHTS: u64 = 1 << 40;

/// The files of a commit that a conversion may read.
#[derive(Debug)]
pub struct Listing {
    /// The commit: 40 digits.
    pub commit: String,
    files: BTreeMap<String, RemoteFile>,
}

/// A file in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its length, where the list names it.
    pub size: Option<u64>,
    /// The hash of its bytes, where the list names it.
    pub digest: Option<Digest>,
    /// The most bytes it may have.
    pub limit: u64,
}

/// The hash of a file: also its name among the cache's blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256, of files in large-file storage: 64 digits.
    Sha256(String),
    /// Git's SHA-1 of length and content, of all others: 40 digits.
    Git(String),
}

impl Digest {
    /// Its hexadecimal digits.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::Git(hex) => hex,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Listing {
    /// Asks the server.
    pub fn fetch(client: &Client, url: &str) -> Result<Self, Failure> {
        Self::parse(&client.read(url, MAX_LISTING)?).map_err(Failure::Refused)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let answer: Answer = serde_json::from_slice(bytes)
            .map_err(|e| format!("its list of files cannot be read ({e})"))?;
        if !is_hex(&answer.sha, 40) {
            return Err(format!("{} is not the name of a commit", shown(&answer.sha)));
        }
        if answer.siblings.len() > MAX_FILES {
            return Err(format!("it lists more than {MAX_FILES} files"));
        }
        let mut files = BTreeMap::new();
        for sibling in answer.siblings {
            let Some(limit) = limit(&sibling.rfilename) else { continue };
            let file = sibling.check(limit)?;
            if files.insert(sibling.rfilename.clone(), file).is_some() {
                return Err(format!("it lists {} twice", sibling.rfilename));
            }
        }
        if files.keys().filter(|name| is_terms(name)).count() > MAX_TERMS {
            return Err(format!("it lists more than {MAX_TERMS} files of terms"));
        }
        Ok(Self { commit: answer.sha, files })
    }

    /// The file of this name.
    pub fn file(&self, name: &str) -> Option<&RemoteFile> {
        self.files.get(name)
    }

    /// The file of this name, and the name as the list has it.
    pub fn entry(&self, name: &str) -> Option<(&str, &RemoteFile)> {
        self.files.get_key_value(name).map(|(name, file)| (name.as_str(), file))
    }

    /// Configurations, tokenizers and texts.
    pub fn small_files(&self) -> impl Iterator<Item = (&str, &RemoteFile)> {
        let files = self.files.iter().map(|(name, file)| (name.as_str(), file));
        files.filter(|(name, _)| is_small_file(name))
    }
}

impl Sibling {
    fn check(&self, limit: u64) -> Result<RemoteFile, String> {
        let name = &self.rfilename;
        let large = self.lfs.as_ref().and_then(|lfs| lfs.size);
        if let (Some(one), Some(other)) = (self.size, large)
            && one != other
        {
            return Err(format!("it lists {name} with {one} bytes and with {other}"));
        }
        let size = self.size.or(large);
        if let Some(size) = size.filter(|size| *size > limit) {
            return Err(format!("{name} has {size} bytes, more than {limit}"));
        }
        // The id of a file in large-file storage is that of a pointer to it.
        let digest = match &self.lfs {
            Some(lfs) => lfs.sha256.clone().map(Digest::Sha256),
            None => self.blob_id.clone().map(Digest::Git),
        };
        let digits = |digest: &Digest| if matches!(digest, Digest::Git(_)) { 40 } else { 64 };
        if let Some(digest) = digest.as_ref().filter(|d| !is_hex(d.hex(), digits(d))) {
            return Err(format!("{} is not a hash of {name}", shown(digest.hex())));
        }
        Ok(RemoteFile { size, digest, limit })
    }
}

/// The most bytes of a file with this name; `None` where no conversion reads it.
fn limit(name: &str) -> Option<u64> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
    if is_small_file(name) || name == INDEX_FILE {
        Some(limits::limit(name) as u64)
    } else {
        let weights = name.ends_with(".safetensors") && !name.starts_with('.');
        (weights && name.bytes().all(plain)).then_some(MAX_WEIGHTS)
    }
}

/// Whether the text is `digits` hexadecimal digits, as hashes are written.
fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
