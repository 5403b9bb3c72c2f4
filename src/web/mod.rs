//! The JavaScript surface: classes `Model` and `Conversation`, whose methods return promises.
//!
//! Everything runs in the worker that instantiated the module. Every rejection is an `Error` with
//! `name` `"InstructBlipError"`, the `code` of [`Error::code`] and its sentence. Calls wait for each
//! other; only loading goes on beside them.
//!
//! - [`loader`]: address → verified shards → GPU buffers → session
//! - [`fetch`], [`small_files`], [`store`], [`cancel`], [`progress`]: what the loader needs
//! - [`gpu`]: the device, and its loss
//! - [`js`], [`panic`], [`mod@start`]: values, failures and the beginning at the border

mod cancel;
mod fetch;
mod gpu;
mod js;
mod loader;
mod panic;
mod progress;
mod small_files;
mod start;
mod store;

use std::future::Future;
use std::ops::ControlFlow;
use std::rc::Rc;

use js_sys::{Function, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web_sys::AbortSignal;

use crate::bench::{BenchOptions, Machine, bench};
use crate::error::{Error, Result};
use crate::loading::slot::Slot;
use crate::pace::Pace;
use crate::prompt::Prompt;
use crate::session::{AskOptions, AttentionOptions, Controls, RankOptions, Session};
use crate::verify::{Golden, VerifyOptions, verify};

use loader::Main;

/// What a page offers for a question: the knobs, and what bounds it.
///
/// # Errors
/// They cannot be represented.
#[wasm_bindgen(unchecked_return_type = "Controls")]
pub fn controls() -> Result<JsValue, JsValue> {
    js::to_value(&Controls::default()).map_err(|error| js::error(&error))
}

/// A model that is being loaded, or is loaded.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Model {
    main: Rc<Slot<Main>>,
    ready: Promise,
}

#[wasm_bindgen]
impl Model {
    /// Begins to fetch the shard set in the folder `url` and to prepare it on the GPU. Pictures
    /// can be set from `options.onVision` on, all other calls wait for `ready`.
    #[must_use]
    pub fn load(url: String, options: Option<js::LoadOptions>) -> Model {
        let request = loader::Request {
            url,
            signal: options.as_ref().and_then(js::LoadOptions::signal),
            on_progress: options.as_ref().and_then(js::LoadOptions::on_progress),
            on_about: options.as_ref().and_then(js::LoadOptions::on_about),
            on_vision: options.as_ref().and_then(js::LoadOptions::on_vision),
            store: options.as_ref().and_then(js::LoadOptions::store).map(JsValue::unchecked_into),
            stall_timeout_ms: options.as_ref().and_then(js::LoadOptions::stall_timeout),
        };
        let main = Rc::<Slot<Main>>::default();
        let loading = Box::pin(loader::load(request, Rc::clone(&main)));
        let ready = settled(async { js::to_value(&loading.await?) });
        Model { main, ready }
    }

    /// When all of it is there, what was loaded.
    #[wasm_bindgen(getter, unchecked_return_type = "Promise<ModelInfo>")]
    pub fn ready(&self) -> Promise {
        self.ready.clone()
    }

    /// Settles with `{ code, message }` when the GPU device is lost. One listener at a time.
    #[wasm_bindgen(getter, unchecked_return_type = "Promise<PlainError>")]
    pub fn lost(&self) -> Promise {
        gpu::lost_promise()
    }

    /// The conversation that is there from the start, whose pictures may come before the whole
    /// model has.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn main(&self) -> Conversation {
        Conversation { main: Rc::clone(&self.main), own: None }
    }

    /// A new conversation, without pictures.
    #[must_use]
    pub fn conversation(&self) -> Conversation {
        Conversation { main: Rc::clone(&self.main), own: Some(Rc::default()) }
    }

    /// The text that a prompt becomes.
    #[wasm_bindgen(unchecked_return_type = "Promise<FilledPrompt>")]
    pub fn prompt(&self, prompt: js::Prompt) -> Promise {
        in_turn(&self.main, async move |session| {
            let prompt: Prompt = from_value("prompt", prompt.into())?;
            js::to_value(&session.prompt(&prompt)?)
        })
    }

    /// Compares every stage with a golden file of the reference.
    /// `options`: `{ tolerance, fromVision, onlyVision }`.
    #[wasm_bindgen(unchecked_return_type = "Promise<VerifyReport>")]
    pub fn verify(&self, golden: Vec<u8>, name: Option<String>, options: JsValue) -> Promise {
        in_turn(&self.main, async move |session| {
            let golden = Golden::parse(name.as_deref().unwrap_or("golden"), golden)?;
            let options = match options.is_undefined() {
                true => VerifyOptions::default(),
                false => from_value("options", options)?,
            };
            let report = verify(session, &golden, &options).await?;
            js::to_value(&report)
        })
    }

    /// Times the model, called `name`, on this GPU: `Promise<BenchReport>`. `machine` says where
    /// that is; what is being measured is told to `on_stage`.
    pub fn bench(
        &self,
        name: String,
        options: JsValue,
        machine: JsValue,
        on_stage: Option<Function>,
    ) -> Promise {
        in_turn(&self.main, async move |session| {
            let options: BenchOptions = from_value("options", options)?;
            let machine: Machine = from_value("machine", machine)?;
            let progress = |what: &str| {
                if let Some(listener) = &on_stage {
                    // What the listener throws is the caller's affair.
                    let _ = listener.call1(&JsValue::NULL, &what.into());
                }
            };
            js::to_value(&bench(session, &name, machine, options, &progress).await?)
        })
    }
}

/// Pictures, and questions about them. Conversations with one model see nothing of each other.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Conversation {
    main: Rc<Slot<Main>>,
    /// None for the model's first conversation, which is there before the others.
    own: Option<Rc<Slot<Option<Session>>>>,
}

#[wasm_bindgen]
impl Conversation {
    /// Decodes picture files and computes their features. Questions are
    /// then about all of them together.
    #[wasm_bindgen(js_name = setPictures, unchecked_return_type = "Promise<PictureInfo[]>")]
    pub fn set_pictures(&self, files: Vec<Uint8Array>, signal: Option<AbortSignal>) -> Promise {
        let files = move || files.iter().map(Uint8Array::to_vec).collect::<Vec<_>>();
        self.call(async move |session| {
            let pace = pace(signal);
            pace.check()?;
            js::to_value(&session.set_pictures(&files(), &pace).await?)
        })
    }

    /// Answers a question about the current picture.
    #[wasm_bindgen(unchecked_return_type = "Promise<Answer>")]
    pub fn ask(&self, question: String, options: Option<js::AskOptions>) -> Promise {
        self.call(async move |session| {
            let signal = options.as_ref().and_then(js::AskOptions::ask_signal);
            let on_token = options.as_ref().and_then(js::AskOptions::on_token);
            let ask: AskOptions = match options {
                Some(options) => from_value("options", options.into())?,
                None => AskOptions::default(),
            };
            let pace = pace(signal.clone());
            pace.check()?;
            let answer = session
                .ask(&question, &ask, &pace, &mut |token| {
                    if let (Some(listener), Ok(token)) = (&on_token, js::to_value(token)) {
                        // What the listener throws is the caller's affair.
                        let _ = listener.call1(&JsValue::NULL, &token);
                    }
                    match &signal {
                        Some(signal) if signal.aborted() => ControlFlow::Break(()),
                        _ => ControlFlow::Continue(()),
                    }
                })
                .await?;
            js::to_value(&answer)
        })
    }

    /// Compares given answers to a question about the current picture.
    #[wasm_bindgen(unchecked_return_type = "Promise<Ranked[]>")]
    pub fn rank(
        &self,
        question: String,
        candidates: Vec<String>,
        options: Option<js::RankOptions>,
    ) -> Promise {
        self.call(async move |session| {
            let pace = pace(options.as_ref().and_then(js::RankOptions::rank_signal));
            pace.check()?;
            let rank: RankOptions = match options {
                Some(options) => from_value("options", options.into())?,
                None => RankOptions::default(),
            };
            js::to_value(&session.rank(&question, &candidates, &rank, &pace).await?)
        })
    }

    /// Where the model looks for a question.
    #[wasm_bindgen(unchecked_return_type = "Promise<AttentionMaps>")]
    pub fn attention(&self, question: String, options: Option<js::AttentionOptions>) -> Promise {
        self.call(async move |session| {
            let pace = pace(options.as_ref().and_then(js::AttentionOptions::attention_signal));
            pace.check()?;
            let attention: AttentionOptions = match options {
                Some(options) => from_value("options", options.into())?,
                None => AttentionOptions::default(),
            };
            js::to_value(&session.attention(&question, &attention, &pace).await?)
        })
    }

    /// Runs `work` with this conversation when its turn has come.
    fn call(&self, work: impl AsyncFnOnce(&mut Session) -> Result<JsValue> + 'static) -> Promise {
        let own = self.own.clone();
        in_turn(&self.main, async move |session| {
            let Some(own) = own else { return work(session).await };
            let mut own = own.take().await;
            work(own.get_or_insert_with(|| session.conversation())).await
        })
    }
}

/// Runs `work` when its turn has come. What the GPU refuses meanwhile is an error too, even if
/// the work did not notice.
fn in_turn(
    main: &Rc<Slot<Main>>,
    work: impl AsyncFnOnce(&mut Session) -> Result<JsValue> + 'static,
) -> Promise {
    let main = Rc::clone(main);
    settled(async move {
        let mut main = main.take().await;
        gpu::check()?;
        let session = main.as_mut().ok_or_else(Session::not_there)?;
        gpu::guarded(Box::pin(work(session))).await
    })
}

/// Stops when the visitor's signal says so.
fn pace(signal: Option<AbortSignal>) -> Pace {
    Pace::new(move || signal.as_ref().is_some_and(AbortSignal::aborted))
}

fn from_value<T: serde::de::DeserializeOwned>(option: &str, value: JsValue) -> Result<T> {
    serde_wasm_bindgen::from_value(value)
        .map_err(|error| Error::OptionInvalid { option: option.into(), reason: error.to_string() })
}

/// A promise of this future, rejected with the error as JavaScript sees it.
fn settled(future: impl Future<Output = Result<JsValue>> + 'static) -> Promise {
    future_to_promise(async { future.await.map_err(|error| js::error(&gpu::explain(error))) })
}
