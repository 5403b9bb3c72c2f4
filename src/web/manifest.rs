//! What a model consists of: its small files, fetched or stored, and all of them understood
//! before the first shard is asked for.

use std::cell::RefCell;
use std::collections::HashSet;

use crate::checkpoint::index::INDEX_FILE as INDEX;
use crate::checkpoint::{Index, ShardInfo};
use crate::error::{Error, Result};
use crate::models::ModelConfig;
use crate::session::{Blueprint, ModelFiles};
use crate::weights::{Description, Part};

use super::fetch::{self, Fetcher};
use super::store::{Blob, Record, Store};
use super::together::all;

/// A shard holds at most 32 MiB, or one tensor that is larger.
const MAX_SHARD_BYTES: u64 = 256 << 20;
/// The small files. Those from [`REQUIRED`] on may be absent.
const SMALL: [&str; 6] = [
    "config.json",
    INDEX,
    "preprocessor_config.json",
    "tokenizer.json",
    "generation_config.json",
    "qformer_tokenizer/tokenizer.json",
];
const REQUIRED: usize = 4;

/// The small files in the order of [`SMALL`], from the network, or from the store where the
/// network is out of reach and the model is complete.
///
/// # Errors
/// They can be had neither way, or the visitor cancelled.
pub async fn small_files(
    base: &str,
    store: &Store,
    how: &mut Fetcher<'_>,
) -> Result<Vec<Option<Vec<u8>>>> {
    let stored = store.model(base).await;
    if stored.is_some() {
        how.tries = 1; // there is another way
    }
    let fetched = fetch_small(base, how).await;
    how.tries = fetch::TRIES;
    match (fetched, stored) {
        (Err(Error::Network { url, reason }), Some(record)) => {
            let found = stored_small(&record, store).await;
            found.ok_or(Error::Network { url, reason })
        }
        (fetched, _) => fetched,
    }
}

async fn fetch_small(base: &str, how: &Fetcher<'_>) -> Result<Vec<Option<Vec<u8>>>> {
    let urls = SMALL.map(|name| format!("{base}{name}"));
    let found: [RefCell<Option<Vec<u8>>>; SMALL.len()] = Default::default();
    let fetches = urls.iter().zip(&found).map(|(url, place)| async move {
        let file = fetch::small(url, how).await?;
        place.replace(file);
        Ok(())
    });
    all(fetches).await?;
    Ok(found.into_iter().map(RefCell::into_inner).collect())
}

/// `None` where one of them is gone or damaged.
async fn stored_small(record: &Record, store: &Store) -> Option<Vec<Option<Vec<u8>>>> {
    let mut found = vec![None; SMALL.len()];
    for blob in &record.files {
        let place = SMALL.iter().position(|name| *name == blob.name)?;
        let bytes = store.get(&blob.sha256).await?.to_vec();
        if Blob::of(&blob.name, &bytes) != *blob {
            return None;
        }
        *found.get_mut(place)? = Some(bytes);
    }
    Some(found)
}

/// Parses the small files, so that a malformed one is noticed now.
///
/// # Errors
/// One is missing or malformed, or does not fit the others.
pub fn parse(base: &str, small: &[Option<Vec<u8>>]) -> Result<(Blueprint, Index)> {
    for (name, file) in SMALL.iter().zip(small).take(REQUIRED) {
        if file.is_none() {
            return Err(fetch::missing(&format!("{base}{name}")));
        }
    }
    let file = |name: &str| {
        let place = SMALL.iter().position(|known| *known == name);
        place.and_then(|place| small.get(place)).cloned().flatten()
    };
    let required = |name: &str| file(name).unwrap_or_default();
    let index = Index::parse(&required(INDEX))?;
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
    let invalid = |reason: String| Error::IndexInvalid { file: INDEX.into(), reason };
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
