//! Shards in the browser's Cache API, under the hash of their content.
//!
//! A key is the shard's SHA-256, so that two hosts of one model share an entry. Everything works
//! without storage (private windows, a full disk): the shard is then fetched next time, and the
//! visitor is told once.

use std::cell::Cell;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Cache, Response};

use super::js;

/// The same name as in `www/page/model_panel.js`, which can delete it.
const NAME: &str = "instructblip-shards";

/// The store, or why there is none.
pub struct ShardCache {
    cache: Option<Cache>,
    full: Cell<bool>,
}

impl ShardCache {
    /// Opens the store. The warning is for the visitor, where it cannot be used.
    pub async fn open(wanted: bool) -> (Self, Option<&'static str>) {
        let none = Self { cache: None, full: Cell::new(false) };
        if !wanted {
            return (none, None);
        }
        let denied = "This browser does not let the page store files: the model is used, but will be downloaded again next time.";
        let Some(opening) =
            js::CACHES.with(|caches| caches.as_ref().map(|caches| caches.open(NAME)))
        else {
            return (none, Some(denied));
        };
        let cache =
            JsFuture::from(opening).await.ok().and_then(|cache| cache.dyn_into::<Cache>().ok());
        match cache {
            Some(cache) => (Self { cache: Some(cache), full: Cell::new(false) }, None),
            None => (none, Some(denied)),
        }
    }

    /// The bytes under this hash; they may be damaged and must be verified.
    pub async fn get(&self, sha256: &str) -> Option<Uint8Array> {
        let matching = self.cache.as_ref()?.match_with_str(&key(sha256));
        let response = JsFuture::from(matching).await.ok()?.dyn_into::<Response>().ok()?;
        let buffer = JsFuture::from(response.array_buffer().ok()?).await.ok()?;
        Some(Uint8Array::new(&buffer))
    }

    /// Stores verified bytes. The warning is for the visitor, where it fails for the first time.
    pub async fn put(&self, sha256: &str, bytes: &Uint8Array) -> Option<&'static str> {
        let cache = self.cache.as_ref()?;
        if self.full.get() {
            return None;
        }
        let stored = match Response::new_with_opt_js_u8_array(Some(bytes)) {
            Ok(response) => JsFuture::from(cache.put_with_str(&key(sha256), &response)).await,
            Err(thrown) => Err(thrown),
        };
        if stored.is_ok() || self.full.replace(true) {
            return None;
        }
        Some(
            "This browser's storage is full: the model is used, but parts of it will be downloaded again next time.",
        )
    }

    /// Removes damaged bytes.
    pub async fn remove(&self, sha256: &str) {
        if let Some(cache) = &self.cache {
            // A damaged entry that stays is found damaged again and fetched.
            let _ = JsFuture::from(cache.delete_with_str(&key(sha256))).await;
        }
    }
}

/// A cache's keys are addresses; this one is never requested.
fn key(sha256: &str) -> String {
    format!("https://instructblip.invalid/shards/{sha256}")
}
