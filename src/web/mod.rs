//! The JavaScript surface: a class `Model` whose methods return promises.
//!
//! Everything runs in the worker that instantiated the module. Every rejection is an `Error` with
//! `name` `"InstructBlipError"`, the `code` of [`Error::code`] and its sentence. One call runs at
//! a time; the worker in `www/engine/worker.js` queues them.
//!
//! - [`loader`]: address → verified shards → GPU buffers → session
//! - [`manifest`]: the small files, checked before the large ones are fetched
//! - [`fetch`], [`store`], [`cancel`], [`progress`], [`turn`], [`together`]: what the loader needs
//! - [`gpu`]: the device, and its loss
//! - [`js`], [`panic`]: values and failures across the border

mod cancel;
mod fetch;
mod gpu;
mod js;
mod loader;
mod manifest;
mod panic;
mod progress;
mod store;
mod together;
mod turn;

use std::cell::RefCell;
use std::future::Future;
use std::ops::ControlFlow;
use std::rc::Rc;

use js_sys::{Function, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web_sys::AbortSignal;

use crate::bench::{BenchOptions, Machine, bench};
use crate::error::{Error, Result};
use crate::pace::Pace;
use crate::prompt::Prompt;
use crate::session::{AskOptions, RankOptions, Session};
use crate::verify::{Golden, VerifyOptions, verify};

/// A loaded model.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Model {
    slot: Rc<RefCell<Option<Session>>>,
    info: loader::Info,
}

#[wasm_bindgen]
impl Model {
    /// Fetches the shard set in the folder `url` and prepares it on the GPU: `Promise<Model>`.
    #[wasm_bindgen(unchecked_return_type = "Promise<Model>")]
    pub fn load(url: String, options: Option<js::LoadOptions>) -> Promise {
        let request = loader::Request {
            url,
            signal: options.as_ref().and_then(js::LoadOptions::signal),
            on_progress: options.as_ref().and_then(js::LoadOptions::on_progress),
            store: options.as_ref().and_then(js::LoadOptions::store),
            stall_timeout_ms: options.as_ref().and_then(js::LoadOptions::stall_timeout),
        };
        promise(async move {
            let (session, info) = loader::load(request).await?;
            let slot = Rc::new(RefCell::new(Some(session)));
            Ok(Model { slot, info }.into())
        })
    }

    /// What was loaded: `{ name, format, parameters, bytes }`.
    #[wasm_bindgen(
        getter,
        unchecked_return_type = "{ name: string, format: string, parameters: number, bytes: number }"
    )]
    #[must_use]
    pub fn info(&self) -> JsValue {
        js::to_value(&self.info).unwrap_or_default()
    }

    /// Settles with `{ code, message }` when the GPU device is lost. One listener at a time.
    #[wasm_bindgen(getter, unchecked_return_type = "Promise<{ code: string, message: string }>")]
    pub fn lost(&self) -> Promise {
        gpu::lost_promise()
    }

    /// Decodes a picture file and computes its features: `Promise<PictureInfo>`.
    #[wasm_bindgen(js_name = setPicture, unchecked_return_type = "Promise<{ width: number, height: number, preprocessMs: number, visionMs: number }>")]
    pub fn set_picture(&self, bytes: Vec<u8>, signal: Option<AbortSignal>) -> Promise {
        let lease = self.lease();
        promise(async move {
            let mut session = lease?;
            let pace = pace(signal);
            pace.check()?;
            let info = session.get()?.set_picture(&bytes, &pace).await?;
            js::to_value(&info)
        })
    }

    /// As `setPicture` for several pictures, which questions are then about together.
    #[wasm_bindgen(js_name = setPictures)]
    pub fn set_pictures(&self, files: Vec<Uint8Array>, signal: Option<AbortSignal>) -> Promise {
        let lease = self.lease();
        promise(async move {
            let mut session = lease?;
            let pace = pace(signal);
            pace.check()?;
            let files: Vec<Vec<u8>> = files.iter().map(Uint8Array::to_vec).collect();
            js::to_value(&session.get()?.set_pictures(&files, &pace).await?)
        })
    }

    /// The text that a prompt becomes: `Promise<{ text, droppedTurns }>`.
    pub fn prompt(&self, prompt: js::Prompt) -> Promise {
        let lease = self.lease();
        promise(async move {
            let prompt: Prompt = from_value("prompt", prompt.into())?;
            js::to_value(&lease?.get()?.prompt(&prompt)?)
        })
    }

    /// Answers a question about the current picture: `Promise<Answer>`.
    pub fn ask(&self, question: String, options: Option<js::AskOptions>) -> Promise {
        let lease = self.lease();
        promise(async move {
            let mut session = lease?;
            let signal = options.as_ref().and_then(js::AskOptions::ask_signal);
            let on_token = options.as_ref().and_then(js::AskOptions::on_token);
            let ask: AskOptions = match options {
                Some(options) => from_value("options", options.into())?,
                None => AskOptions::default(),
            };
            let pace = pace(signal.clone());
            pace.check()?;
            let answer = session
                .get()?
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

    /// Compares given answers to a question about the current picture: `Promise<Ranked[]>`.
    pub fn rank(
        &self,
        question: String,
        candidates: Vec<String>,
        options: Option<js::RankOptions>,
    ) -> Promise {
        let lease = self.lease();
        promise(async move {
            let mut session = lease?;
            let pace = pace(options.as_ref().and_then(js::RankOptions::rank_signal));
            pace.check()?;
            let rank: RankOptions = match options {
                Some(options) => from_value("options", options.into())?,
                None => RankOptions::default(),
            };
            js::to_value(&session.get()?.rank(&question, &candidates, &rank, &pace).await?)
        })
    }

    /// Where the model looks for a question: `Promise<AttentionMaps>`.
    pub fn attention(&self, question: String, options: Option<js::AttentionOptions>) -> Promise {
        let lease = self.lease();
        promise(async move {
            let mut session = lease?;
            let pace = pace(options.as_ref().and_then(js::AttentionOptions::attention_signal));
            pace.check()?;
            let against = options.as_ref().and_then(js::AttentionOptions::against);
            js::to_value(&session.get()?.attention(&question, against.as_deref(), &pace).await?)
        })
    }

    /// Compares every stage with a golden file of the reference: `Promise<Report>`.
    /// `options`: `{ tolerance, fromVision, onlyVision }`.
    pub fn verify(&self, golden: Vec<u8>, name: Option<String>, options: JsValue) -> Promise {
        let lease = self.lease();
        promise(async move {
            let mut session = lease?;
            let golden = Golden::parse(name.as_deref().unwrap_or("golden"), golden)?;
            let options = match options.is_undefined() {
                true => VerifyOptions::default(),
                false => from_value("options", options)?,
            };
            let report = verify(session.get()?, &golden, &options).await?;
            js::to_value(&report)
        })
    }

    /// Times the model on this GPU: `Promise<BenchReport>`. `machine` says where that is; what is
    /// being measured is told to `on_stage`.
    pub fn bench(&self, options: JsValue, machine: JsValue, on_stage: Option<Function>) -> Promise {
        let lease = self.lease();
        let name = self.info.name.clone();
        promise(async move {
            let mut session = lease?;
            let options: BenchOptions = from_value("options", options)?;
            let machine: Machine = from_value("machine", machine)?;
            let progress = |what: &str| {
                if let Some(listener) = &on_stage {
                    // What the listener throws is the caller's affair.
                    let _ = listener.call1(&JsValue::NULL, &what.into());
                }
            };
            let session = session.get()?;
            js::to_value(&bench(session, &name, machine, options, &progress).await?)
        })
    }

    fn lease(&self) -> Result<Lease> {
        gpu::check()?;
        match self.slot.borrow_mut().take() {
            Some(session) => Ok(Lease { session: Some(session), slot: Rc::clone(&self.slot) }),
            None => Err(Error::OptionInvalid {
                option: "model".into(),
                reason: "another call is running; wait for it first".into(),
            }),
        }
    }
}

/// The session, taken out of its slot for one call and put back at its end.
struct Lease {
    session: Option<Session>,
    slot: Rc<RefCell<Option<Session>>>,
}

impl Lease {
    fn get(&mut self) -> Result<&mut Session> {
        self.session
            .as_mut()
            .ok_or_else(|| Error::Internal { reason: "a lease without a session".into() })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.slot.replace(self.session.take());
    }
}

/// Stops when the visitor's signal says so.
fn pace(signal: Option<AbortSignal>) -> Pace {
    Pace::new(move || signal.as_ref().is_some_and(AbortSignal::aborted))
}

fn from_value<T: serde::de::DeserializeOwned>(option: &str, value: JsValue) -> Result<T> {
    serde_wasm_bindgen::from_value(value)
        .map_err(|error| Error::OptionInvalid { option: option.into(), reason: error.to_string() })
}

/// A promise of this future, rejected with the error as JavaScript sees it. What the GPU refuses
/// meanwhile is an error too, even if the future did not notice.
fn promise(future: impl Future<Output = Result<JsValue>> + 'static) -> Promise {
    future_to_promise(async move {
        gpu::guarded(future).await.map_err(|error| js::error(&gpu::explain(error)))
    })
}
