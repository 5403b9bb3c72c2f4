//! The browser's storage, as far as the loader uses it: `www/engine/store.js` keeps the files, the
//! worker hands it over. Everything works without it; what it cannot do is a sentence for the
//! visitor, never an error.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use crate::loading::manifest::Record;

use super::js;

#[wasm_bindgen]
extern "C" {
    /// The class `Store` of `www/engine/store.js`.
    #[wasm_bindgen(typescript_type = "Store")]
    pub type JsStore;
    #[wasm_bindgen(method, catch)]
    async fn model(this: &JsStore, url: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn begin(this: &JsStore, record: JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn finish(this: &JsStore, record: JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn get(this: &JsStore, sha256: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn put(this: &JsStore, sha256: &str, bytes: &Uint8Array) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn remove(this: &JsStore, sha256: &str) -> Result<JsValue, JsValue>;
}

/// The store, or none.
pub struct Store(Option<JsStore>);

impl Store {
    /// Wraps what the worker gave.
    pub fn new(store: Option<JsStore>) -> Self {
        Self(store)
    }

    /// The record of a complete model.
    pub async fn model(&self, url: &str) -> Option<Record> {
        let record = self.0.as_ref()?.model(url).await.ok()?;
        serde_wasm_bindgen::from_value(record).ok()
    }

    /// Announces what is about to be loaded. The warning is for the visitor.
    pub async fn begin(&self, record: &Record) -> Option<String> {
        let store = self.0.as_ref()?;
        warning(store.begin(js::to_value(record).ok()?).await)
    }

    /// Declares a model complete.
    pub async fn finish(&self, record: &Record) -> Option<String> {
        let store = self.0.as_ref()?;
        warning(store.finish(js::to_value(record).ok()?).await)
    }

    /// The bytes under this hash; they may be damaged and must be verified.
    pub async fn get(&self, sha256: &str) -> Option<Uint8Array> {
        self.0.as_ref()?.get(sha256).await.ok()?.dyn_into().ok()
    }

    /// Stores verified bytes. The warning is for the visitor.
    pub async fn put(&self, sha256: &str, bytes: &Uint8Array) -> Option<String> {
        warning(self.0.as_ref()?.put(sha256, bytes).await)
    }

    /// Removes damaged bytes.
    pub async fn remove(&self, sha256: &str) {
        if let Some(store) = &self.0 {
            // A damaged entry that stays is found damaged again and fetched.
            let _ = store.remove(sha256).await;
        }
    }
}

/// A sentence that the store returned. Should it throw, the model is merely not stored.
fn warning(returned: Result<JsValue, JsValue>) -> Option<String> {
    returned.ok()?.as_string()
}
