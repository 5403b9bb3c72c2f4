//! Fetching with retries: small files whole, shards into a JavaScript buffer of known length.
//!
//! A network error or an overloaded server (5xx, 429) is tried again, up to [`TRIES`] times, with
//! exponential back-off and jitter. Bodies stay on the JavaScript side, outside wasm memory.

use std::future::Future;
use std::ops::ControlFlow;

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStreamDefaultReader, RequestCache, RequestInit, Response};

use crate::error::{Error, Result};

use super::cancel::Cancel;
use super::js;
use super::progress::Meter;

const TRIES: u32 = 3;
const FIRST_PAUSE_MS: f64 = 400.0;

/// One attempt's failure, and whether another may help.
enum Failure {
    Again(Error),
    Final(Error),
}

/// What came for a shard.
pub enum Body {
    /// As many bytes as promised.
    Complete(Uint8Array),
    /// Fewer or more.
    WrongLength(String),
}

/// A small file, or `None` where the host has none.
///
/// # Errors
/// The network failed, the file has more than `limit` bytes, or the visitor cancelled.
pub async fn small(url: &str, limit: usize, cancel: &Cancel) -> Result<Option<Vec<u8>>> {
    with_retries(cancel, || async {
        let Some(response) = request(url, cancel, RequestCache::Default).await? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let whole = read(url, &response, cancel, |chunk| {
            let start = bytes.len();
            if start + chunk.length() as usize > limit {
                return ControlFlow::Break(());
            }
            bytes.resize(start + chunk.length() as usize, 0);
            chunk.copy_to(&mut bytes[start..]);
            ControlFlow::Continue(())
        })
        .await?;
        if !whole {
            return Err(Failure::Final(Error::Network {
                url: url.into(),
                reason: format!("the file is longer than the {limit} bytes it may have"),
            }));
        }
        Ok(Some(bytes))
    })
    .await
}

/// A shard of `length` bytes; `afresh` goes past the browser's HTTP cache.
///
/// # Errors
/// The network failed, or the visitor cancelled.
pub async fn shard(
    url: &str,
    length: u32,
    afresh: bool,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Body> {
    let mode = if afresh { RequestCache::Reload } else { RequestCache::Default };
    with_retries(cancel, || async {
        let Some(response) = request(url, cancel, mode).await? else {
            return Err(Failure::Final(missing(url)));
        };
        let body = Uint8Array::new_with_length(length);
        let mut received = 0;
        let mut counted = Counted { meter, bytes: 0 };
        let whole = read(url, &response, cancel, |chunk| {
            if chunk.length() > length - received {
                return ControlFlow::Break(());
            }
            body.set(&chunk, received);
            received += chunk.length();
            counted.add(chunk.length());
            ControlFlow::Continue(())
        })
        .await?;
        if whole && received == length {
            counted.keep();
            return Ok(Body::Complete(body));
        }
        let found = if whole { format!("{received}") } else { "more".into() };
        Ok(Body::WrongLength(format!("the index promises {length} bytes, {found} came")))
    })
    .await
}

/// The error for a file that the host does not have.
pub fn missing(url: &str) -> Error {
    Error::Network {
        url: url.into(),
        reason: "there is no such file (404). Is this the folder of a model converted by `instructblip convert`?".into(),
    }
}

/// Bytes told to the meter, taken back unless the attempt succeeds.
struct Counted<'a> {
    meter: &'a Meter,
    bytes: u64,
}

impl Counted<'_> {
    fn add(&mut self, bytes: u32) {
        self.bytes += u64::from(bytes);
        self.meter.received(u64::from(bytes));
    }

    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.meter.forget(self.bytes);
    }
}

async fn with_retries<T, F>(cancel: &Cancel, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut pause = FIRST_PAUSE_MS;
    let mut tries = 1;
    loop {
        cancel.check()?;
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Again(error)) if tries == TRIES => return Err(error),
            Err(Failure::Again(_)) => {}
        }
        cancel.sleep(pause * (0.5 + js_sys::Math::random())).await?;
        pause *= 2.0;
        tries += 1;
    }
}

/// The response, or `None` for a file that is not there.
async fn request(
    url: &str,
    cancel: &Cancel,
    mode: RequestCache,
) -> Result<Option<Response>, Failure> {
    let init = RequestInit::new();
    init.set_signal(Some(&cancel.signal()));
    init.set_cache(mode);
    let network = |reason: String| Error::Network { url: url.into(), reason };
    let response = js::fetch(url, &init)
        .await
        .and_then(|response| response.dyn_into::<Response>())
        .map_err(|thrown| match cancel.check() {
            Err(cancelled) => Failure::Final(cancelled),
            Ok(()) => Failure::Again(network(js::reason(&thrown))),
        })?;
    match response.status() {
        404 | 410 => Ok(None),
        _ if response.ok() => Ok(Some(response)),
        status if status >= 500 || status == 429 => {
            Err(Failure::Again(network(format!("the server said {status}"))))
        }
        status => Err(Failure::Final(network(format!("the server said {status}")))),
    }
}

/// Hands each chunk of the body to `take`; false if it broke off.
async fn read(
    url: &str,
    response: &Response,
    cancel: &Cancel,
    mut take: impl FnMut(Uint8Array) -> ControlFlow<()>,
) -> Result<bool, Failure> {
    let broken = |thrown: JsValue| match cancel.check() {
        Err(cancelled) => Failure::Final(cancelled),
        Ok(()) => Failure::Again(Error::Network { url: url.into(), reason: js::reason(&thrown) }),
    };
    let Some(body) = response.body() else {
        return Ok(true);
    };
    let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
    loop {
        let step = JsFuture::from(reader.read()).await.map_err(broken)?;
        let done = Reflect::get(&step, &"done".into()).map_err(broken)?;
        if done.is_truthy() {
            return Ok(true);
        }
        let chunk = Reflect::get(&step, &"value".into()).map_err(broken)?;
        if take(chunk.unchecked_into()).is_break() {
            // The rest is not wanted; whether the stream hears of it does not matter.
            let _ = reader.cancel();
            return Ok(false);
        }
        cancel.check().map_err(Failure::Final)?;
    }
}
