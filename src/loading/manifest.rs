//! What a model consists of: its small files understood, and its shards in the order of loading,
//! before the first shard is asked for.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::index::{INDEX_FILE, hex};
use crate::checkpoint::{Index, ShardInfo};
use crate::error::{Error, Result};
use crate::models::ModelConfig;
use crate::session::{Blueprint, ModelFiles};
use crate::weights::{Description, Part};

/// A shard holds at most 32 MiB, or one tensor that is larger.
const MAX_SHARD_BYTES: u64 = 256 << 20;
/// The small files. The first [`REQUIRED`] must be there.
pub const SMALL: [&str; 6] = [
    "config.json",
    INDEX_FILE,
    "preprocessor_config.json",
    "tokenizer.json",
    "generation_config.json",
    "qformer_tokenizer/tokenizer.json",
];
/// How many of [`SMALL`] every model has.
pub const REQUIRED: usize = 4;

/// A file under its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// The file's name in its folder.
    pub name: String,
    /// Its length.
    pub bytes: u32,
    /// Its SHA-256.
    pub sha256: String,
}

impl Blob {
    /// The entry for a small file.
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        let sha256 = hex(&Sha256::digest(bytes));
        Self { name: name.into(), bytes: bytes.len() as u32, sha256 }
    }
}

/// What a model consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The folder's address.
    pub url: String,
    /// The folder's name.
    pub name: String,
    /// How the weights are packed.
    pub format: String,
    /// The small files.
    pub files: Vec<Blob>,
    /// The shards, in loading order.
    pub shards: Vec<Blob>,
}

/// The error for a file that the host does not have.
#[must_use]
pub fn missing(url: &str) -> Error {
    Error::Network {
        url: url.into(),
        reason: "there is no such file (404). Is this the folder of a model converted by `instructblip convert`?".into(),
    }
}

/// The error for a web page in the place of a file.
#[must_use]
pub fn web_page(url: &str) -> Error {
    Error::Network {
        url: url.into(),
        reason: "the host sent a web page instead. Is this the folder of a model converted by `instructblip convert`?".into(),
    }
}

/// Parses the small files, so that a malformed one is noticed now.
///
/// # Errors
/// One is missing or malformed, or does not fit the others.
pub fn parse(base: &str, small: &[Option<Vec<u8>>]) -> Result<(Blueprint, Index)> {
    for (name, file) in SMALL.iter().zip(small).take(REQUIRED) {
        if file.is_none() {
            return Err(missing(&format!("{base}{name}")));
        }
    }
    let file = |name: &str| {
        let place = SMALL.iter().position(|known| *known == name);
        place.and_then(|place| small.get(place)).cloned().flatten()
    };
    let required = |name: &str| file(name).unwrap_or_default();
    let index = Index::parse(&required(INDEX_FILE))?;
    let blueprint = Blueprint::parse(&ModelFiles {
        config: required("config.json"),
        preprocessor: required("preprocessor_config.json"),
        generation: file("generation_config.json"),
        tokenizer: required("tokenizer.json"),
        qformer_tokenizer: file("qformer_tokenizer/tokenizer.json"),
    })?;
    Ok((blueprint, index))
}

/// The store's record of a model.
pub fn record_of(
    base: &str,
    config: &ModelConfig,
    small: &[Option<Vec<u8>>],
    shards: &[Shard],
) -> Record {
    let files = SMALL.iter().zip(small);
    let format = config.quantization_config.as_ref();
    Record {
        url: base.into(),
        name: base.trim_end_matches('/').rsplit('/').next().unwrap_or_default().into(),
        format: format.map_or_else(|| "f32".into(), |packed| packed.format.to_string()),
        files: files.filter_map(|(name, file)| Some(Blob::of(name, file.as_ref()?))).collect(),
        shards: shards
            .iter()
            .map(|Shard { file, info, .. }| Blob {
                name: file.clone(),
                bytes: info.bytes as u32, // at most MAX_SHARD_BYTES
                sha256: info.sha256.clone(),
            })
            .collect(),
    }
}

/// A shard to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its file.
    pub file: String,
    /// What the index promises about it.
    pub info: ShardInfo,
    /// Whether the vision tower needs it.
    pub vision: bool,
}

/// The index's shards, those that the vision tower needs first. A plain checkpoint's index lacks
/// the lengths and hashes.
///
/// # Errors
/// There are none, or one is empty or too long.
pub fn shards_of(index: &Index, description: &Description) -> Result<Vec<Shard>> {
    let invalid = |reason: String| Error::IndexInvalid { file: INDEX_FILE.into(), reason };
    let names = index.weight_map.iter();
    let vision: HashSet<&String> = names
        .filter(|(tensor, _)| description.part(tensor) == Part::Vision)
        .map(|(_, file)| file)
        .collect();
    let shards = index.shards.iter();
    let mut shards: Vec<Shard> = shards
        .map(|(file, info)| Shard {
            file: file.clone(),
            info: info.clone(),
            vision: vision.contains(file),
        })
        .collect();
    shards.sort_by_key(|shard| !shard.vision);
    if shards.is_empty() {
        return Err(invalid(
            "it has no lengths and hashes of its shards. Convert the checkpoint with `instructblip convert` first".into(),
        ));
    }
    for Shard { file, info, .. } in &shards {
        if info.bytes == 0 || info.bytes > MAX_SHARD_BYTES {
            return Err(invalid(format!(
                "{file} has {} bytes; a shard has 1 to {MAX_SHARD_BYTES}",
                info.bytes
            )));
        }
    }
    Ok(shards)
}
