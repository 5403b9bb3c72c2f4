//! Streams a shard set into GPU buffers.
//!
//! In: the address of a folder. Out: a [`Session`] with every weight on the GPU.
//! [`LANES`] shards are fetched at a time, their bytes outside wasm memory; each is verified, then
//! passes through one reused buffer to the GPU, so that wasm memory holds one shard, not a model.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use js_sys::{Function, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortSignal;

use crate::checkpoint::store::WeightStore;
use crate::checkpoint::{Dtype, Header, Index, ShardInfo};
use crate::config::{GenerationConfig, ModelConfig, PreprocessorConfig};
use crate::error::{Error, Result};
use crate::fit::Needs;
use crate::quant::GROUP;
use crate::session::{ModelFiles, Session};
use crate::text::Tokenizers;

use super::cancel::Cancel;
use super::fetch::{self, Body, Fetcher};
use super::progress::{Meter, Phase};
use super::store::{Blob, JsStore, Record, Store};
use super::turn::Turn;
use super::{gpu, js};

/// Shards in flight.
const LANES: usize = 4;
/// A shard holds at most 32 MiB, or one tensor that is larger.
const MAX_SHARD_BYTES: u64 = 256 << 20;
/// Tokenizers are the largest of the small files: a few MB.
const MAX_SMALL_BYTES: usize = 64 << 20;
const INDEX: &str = "model.safetensors.index.json";
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

/// What `Model.load` was asked.
pub struct Request {
    /// The folder's address.
    pub url: String,
    /// The visitor's signal.
    pub signal: Option<AbortSignal>,
    /// Told of progress.
    pub on_progress: Option<Function>,
    /// The browser's storage; absent where it is denied or not wanted.
    pub store: Option<JsStore>,
    /// Milliseconds of silence after which a server is asked again.
    pub stall_timeout_ms: Option<f64>,
}

/// What was loaded.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// The folder's name.
    pub name: String,
    /// How the weights are packed.
    pub format: String,
    /// Weights, counted unpacked.
    pub parameters: f64,
    /// Bytes of all shards.
    pub bytes: f64,
}

/// Loads a model. What can be checked is checked before gigabytes are fetched, not after.
///
/// # Errors
/// No GPU, a model that does not fit it, a file that cannot be fetched or is malformed, a shard
/// that stays damaged, a tensor that does not fit, or the visitor cancelled.
pub async fn load(request: Request) -> Result<(Session, Info)> {
    let cancel = Cancel::new(request.signal)?;
    cancel.check()?;
    let device = gpu::open().await?;
    let meter = Meter::new(request.on_progress);
    meter.enter(Phase::Manifest);

    let base = folder_url(&request.url)?;
    let mut how = Fetcher {
        cancel: &cancel,
        stall_ms: request.stall_timeout_ms.unwrap_or(fetch::STALL_MS),
        tries: fetch::TRIES,
        stored: request.store.is_some(),
    };
    let store = Store::new(request.store);
    let small = small_files(&base, &store, &mut how).await?;
    let Manifest { config, files, index } = Manifest::parse(&base, &small)?;
    let shards = shards_of(&index)?;
    let needs = Needs::of(&config, &index);
    if let Some(limits) = gpu::buffer_limits() {
        needs.check(limits)?;
    }
    gpu::try_allocation(needs.weights).await.map_err(|error| in_words(&needs, error))?;
    meter.expect(needs.weights);

    let record = record_of(&base, &config, &small, &shards);
    if let Some(warning) = store.begin(&record).await {
        meter.warn(warning);
    }
    for (blob, bytes) in record.files.iter().zip(small.iter().flatten()) {
        store.put(&blob.sha256, &Uint8Array::from(bytes.as_slice())).await;
    }
    let work = Work {
        base: &base,
        shards: &shards,
        next: Cell::new(0),
        how: &how,
        meter: &meter,
        store: &store,
        turn: Turn::default(),
        sink: RefCell::new(Sink {
            store: WeightStore::new(&device),
            staging: Vec::new(),
            parameters: 0,
        }),
    };
    all((0..LANES).map(|_| work.lane())).await.map_err(|error| in_words(&needs, error))?;
    let Sink { store: weights, parameters, .. } = work.sink.into_inner();
    if let Some(warning) = store.finish(&record).await {
        meter.warn(warning);
    }

    meter.enter(Phase::Pipelines);
    js::sleep(0.0).await; // lets the page show it: the next line takes a while
    cancel.check()?;
    let session = gpu::guarded(async { Session::new(&files, weights) })
        .await
        .map_err(|error| in_words(&needs, error))?;
    cancel.check()?;
    meter.enter(Phase::Ready);
    let info = Info {
        name: record.name,
        format: record.format,
        parameters: parameters as f64,
        bytes: needs.weights as f64,
    };
    Ok((session, info))
}

/// Says what the model needs where the GPU ran out of memory.
fn in_words(needs: &Needs, error: Error) -> Error {
    match error {
        Error::OutOfMemory { .. } => needs.out_of_memory(),
        error => error,
    }
}

/// The folder's absolute address, with a slash at its end and without query or fragment.
fn folder_url(url: &str) -> Result<String> {
    let invalid = |thrown: JsValue| Error::Network { url: url.into(), reason: js::reason(&thrown) };
    let parsed = web_sys::Url::new(url).map_err(invalid)?;
    parsed.set_search("");
    parsed.set_hash("");
    let href = parsed.href();
    Ok(if href.ends_with('/') { href } else { format!("{href}/") })
}

/// The small files in the order of [`SMALL`], from the network, or from the store where the
/// network is out of reach and the model is complete.
async fn small_files(
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
struct Manifest {
    config: ModelConfig,
    files: ModelFiles,
    index: Index,
}

impl Manifest {
    /// Parses all of them, so that a malformed one is noticed now.
    fn parse(base: &str, small: &[Option<Vec<u8>>]) -> Result<Self> {
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

fn record_of(
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
fn shards_of(index: &Index) -> Result<Vec<(String, ShardInfo)>> {
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

/// The shards on their way.
struct Work<'a> {
    base: &'a str,
    shards: &'a [(String, ShardInfo)],
    next: Cell<usize>,
    how: &'a Fetcher<'a>,
    meter: &'a Meter,
    store: &'a Store,
    /// Only one shard is in wasm memory at a time.
    turn: Turn,
    sink: RefCell<Sink>,
}

impl Work<'_> {
    /// Takes one shard after the other until none is left.
    async fn lane(&self) -> Result<()> {
        while let Some((file, info)) = self.shards.get(self.next.get()) {
            self.next.set(self.next.get() + 1);
            let bytes = self.shard(file, info).await?;
            let _turn = self.turn.take().await;
            self.how.cancel.check()?;
            gpu::guarded(async {
                self.sink.borrow_mut().take(file, &bytes)?;
                js::release(&bytes);
                gpu::drain().await
            })
            .await?;
            self.meter.uploaded(info.bytes);
        }
        Ok(())
    }

    /// A shard's verified bytes, from the cache or the network.
    async fn shard(&self, file: &str, info: &ShardInfo) -> Result<Uint8Array> {
        if let Some(bytes) = self.store.get(&info.sha256).await {
            if verify(&bytes, info).await.is_ok() {
                self.meter.cached(info.bytes);
                return Ok(bytes);
            }
            self.store.remove(&info.sha256).await;
        }
        let url = format!("{}{file}", self.base);
        let mut damage = String::new();
        for afresh in [false, true] {
            let length = info.bytes as u32; // at most MAX_SHARD_BYTES
            match fetch::shard(&url, length, afresh, self.how, self.meter).await? {
                Body::WrongLength(reason) => damage = reason,
                Body::Complete(bytes) => match verify(&bytes, info).await {
                    Ok(()) => {
                        if let Some(warning) = self.store.put(&info.sha256, &bytes).await {
                            self.meter.warn(warning);
                        }
                        return Ok(bytes);
                    }
                    Err(reason) => {
                        self.meter.forget(info.bytes);
                        damage = reason;
                    }
                },
            }
        }
        Err(Error::ShardCorrupt { file: file.into(), reason: damage })
    }
}

/// Compares length and SHA-256 with the index.
async fn verify(bytes: &Uint8Array, info: &ShardInfo) -> Result<(), String> {
    if u64::from(bytes.length()) != info.bytes {
        return Err(format!("the index promises {} bytes, {} came", info.bytes, bytes.length()));
    }
    let digest = js::CRYPTO
        .with(|crypto| {
            let subtle = crypto.as_ref().map(web_sys::Crypto::subtle);
            let subtle = subtle.ok_or_else(|| JsValue::from_str("there is no crypto.subtle"))?;
            subtle.digest_with_str_and_buffer_source("SHA-256", bytes)
        })
        .map_err(|thrown| js::reason(&thrown))?;
    let digest = JsFuture::from(digest).await.map_err(|thrown| js::reason(&thrown))?;
    let found: String =
        Uint8Array::new(&digest).to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(&info.sha256) {
        return Ok(());
    }
    Err("its SHA-256 is not the one in the index".into())
}

/// Where shards end: the store on the GPU, through one buffer.
struct Sink {
    store: WeightStore,
    staging: Vec<u8>,
    parameters: u64,
}

impl Sink {
    fn take(&mut self, file: &str, bytes: &Uint8Array) -> Result<()> {
        self.staging.resize(bytes.length() as usize, 0);
        bytes.copy_to(&mut self.staging);
        let header = Header::parse(file, &self.staging, self.staging.len() as u64)?;
        let data = self.staging.get(header.data_start..).unwrap_or_default();
        for tensor in header.real_tensors() {
            let bytes = data.get(tensor.range.clone()).unwrap_or_default();
            self.store.insert(&tensor.name, tensor.dtype, &tensor.shape, bytes)?;
            let count = tensor.shape.iter().product::<usize>() as u64;
            self.parameters += match tensor.dtype {
                Dtype::U32 => 0, // a packed matrix is counted by its scales
                Dtype::F16 if tensor.name.ends_with(".scales") => count * GROUP as u64,
                _ => count,
            };
        }
        Ok(())
    }
}

/// Runs futures side by side until all are done, or one fails.
async fn all<F: Future<Output = Result<()>>>(futures: impl Iterator<Item = F>) -> Result<()> {
    let mut open: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    std::future::poll_fn(move |context| {
        let mut at = 0;
        while let Some(future) = open.get_mut(at) {
            match future.as_mut().poll(context) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(())) => drop(open.swap_remove(at)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        if open.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}
