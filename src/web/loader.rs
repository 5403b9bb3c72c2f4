//! Streams a shard set into GPU buffers.
//!
//! In: the address of a folder. Out: a [`Session`], as soon as the vision tower's shards are there
//! and pictures can be looked at; in the end it has every weight on the GPU.
//! Meanwhile a rehearsal has the pipelines compiled.
//!
//! [`LANES`] shards are fetched at a time, their bytes outside wasm memory; each is verified, then
//! goes to the GPU tensor by tensor, so that wasm memory holds one shard at most, not a model.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use burn::tensor::Device;
use js_sys::{Function, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortSignal;

use crate::checkpoint::{Header, ShardInfo};
use crate::config::GenerationConfig;
use crate::error::{Error, Result};
use crate::fit::{Needs, check_claim};
use crate::loading::manifest::{self, Shard, record_of, shards_of};
use crate::loading::progress::{AboutInfo, ModelInfo, Phase};
use crate::loading::slot::Slot;
use crate::loading::together::all;
use crate::models::{ModelConfig, VisionLanguageModel};
use crate::pace::Pace;
use crate::session::{Blueprint, Session, list_pipelines, rehearse_picture, rehearse_question};
use crate::weights::WeightStore;

use super::cancel::Cancel;
use super::fetch::{self, Body, Fetcher};
use super::progress::Meter;
use super::small_files::small_files;
use super::store::{JsStore, Store};
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
    /// Called with what the set says of itself, once its small files are there.
    pub on_about: Option<Function>,
    /// Called when the vision tower is there.
    pub on_vision: Option<Function>,
    /// The browser's storage; absent where it is denied or not wanted.
    pub store: Option<JsStore>,
    /// Milliseconds of silence after which a server is asked again.
    pub stall_timeout_ms: Option<f64>,
}

/// The model's first conversation, absent until the vision tower is there.
pub type Main = Option<Box<Session>>;

/// Loads a model into `main`. What can be checked is checked before gigabytes are fetched, not after.
///
/// # Errors
/// No GPU, a model that does not fit it, a file that cannot be fetched or is malformed, a shard
/// that stays damaged, a tensor that does not fit, or the visitor cancelled.
pub async fn load(request: Request, main: Rc<Slot<Main>>) -> Result<ModelInfo> {
    let cancel = Cancel::new(request.signal)?;
    let signal = cancel.signal();
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
    let (blueprint, index) = manifest::parse(&base, &small)?;
    let about = blueprint.config.about.clone().map(AboutInfo::from);
    if let Some(listener) = &request.on_about {
        // What the listener throws is the caller's affair.
        let _ = listener.call1(&JsValue::NULL, &js::to_value(&about)?);
    }
    let description = VisionLanguageModel::describe(&blueprint.config, &device)?;
    let shards = shards_of(&index, &description)?;
    check_claim(&description, &index)?;
    description.check_index(&index)?;
    let parameters = description.parameters();
    let needs = Needs::of(&blueprint.config, &index);
    if let Some(limits) = gpu::buffer_limits() {
        needs.check(limits)?;
    }
    gpu::try_allocation(needs.weights).await.map_err(|error| in_words(&needs, error))?;
    meter.expect(needs.weights);

    let record = record_of(&base, &blueprint.config, &small, &shards);
    if let Some(warning) = store.begin(&record).await {
        meter.warn(warning);
    }
    for (blob, bytes) in record.files.iter().zip(small.iter().flatten()) {
        store.put(&blob.sha256, &Uint8Array::from(bytes.as_slice())).await;
    }
    let (config, generation) = (blueprint.config.clone(), blueprint.generation.clone());
    let work = Work {
        base: &base,
        shards: &shards,
        next: Cell::new(0),
        how: &how,
        meter: &meter,
        store: &store,
        uploading: Rc::default(),
        sink: RefCell::new(Sink {
            weights: WeightStore::new(description, &device),
            blueprint: Some(blueprint),
            missing: shards.iter().filter(|shard| shard.vision).count(),
        }),
        main,
        on_vision: request.on_vision,
        vision_settled: Cell::new(shards.iter().all(|shard| !shard.vision)),
        rehearsed: Cell::new(false),
    };
    let pace = Pace::new(move || signal.aborted());
    let mut tasks: Vec<Task<'_>> = (0..LANES).map(|_| work.boxed_lane()).collect();
    tasks.push(work.rehearsal(&config, &generation, &device, &pace));
    tasks.push(work.tell());
    all(tasks.into_iter()).await.map_err(|error| in_words(&needs, error))?;
    if let Some(warning) = store.finish(&record).await {
        meter.warn(warning);
    }

    meter.enter(Phase::Pipelines);
    js::sleep(0.0).await; // lets the page show it: the next line takes a while
    cancel.check()?;
    let Work { sink, main, .. } = work;
    let mut sink = sink.into_inner();
    let mut main = main.take().await; // a picture that is being looked at comes first
    if main.is_none() {
        *main = Some(sink.begin()?); // the index names no shard of the vision tower
    }
    if let Some(session) = &*main {
        let completed = complete(session, &sink.weights, &pace).await;
        completed.map_err(|error| in_words(&needs, error))?;
    }
    cancel.check()?;
    meter.enter(Phase::Ready);
    Ok(ModelInfo { name: record.name, format: record.format, parameters, bytes: needs.weights })
}

/// Work of its own size: a future that holds others would grow with them, and be moved over the
/// stack, of which wasm has little.
type Task<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

fn complete<'a>(session: &'a Session, weights: &'a WeightStore, pace: &'a Pace) -> Task<'a> {
    Box::pin(gpu::guarded_steps(session.complete(weights, pace)))
}

/// Says what the model needs where the GPU ran out of memory.
fn in_words(needs: &Needs, error: Error) -> Error {
    match error {
        Error::OutOfMemory { .. } => needs.out_of_memory(),
        error => error,
    }
}

/// The folder's absolute address, with a slash at its end and without query or fragment, nor the
/// name of a file in it.
fn folder_url(url: &str) -> Result<String> {
    let invalid = |thrown: JsValue| Error::Network { url: url.into(), reason: js::reason(&thrown) };
    let parsed = web_sys::Url::new(url).map_err(invalid)?;
    let hostname = parsed.hostname();
    let here = matches!(hostname.as_str(), "localhost" | "[::1]") || hostname.starts_with("127.");
    if parsed.protocol() == "http:" && !here && js::origin().starts_with("https:") {
        let reason = "a page that came over https reads models over https, or from this machine";
        return Err(Error::Network { url: url.into(), reason: reason.into() });
    }
    parsed.set_search("");
    parsed.set_hash("");
    let path = parsed.pathname();
    if [".json", ".safetensors"].iter().any(|end| path.ends_with(end)) {
        let folder = path.rfind('/').map_or("", |end| &path[..=end]);
        parsed.set_pathname(folder);
    }
    let href = parsed.href();
    Ok(if href.ends_with('/') { href } else { format!("{href}/") })
}

/// The shards on their way.
struct Work<'a> {
    base: &'a str,
    shards: &'a [Shard],
    next: Cell<usize>,
    how: &'a Fetcher<'a>,
    meter: &'a Meter,
    store: &'a Store,
    /// Whether a shard is on its way to the GPU: wasm memory holds one at a time.
    uploading: Rc<Slot<()>>,
    sink: RefCell<Sink>,
    main: Rc<Slot<Main>>,
    on_vision: Option<Function>,
    /// Whether the vision tower is there, or no shard has it.
    vision_settled: Cell<bool>,
    /// Whether all pipelines are there.
    rehearsed: Cell<bool>,
}

impl Work<'_> {
    /// Has the pipelines compiled, those of the language model once pictures can be looked at. A
    /// picture comes first.
    fn rehearsal<'a>(
        &'a self,
        config: &'a ModelConfig,
        generation: &'a GenerationConfig,
        device: &'a Device,
        pace: &'a Pace,
    ) -> Task<'a> {
        Box::pin(async move {
            gpu::guarded_steps(list_pipelines(config, generation, device, pace)).await?;
            gpu::guarded_steps(rehearse_picture(config, device, pace)).await?;
            while !self.vision_settled.get() {
                self.how.cancel.sleep(50.0).await?;
            }
            js::sleep(0.0).await; // a picture that waited may begin
            let question = rehearse_question(config, generation, device, pace);
            let compiled = self.main.meanwhile(gpu::guarded_steps(question)).await;
            self.rehearsed.set(true);
            compiled
        })
    }

    /// Tells the page how the pipelines come along while no bytes arrive.
    fn tell(&self) -> Task<'_> {
        Box::pin(async move {
            while !self.rehearsed.get() {
                self.how.cancel.sleep(100.0).await?;
                self.meter.tell();
            }
            Ok(())
        })
    }

    fn boxed_lane(&self) -> Task<'_> {
        Box::pin(self.lane())
    }

    /// Takes one shard after the other until none is left.
    async fn lane(&self) -> Result<()> {
        while let Some(shard) = self.shards.get(self.next.get()) {
            self.next.set(self.next.get() + 1);
            let bytes = self.shard(&shard.file, &shard.info).await?;
            let _alone = self.uploading.take().await;
            self.how.cancel.check()?;
            gpu::guarded_steps(async {
                self.sink.borrow_mut().take(shard, &bytes)?;
                js::release(&bytes);
                gpu::drain().await
            })
            .await?;
            self.meter.uploaded(shard.info.bytes);
            if shard.vision && self.sink.borrow().missing == 0 {
                self.open_vision().await?;
            }
        }
        Ok(())
    }

    /// Makes the vision tower, all of whose shards are there.
    async fn open_vision(&self) -> Result<()> {
        let session = gpu::guarded_steps(async { self.sink.borrow_mut().begin() }).await?;
        *self.main.take().await = Some(session);
        if let Some(listener) = &self.on_vision {
            // What the listener throws is the caller's affair.
            let _ = listener.call0(&JsValue::NULL);
        }
        self.vision_settled.set(true);
        Ok(())
    }

    /// A shard's verified bytes, from the cache or the network.
    async fn shard(&self, file: &str, info: &ShardInfo) -> Result<Uint8Array> {
        if let Some(bytes) = self.store.get(&info.sha256).await {
            if verify(&bytes, file, info).await.is_ok() {
                self.meter.cached(info.bytes);
                return Ok(bytes);
            }
            self.store.remove(&info.sha256).await;
        }
        let url = format!("{}{file}", self.base);
        let length = info.bytes as u32; // at most MAX_SHARD_BYTES
        let mut afresh = false;
        loop {
            let damage = match fetch::shard(&url, length, afresh, self.how, self.meter).await? {
                Body::WrongLength(reason) => Error::ShardCorrupt { file: file.into(), reason },
                Body::Complete(bytes) => match verify(&bytes, file, info).await {
                    Ok(()) => {
                        if let Some(warning) = self.store.put(&info.sha256, &bytes).await {
                            self.meter.warn(warning);
                        }
                        return Ok(bytes);
                    }
                    Err(damage) => {
                        self.meter.forget(info.bytes);
                        damage
                    }
                },
            };
            if std::mem::replace(&mut afresh, true) {
                return Err(damage);
            }
        }
    }
}

/// Compares length and SHA-256 with the index. The browser's own hash is several times as fast
/// as one compiled to wasm, and needs no copy.
async fn verify(bytes: &Uint8Array, file: &str, info: &ShardInfo) -> Result<()> {
    info.check_length(file, u64::from(bytes.length()))?;
    let thrown = |thrown: JsValue| Error::ShardCorrupt {
        file: file.into(),
        reason: format!("its SHA-256 cannot be computed ({})", js::reason(&thrown)),
    };
    let digest = js::CRYPTO
        .with(|crypto| {
            let subtle = crypto.as_ref().map(web_sys::Crypto::subtle);
            let subtle = subtle.ok_or_else(|| JsValue::from_str("there is no crypto.subtle"))?;
            subtle.digest_with_str_and_buffer_source("SHA-256", bytes)
        })
        .map_err(thrown)?;
    let digest = JsFuture::from(digest).await.map_err(thrown)?;
    info.check_digest(file, &Uint8Array::new(&digest).to_vec())
}

/// Where shards end: the store on the GPU.
struct Sink {
    weights: WeightStore,
    /// Shards that the vision tower waits for.
    missing: usize,
    /// What the model is made with.
    blueprint: Option<Blueprint>,
}

impl Sink {
    fn take(&mut self, shard: &Shard, bytes: &Uint8Array) -> Result<()> {
        let length = bytes.length();
        let span = Header::span(&shard.file, &bytes.subarray(0, length.min(8)).to_vec())?;
        // Past its end an array is cut, which `parse` notices.
        let header = bytes.subarray(0, u32::try_from(span).unwrap_or(length)).to_vec();
        let header = Header::parse(&shard.file, &header, u64::from(length))?;
        for tensor in header.real_tensors() {
            // A parsed header's ranges lie within the shard, whose length is a u32.
            let at = |offset: usize| (header.data_start + offset) as u32;
            let data = bytes.subarray(at(tensor.range.start), at(tensor.range.end)).to_vec();
            self.weights.insert(&tensor.name, tensor.dtype, &tensor.shape, data)?;
        }
        self.missing -= usize::from(shard.vision);
        Ok(())
    }

    fn begin(&mut self) -> Result<Box<Session>> {
        let blueprint = self.blueprint.take();
        let blueprint =
            blueprint.ok_or_else(|| Error::Internal { reason: "a second vision tower".into() })?;
        Ok(Box::new(Session::begin(blueprint, &self.weights)?))
    }
}
