//! `model.safetensors.index.json`: which file holds which tensor.
//!
//! In: the file's bytes. Out: the map from tensor to file, and, for a shard set, the shards in
//! the order in which they are loaded with their lengths and SHA-256. File names are those of
//! a stranger: only plain names within the folder pass.

use crate::error::{Error, Result};
use crate::limits;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

pub use crate::limits::INDEX_FILE;

/// Longest file name of a shard.
const MAX_NAME: usize = 255;

/// What an index promises about a shard's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the file, 64 small hexadecimal digits.
    pub sha256: String,
}

impl ShardInfo {
    /// Checks the bytes of the shard `file` against length and hash.
    ///
    /// # Errors
    /// [`Error::ShardCorrupt`] saying which of the two differs.
    pub fn check(&self, file: &str, bytes: &[u8]) -> Result<()> {
        self.check_length(file, bytes.len() as u64)?;
        self.check_digest(file, &Sha256::digest(bytes))
    }

    /// Checks the length alone, before anything is read.
    ///
    /// # Errors
    /// [`Error::ShardCorrupt`] where it differs.
    pub fn check_length(&self, file: &str, bytes: u64) -> Result<()> {
        if bytes == self.bytes {
            return Ok(());
        }
        Err(corrupt(file, format!("it has {bytes} bytes, the index says {}", self.bytes)))
    }

    /// Checks a SHA-256 that was computed elsewhere.
    ///
    /// # Errors
    /// [`Error::ShardCorrupt`] where it differs.
    pub fn check_digest(&self, file: &str, digest: &[u8]) -> Result<()> {
        if hex(digest) == self.sha256 {
            return Ok(());
        }
        Err(corrupt(file, "its SHA-256 is not the one in the index".into()))
    }
}

/// A parsed index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Index {
    /// Tensor name to file name.
    pub weight_map: BTreeMap<String, String>,
    /// A shard set's files in loading order; empty for other checkpoints.
    pub shards: Vec<(String, ShardInfo)>,
}

impl Index {
    /// Parses an index.
    ///
    /// # Errors
    /// [`Error::IndexInvalid`] with what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        limits::check(INDEX_FILE, bytes.len() as u64)?;
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8".into()))?;
        let raw: RawIndex =
            serde_json::from_str(text).map_err(|e| invalid(format!("it cannot be read ({e})")))?;
        if raw.weight_map.0.is_empty() {
            return Err(invalid("it names no tensors".into()));
        }
        let mut weight_map = BTreeMap::new();
        let mut files = BTreeSet::new();
        for (tensor, file) in raw.weight_map.0 {
            check_file_name(&file)?;
            files.insert(file.clone());
            weight_map.insert(tensor, file);
        }
        let shards = raw.metadata.shards.0;
        for (file, info) in &shards {
            check_file_name(file)?;
            let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            if info.sha256.len() != 64 || !info.sha256.bytes().all(digit) {
                return Err(invalid(format!(
                    "the SHA-256 of {file} is not 64 small hexadecimal digits"
                )));
            }
        }
        if !shards.is_empty() {
            let listed: BTreeSet<&str> = shards.iter().map(|(file, _)| file.as_str()).collect();
            if let Some(file) = files.iter().find(|file| !listed.contains(file.as_str())) {
                return Err(invalid(format!("{file} has tensors, but neither length nor SHA-256")));
            }
            if let Some(file) = listed.iter().find(|file| !files.contains(**file)) {
                return Err(invalid(format!("the shard {file} has no tensors")));
            }
            let total = shards.iter().try_fold(0u64, |sum, (_, info)| sum.checked_add(info.bytes));
            if total.is_none() {
                return Err(invalid("the lengths of the shards overflow".into()));
            }
        }
        Ok(Self { weight_map, shards })
    }

    /// The files in loading order: that of the shard set, or else by name.
    #[must_use]
    pub fn files(&self) -> Vec<&str> {
        if self.shards.is_empty() {
            let names: BTreeSet<&str> = self.weight_map.values().map(String::as_str).collect();
            return names.into_iter().collect();
        }
        self.shards.iter().map(|(file, _)| file.as_str()).collect()
    }

    /// What the index promises about `file`; `None` where it promises nothing.
    #[must_use]
    pub fn shard(&self, file: &str) -> Option<&ShardInfo> {
        self.shards.iter().find(|(name, _)| name == file).map(|(_, info)| info)
    }

    /// Bytes of all shards' files together; 0 for other checkpoints.
    #[must_use]
    pub fn shard_bytes(&self) -> u64 {
        self.shards.iter().map(|(_, info)| info.bytes).sum()
    }
}

/// Small hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Accepts plain names like `model-00001-of-00002.safetensors` only: no folder, no scheme, no
/// character that a path, an address or a terminal gives a meaning to.
fn check_file_name(name: &str) -> Result<()> {
    let plain =
        name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'));
    let named = name.strip_suffix(".safetensors").is_some_and(|stem| !stem.is_empty());
    if plain && named && !name.starts_with('.') && !name.contains("..") && name.len() <= MAX_NAME {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(invalid(format!(
        "it names the file {shown:?}; only plain names of .safetensors files beside it are allowed"
    )))
}

fn invalid(reason: String) -> Error {
    Error::IndexInvalid { file: INDEX_FILE.into(), reason }
}

fn corrupt(file: &str, reason: String) -> Error {
    Error::ShardCorrupt { file: file.into(), reason }
}

#[derive(Deserialize)]
struct RawIndex {
    #[serde(default)]
    metadata: RawMetadata,
    weight_map: Pairs<String>,
}

#[derive(Deserialize, Default)]
struct RawMetadata {
    #[serde(default)]
    shards: Pairs<ShardInfo>,
}

/// A JSON object in its own order, without a key that comes twice.
struct Pairs<T>(Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let (mut pairs, mut seen) = (Vec::new(), BTreeSet::new());
                while let Some((key, value)) = map.next_entry::<String, T>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format!("{key:?} comes twice")));
                    }
                    pairs.push((key, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn reason(json: &str) -> String {
        let error = Index::parse(json.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "index-invalid");
        error.to_string()
    }

    #[test]
    fn reads_a_plain_index() {
        let json = r#"{"metadata":{"total_size":12.0,"other":[1]},"weight_map":{"b":"y.safetensors","a":"x-1_2.safetensors"}}"#;
        let index = Index::parse(json.as_bytes()).unwrap();
        assert_eq!(index.files(), ["x-1_2.safetensors", "y.safetensors"]);
        assert_eq!(index.shard("y.safetensors"), None);
    }

    #[test]
    fn keeps_the_order_of_a_shard_set() {
        let hash = "0123456789abcdef".repeat(4);
        let json = format!(
            r#"{{"metadata":{{"shards":{{"z.safetensors":{{"bytes":3,"sha256":"{hash}"}},"a.safetensors":{{"bytes":4,"sha256":"{hash}"}}}}}},
            "weight_map":{{"p":"a.safetensors","q":"z.safetensors"}}}}"#
        );
        let index = Index::parse(json.as_bytes()).unwrap();
        assert_eq!(index.files(), ["z.safetensors", "a.safetensors"]);
        assert_eq!(index.shard_bytes(), 7);
    }

    #[test]
    fn refuses_names_that_leave_the_folder() {
        for name in [
            "",
            ".safetensors",
            "../x.safetensors",
            "..safetensors",
            "a/b.safetensors",
            "a\\\\b.safetensors",
            "/etc/passwd",
            "C:x.safetensors",
            "http://host/x.safetensors",
            "x.safetensors?y.safetensors",
            "%2e%2e%2fx.safetensors",
            "x.bin",
            "x\\u0000.safetensors",
            "\\u202ex.safetensors",
        ] {
            let said = reason(&format!(r#"{{"weight_map":{{"a":"{name}"}}}}"#));
            assert!(said.contains("plain names"), "{name}: {said}");
        }
        let long = "x".repeat(300);
        assert!(
            reason(&format!(r#"{{"weight_map":{{"a":"{long}.safetensors"}}}}"#))
                .contains("plain names")
        );
    }

    #[test]
    fn refuses_what_is_malformed() {
        for json in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"weight_map":{}}"#,
            r#"{"weight_map":{"a":1}}"#,
            r#"{"weight_map":[]}"#,
        ] {
            reason(json);
        }
        assert!(
            reason(r#"{"weight_map":{"a":"x.safetensors","a":"x.safetensors"}}"#).contains("twice")
        );
        assert_eq!(Index::parse(b"\xff\xfe").unwrap_err().code(), "index-invalid");
        let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        reason(&format!(r#"{{"weight_map":{{"a":{nested}}}}}"#));
    }

    #[test]
    fn what_nobody_reads_is_passed_over() {
        let with = |size: &str| {
            let json = format!(
                r#"{{"metadata":{{"total_size":{size}}},"weight_map":{{"a":"x.safetensors"}}}}"#
            );
            Index::parse(json.as_bytes())
        };
        let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for size in [&nested, "[0,{}]", "null", "-1", "0.5", "\"7\"", "{\"a\":1}"] {
            assert!(with(size).is_ok(), "{size}");
        }
        assert!(with(&format!("[{}0]", "0,".repeat(4_000_000))).is_ok());
        let said = with(&format!("[{}0]", "0,".repeat(31_000_000))).unwrap_err().to_string();
        assert!(said.contains("62000066 bytes, more than the 8388608"), "{said}");
    }

    #[test]
    fn refuses_a_shard_list_that_does_not_fit() {
        let hash = "0".repeat(64);
        let with = |shards: &str| {
            reason(&format!(
                r#"{{"metadata":{{"shards":{{{shards}}}}},"weight_map":{{"a":"x.safetensors"}}}}"#
            ))
        };
        assert!(
            with(&format!(r#""y.safetensors":{{"bytes":1,"sha256":"{hash}"}}"#))
                .contains("neither")
        );
        assert!(with(r#""x.safetensors":{"bytes":1,"sha256":"zz"}"#).contains("hexadecimal"));
        assert!(with(r#""x.safetensors":{"bytes":-1,"sha256":"zz"}"#).contains("cannot be read"));
        let both = format!(
            r#""x.safetensors":{{"bytes":1,"sha256":"{hash}"}},"y.safetensors":{{"bytes":1,"sha256":"{hash}"}}"#
        );
        assert!(with(&both).contains("no tensors"));
    }

    #[test]
    fn checks_length_and_hash() {
        let info = ShardInfo { bytes: 3, sha256: hex(&Sha256::digest(b"abc")) };
        assert!(info.check("x", b"abc").is_ok());
        for bytes in [&b"abcd"[..], b"abd", b""] {
            assert_eq!(info.check("x", bytes).unwrap_err().code(), "shard-corrupt");
        }
    }
}
