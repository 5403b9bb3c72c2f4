//! Fetching with retries: small files whole, shards into a JavaScript buffer of known length.
//!
//! A network error, an overloaded server (5xx, 429) or one that falls silent is tried again, up to
//! [`TRIES`] times, with exponential back-off and jitter. Bodies stay on the JavaScript side,
//! outside wasm memory. No `Content-Length` is needed: the index knows the lengths.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStreamDefaultReader, RequestCache, RequestInit, Response};
use web_time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::limits;
use crate::loading::manifest::missing;

use super::cancel::Cancel;
use super::js;
use super::progress::Meter;

pub const TRIES: u32 = 5;
const FIRST_PAUSE_MS: f64 = 300.0;
/// A server that sends nothing for this long is given up, and asked again. Five times this is
/// longer than a minute, which a busy host may be silent.
pub const STALL_MS: f64 = 20_000.0;

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

/// How to fetch: shared by all requests of a load.
pub struct Fetcher<'a> {
    /// The end of the load.
    pub cancel: &'a Cancel,
    /// Milliseconds of silence after which a request is given up.
    pub stall_ms: f64,
    /// Attempts a file.
    pub tries: u32,
    /// Whether shards go to a store of our own, so that the browser's cache need not keep them too.
    pub stored: bool,
}

/// A small file, or `None` where the host has none.
///
/// # Errors
/// The network failed, the file is longer than its name allows, or the visitor cancelled.
pub async fn small(url: &str, how: &Fetcher<'_>) -> Result<Option<Vec<u8>>> {
    with_retries(how, |attempt| async move {
        let Some(response) = request(url, &attempt, RequestCache::Default).await? else {
            return Ok(None);
        };
        let (mut bytes, most) = (Vec::new(), limits::limit(url));
        let whole = read(url, &response, &attempt, |chunk| {
            let start = bytes.len();
            if start + chunk.length() as usize > most {
                return ControlFlow::Break(());
            }
            bytes.resize(start + chunk.length() as usize, 0);
            chunk.copy_to(&mut bytes[start..]);
            ControlFlow::Continue(())
        })
        .await?;
        if !whole {
            return Err(Failure::Final(limits::too_long(url, None)));
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
    how: &Fetcher<'_>,
    meter: &Meter,
) -> Result<Body> {
    let mode = match (how.stored, afresh) {
        (true, _) => RequestCache::NoStore,
        (false, false) => RequestCache::Default,
        (false, true) => RequestCache::Reload,
    };
    let _fetching = meter.fetching();
    with_retries(how, |attempt| async move {
        let Some(response) = request(url, &attempt, mode).await? else {
            return Err(Failure::Final(missing(url)));
        };
        let body = Uint8Array::new_with_length(length);
        let mut received = 0;
        let mut counted = Counted { meter, bytes: 0 };
        let whole = read(url, &response, &attempt, |chunk| {
            if chunk.length() > length - received {
                return ControlFlow::Break(());
            }
            let bytes = chunk.length();
            body.set(&chunk, received);
            js::release(&chunk);
            received += bytes;
            counted.add(bytes);
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

/// One request. Dropping it aborts it.
struct Attempt {
    cancel: Cancel,
    stall: Duration,
    /// When something last came.
    heard: Rc<Cell<Instant>>,
    /// Done when nothing came for too long.
    silence: RefCell<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Attempt {
    fn new(how: &Fetcher<'_>) -> Result<Self> {
        let stall = Duration::from_secs_f64(how.stall_ms.max(0.0) / 1e3);
        let heard = Rc::new(Cell::new(Instant::now()));
        let last = Rc::clone(&heard);
        let silence = async move {
            loop {
                let left = stall.saturating_sub(last.get().elapsed());
                if left.is_zero() {
                    return;
                }
                js::sleep(left.as_secs_f64() * 1e3).await;
            }
        };
        Ok(Self {
            cancel: Cancel::new(Some(how.cancel.signal()))?,
            stall,
            heard,
            silence: RefCell::new(Box::pin(silence)),
        })
    }

    /// Whether the server was given up: nothing more can be waited for.
    fn is_silent(&self) -> bool {
        self.heard.get().elapsed() >= self.stall
    }

    /// Waits for what the server does next, but not for ever. Not after the server was given up.
    async fn wait<T>(
        &self,
        url: &str,
        next: impl Future<Output = Result<T, JsValue>>,
    ) -> Result<T, Failure> {
        let failed = |reason: String| match self.cancel.check() {
            Err(cancelled) => Failure::Final(cancelled),
            Ok(()) => Failure::Again(Error::Network { url: url.into(), reason }),
        };
        self.heard.set(Instant::now());
        let mut next = pin!(next);
        let outcome = std::future::poll_fn(|context| {
            if let Poll::Ready(outcome) = next.as_mut().poll(context) {
                return Poll::Ready(Some(outcome));
            }
            self.silence.borrow_mut().as_mut().poll(context).map(|()| None)
        })
        .await;
        match outcome {
            Some(outcome) => outcome.map_err(|thrown| failed(js::reason(&thrown))),
            None => {
                let seconds = self.stall.as_secs_f64();
                Err(failed(format!("the server sent nothing for {seconds:.0} seconds")))
            }
        }
    }
}

async fn with_retries<T, F>(how: &Fetcher<'_>, attempt: impl Fn(Attempt) -> F) -> Result<T>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut pause = FIRST_PAUSE_MS;
    let mut tries = 1;
    loop {
        how.cancel.check()?;
        match attempt(Attempt::new(how)?).await {
            Ok(value) => return Ok(value),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Again(error)) if tries >= how.tries => return Err(error),
            Err(Failure::Again(_)) => {}
        }
        how.cancel.sleep(pause * (0.5 + js_sys::Math::random())).await?;
        pause *= 2.0;
        tries += 1;
    }
}

/// What all requests have in common. Another host is not told which page asks by a `Referer`, and
/// gets no cookies, since these go to the page's own origin unless asked for otherwise: a model may
/// lie behind the same log-in as the page.
fn init(attempt: &Attempt, mode: RequestCache) -> RequestInit {
    let init = RequestInit::new();
    init.set_signal(Some(&attempt.cancel.signal()));
    init.set_cache(mode);
    // Setting a property of a fresh object cannot fail.
    let _ = Reflect::set(&init, &"referrerPolicy".into(), &"no-referrer".into());
    init
}

/// The response, or `None` for a file that is not there.
async fn request(
    url: &str,
    attempt: &Attempt,
    mode: RequestCache,
) -> Result<Option<Response>, Failure> {
    let init = init(attempt, mode);
    let network = |reason: String| Error::Network { url: url.into(), reason };
    let response = match attempt.wait(url, js::fetch(url, &init)).await {
        Err(Failure::Again(_)) if !attempt.is_silent() && hidden(url, attempt).await => {
            return Err(Failure::Final(Error::CorsMissing {
                url: url.into(),
                origin: js::origin(),
            }));
        }
        Err(Failure::Again(Error::Network { url, .. })) if !attempt.is_silent() => {
            return Err(Failure::Again(no_answer(url)));
        }
        response => response?,
    };
    let response: Response =
        response.dyn_into().map_err(|other| Failure::Final(network(js::reason(&other))))?;
    match response.status() {
        404 | 410 => Ok(None),
        _ if response.ok() => Ok(Some(response)),
        status if status >= 500 || status == 429 => {
            Err(Failure::Again(network(format!("the server said {status}"))))
        }
        status => Err(Failure::Final(network(format!("the server said {status}")))),
    }
}

/// The error where the network has none: to a script all of its reasons look alike.
fn no_answer(url: String) -> Error {
    let host = web_sys::Url::new(&url).map_or_else(|_| url.clone(), |url| url.host());
    let reason = format!("no answer from {host}. Is its server running, and this device online?");
    Error::Network { url, reason }
}

/// Whether a host of another origin answers, but not for this page's eyes: to a script, a missing
/// CORS header looks like a dead network. An opaque request tells the two apart.
async fn hidden(url: &str, attempt: &Attempt) -> bool {
    let elsewhere = web_sys::Url::new(url).is_ok_and(|url| url.origin() != js::origin());
    if !elsewhere {
        return false;
    }
    let init = init(attempt, RequestCache::NoStore);
    // Setting a property of a fresh object cannot fail.
    let _ = Reflect::set(&init, &"mode".into(), &"no-cors".into());
    attempt.wait(url, js::fetch(url, &init)).await.is_ok()
}

/// Hands each chunk of the body to `take`; false if it broke off.
async fn read(
    url: &str,
    response: &Response,
    attempt: &Attempt,
    mut take: impl FnMut(Uint8Array) -> ControlFlow<()>,
) -> Result<bool, Failure> {
    let broken = |thrown: JsValue| {
        Failure::Again(Error::Network { url: url.into(), reason: js::reason(&thrown) })
    };
    let Some(body) = response.body() else {
        return Ok(true);
    };
    let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
    loop {
        let step = attempt.wait(url, JsFuture::from(reader.read())).await?;
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
        attempt.cancel.check().map_err(Failure::Final)?;
    }
}
