//! What a model consists of: its small files, fetched or stored, and all of them understood
//! before the first shard is asked for.

use std::cell::RefCell;

use crate::checkpoint::index::INDEX_FILE as INDEX;
use crate::checkpoint::{Index, ShardInfo};
use crate::config::{GenerationConfig, ModelConfig, PreprocessorConfig};
use crate::error::{Error, Result};
use crate::session::ModelFiles;
use crate::text::Tokenizers;

use super::fetch::{self, Fetcher};
use super::store::{Blob, Record, Store};
use super::together::all;

/// A shard holds at most 32 MiB, or one tensor that is larger.
const MAX_SHARD_BYTES: u64 = 256 << 20;
/// Tokenizers are the largest of the small files: a few MB.
const MAX_SMALL_BYTES: usize = 64 << 20;
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
        let file = fetch::small(url, MAX_SMALL_BYTES, how).await?;
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

/// The small files, understood.
pub struct Manifest {
    /// `config.json`.
    pub config: ModelConfig,
    /// The files as the session takes them.
    pub files: ModelFiles,
    /// The index.
    pub index: Index,
}

impl Manifest {
    /// Parses all of them, so that a malformed one is noticed now.
    ///
    /// # Errors
    /// One is missing or malformed, or does not fit the others.
    pub fn parse(base: &str, small: &[Option<Vec<u8>>]) -> Result<Self> {
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
        let files = ModelFiles {
            config: required("config.json"),
            preprocessor: required("preprocessor_config.json"),
            generation: file("generation_config.json"),
            t5_tokenizer: required("tokenizer.json"),
            qformer_tokenizer: file("qformer_tokenizer/tokenizer.json"),
        };
        let config = ModelConfig::parse(&files.config)?;
        PreprocessorConfig::parse(&files.preprocessor)?.check_fits(&config)?;
        if let Some(generation) = &files.generation {
            GenerationConfig::parse(generation)?;
        }
        Tokenizers::new(&files.t5_tokenizer, files.qformer_tokenizer.as_deref(), &config)?;
        Ok(Self { config, files, index })
    }
}

/// The store's record of a model.
pub fn record_of(
    base: &str,
    config: &ModelConfig,
    small: &[Option<Vec<u8>>],
    shards: &[(String, ShardInfo)],
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
            .map(|(name, info)| Blob {
                name: name.clone(),
                bytes: info.bytes as u32, // at most MAX_SHARD_BYTES
                sha256: info.sha256.clone(),
            })
            .collect(),
    }
}

/// The index's shards with their lengths and hashes, which a plain checkpoint does not have.
///
/// # Errors
/// There are none, or one is empty or too long.
pub fn shards_of(index: &Index) -> Result<Vec<(String, ShardInfo)>> {
    let invalid = |reason: String| Error::IndexInvalid { file: INDEX.into(), reason };
    let shards = index.shards.iter();
    let shards: Vec<_> = shards.map(|(file, info)| (file.clone(), info.clone())).collect();
    if shards.is_empty() {
        return Err(invalid(
            "it has no lengths and hashes of its shards. Convert the checkpoint with `instructblip convert` first".into(),
        ));
    }
    for (file, info) in &shards {
        if info.bytes == 0 || info.bytes > MAX_SHARD_BYTES {
            return Err(invalid(format!(
                "{file} has {} bytes; a shard has 1 to {MAX_SHARD_BYTES}",
                info.bytes
            )));
        }
    }
    Ok(shards)
}
