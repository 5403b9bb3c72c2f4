//! Values between Rust and JavaScript: errors with a code, option objects, the browser's globals.

use js_sys::{Function, Promise, Reflect, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::error::{Error, Result};

#[wasm_bindgen]
extern "C" {
    /// The second argument of `Model.load`.
    #[wasm_bindgen(typescript_type = "LoadOptions")]
    pub type LoadOptions;
    #[wasm_bindgen(method, getter, js_name = onProgress)]
    pub fn on_progress(this: &LoadOptions) -> Option<Function>;
    #[wasm_bindgen(method, getter, js_name = onAbout)]
    pub fn on_about(this: &LoadOptions) -> Option<Function>;
    #[wasm_bindgen(method, getter, js_name = onVision)]
    pub fn on_vision(this: &LoadOptions) -> Option<Function>;
    #[wasm_bindgen(method, getter)]
    pub fn signal(this: &LoadOptions) -> Option<web_sys::AbortSignal>;
    #[wasm_bindgen(method, getter)]
    pub fn store(this: &LoadOptions) -> Option<JsValue>;
    #[wasm_bindgen(method, getter, js_name = stallTimeout)]
    pub fn stall_timeout(this: &LoadOptions) -> Option<f64>;

    /// The second argument of `Model.ask`.
    #[wasm_bindgen(typescript_type = "AskOptions")]
    pub type AskOptions;
    #[wasm_bindgen(method, getter, js_name = onToken)]
    pub fn on_token(this: &AskOptions) -> Option<Function>;
    #[wasm_bindgen(method, getter, js_name = signal)]
    pub fn ask_signal(this: &AskOptions) -> Option<web_sys::AbortSignal>;

    /// The third argument of `Model.rank`.
    #[wasm_bindgen(typescript_type = "RankOptions & { signal?: AbortSignal }")]
    pub type RankOptions;
    #[wasm_bindgen(method, getter, js_name = signal)]
    pub fn rank_signal(this: &RankOptions) -> Option<web_sys::AbortSignal>;

    /// The second argument of `Model.attention`.
    #[wasm_bindgen(typescript_type = "AttentionOptions")]
    pub type AttentionOptions;
    #[wasm_bindgen(method, getter, js_name = signal)]
    pub fn attention_signal(this: &AttentionOptions) -> Option<web_sys::AbortSignal>;

    /// A question with a template.
    #[wasm_bindgen(typescript_type = "Prompt")]
    pub type Prompt;

    #[wasm_bindgen(catch)]
    pub async fn fetch(url: &str, init: &web_sys::RequestInit) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, milliseconds: f64) -> JsValue;
    /// Absent outside secure contexts, as is WebGPU.
    #[wasm_bindgen(thread_local_v2, js_name = crypto)]
    pub static CRYPTO: Option<web_sys::Crypto>;
    #[wasm_bindgen(thread_local_v2, js_name = origin)]
    static ORIGIN: Option<String>;
    #[wasm_bindgen(thread_local_v2, js_name = navigator)]
    static NAVIGATOR: Option<js_sys::Object>;
}

/// The options of `Model.ask` that are knobs.
#[wasm_bindgen(typescript_custom_section)]
const KNOBS: &str = include_str!("../../www/engine/knobs.d.ts");

/// The values that Rust makes or takes.
#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("../../www/engine/types.d.ts");

/// What only this border knows.
#[wasm_bindgen(typescript_custom_section)]
const BORDER: &str = r#"
export interface LoadOptions {
  onProgress?: (progress: Progress) => void;
  /** What the set says of itself, as soon as its small files are there. */
  onAbout?: (about: About | null) => void;
  /** The vision tower is there: pictures can be set. */
  onVision?: () => void;
  signal?: AbortSignal;
  store?: Store;
  stallTimeout?: number;
}
/** As in www/engine/store.js. */
export interface Store {
  model(url: string): Promise<object | null>;
  begin(record: object): Promise<string | null>;
  finish(record: object): Promise<string | null>;
  get(sha256: string): Promise<Uint8Array | null>;
  put(sha256: string, bytes: Uint8Array): Promise<string | null>;
  remove(sha256: string): Promise<void>;
}
/** Beside the knobs. */
export interface AskOptions {
  signal?: AbortSignal;
  onToken?: (token: TokenEvent) => void;
}
export interface AttentionOptions {
  against?: string;
  instructionAware?: boolean;
  signal?: AbortSignal;
}
/** Code and sentence of an error. */
export interface PlainError {
  code: string;
  message: string;
}
"#;

/// The JavaScript `Error` for an error of this crate: its sentence, its `code`, and of an invalid
/// option its name.
pub fn error(error: &Error) -> JsValue {
    let value = js_sys::Error::new(&error.to_string());
    value.set_name("InstructBlipError");
    // Setting a property of a fresh object cannot fail.
    let _ = Reflect::set(&value, &"code".into(), &error.code().into());
    if let Error::OptionInvalid { option, .. } = error {
        let _ = Reflect::set(&value, &"option".into(), &option.into());
    }
    value.into()
}

/// What JavaScript threw, as a sentence.
pub fn reason(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => match Reflect::get(thrown, &"message".into()) {
            Ok(message) if message.is_string() => message.as_string().unwrap_or_default(),
            _ => format!("{thrown:?}"),
        },
    }
}

/// A plain JavaScript object with camel-case names; `None` becomes `null`.
///
/// # Errors
/// The value cannot be represented.
pub fn to_value(value: &impl Serialize) -> Result<JsValue> {
    let serializer = serde_wasm_bindgen::Serializer::new()
        .serialize_missing_as_null(true)
        .serialize_maps_as_objects(true);
    value.serialize(&serializer).map_err(|error| Error::Internal { reason: error.to_string() })
}

/// `navigator.gpu`, where the browser has it.
pub fn navigator_gpu() -> Option<JsValue> {
    NAVIGATOR.with(|navigator| {
        let gpu = Reflect::get(navigator.as_ref()?, &"gpu".into()).ok()?;
        gpu.is_object().then_some(gpu)
    })
}

/// The origin of the page.
pub fn origin() -> String {
    ORIGIN.with(|origin| origin.clone().unwrap_or_default())
}

/// Gives the memory of an array back at once, where the browser can; it waits for the garbage
/// collector else, which does not hurry.
pub fn release(bytes: &Uint8Array) {
    let buffer = bytes.buffer();
    if let Ok(transfer) = Reflect::get(&buffer, &"transfer".into())
        && let Ok(transfer) = transfer.dyn_into::<Function>()
    {
        // A buffer that cannot be transferred is collected.
        let _ = transfer.call1(&buffer, &JsValue::from(0));
    }
}

/// Lets the event loop run for this long.
pub async fn sleep(milliseconds: f64) {
    let timer = Promise::new(&mut |resolve, _| {
        set_timeout(&resolve, milliseconds);
    });
    // A timer's promise never rejects.
    let _ = JsFuture::from(timer).await;
}
