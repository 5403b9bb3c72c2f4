//! Streams a shard set into GPU buffers.
//!
//! In: the address of a folder. Out: a [`Session`] with every weight on the GPU.
//! [`LANES`] shards are fetched at a time, their bytes outside wasm memory; each is verified, then
//! passes through one reused buffer to the GPU, so that wasm memory holds one shard, not a model.

use std::cell::{Cell, RefCell};

use js_sys::{Function, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortSignal;

use crate::checkpoint::store::WeightStore;
use crate::checkpoint::{Dtype, Header, ShardInfo};
use crate::error::{Error, Result};
use crate::fit::Needs;
use crate::quant::GROUP;
use crate::session::Session;

use super::cancel::Cancel;
use super::fetch::{self, Body, Fetcher};
use super::manifest::{Manifest, record_of, shards_of, small_files};
use super::progress::{Meter, Phase};
use super::store::{JsStore, Store};
use super::together::all;
use super::turn::Turn;
use super::{gpu, js};

/// Shards in flight.
const LANES: usize = 4;

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
