//! The GPU device of this worker: opened once, and watched.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use burn::tensor::Device;
use js_sys::{Function, Promise, Reflect};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::error::{Error, Result};

use super::js;

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State { device: None, queue: None, lost: None, listener: None }) };
}

struct State {
    device: Option<Device>,
    queue: Option<wgpu::Queue>,
    /// Why the device was lost.
    lost: Option<String>,
    /// Called when it is.
    listener: Option<Function>,
}

/// The device; the first call opens it, before anything large is fetched.
///
/// # Errors
/// The browser has no WebGPU, finds no adapter, refuses a device, or lost it.
pub async fn open() -> Result<Device> {
    check()?;
    if let Some(device) = STATE.with_borrow(|state| state.device.clone()) {
        return Ok(device);
    }
    let gpu = js::navigator_gpu().ok_or(Error::WebGpuMissing)?;
    find_adapter(&gpu).await?;
    let (device, setup) = Device::wgpu_options()
        .init_with_setup_async()
        .await
        .map_err(|error| Error::AdapterMissing { reason: error.to_string() })?;
    // In a browser every callback is its own listener: Burn's stays.
    setup.device.set_device_lost_callback(|reason, message| {
        lost(if message.is_empty() { format!("{reason:?}") } else { message });
    });
    STATE.with_borrow_mut(|state| {
        state.device = Some(device.clone());
        state.queue = Some(setup.queue);
    });
    Ok(device)
}

/// # Errors
/// [`Error::DeviceLost`] once the device is lost.
pub fn check() -> Result<()> {
    STATE.with_borrow(|state| match &state.lost {
        Some(reason) => Err(Error::DeviceLost { reason: reason.clone() }),
        None => Ok(()),
    })
}

/// Hands over everything that was written and waits until the GPU has it. Burn queues writes
/// with their bytes; without this, wasm memory would hold the whole model.
///
/// # Errors
/// The GPU failed.
pub async fn drain() -> Result<()> {
    let (device, queue) = STATE.with_borrow(|state| (state.device.clone(), state.queue.clone()));
    let (Some(device), Some(queue)) = (device, queue) else {
        return Ok(());
    };
    device.flush().map_err(|error| Error::Gpu { reason: error.to_string() })?;
    let done = Arc::new(Mutex::new((false, None::<Waker>)));
    let signal = Arc::clone(&done);
    queue.on_submitted_work_done(move || {
        let mut done = signal.lock().unwrap_or_else(PoisonError::into_inner);
        done.0 = true;
        if let Some(waker) = done.1.take() {
            waker.wake();
        }
    });
    std::future::poll_fn(|context| {
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.0 {
            return Poll::Ready(());
        }
        done.1 = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
    check()
}

/// After a loss every operation fails for its own reason; this names the real one.
pub fn explain(error: Error) -> Error {
    match check() {
        Err(lost) if error.code() != "cancelled" => lost,
        _ => error,
    }
}

/// A promise of the code and sentence of the loss; it stays open while the device lives.
pub fn lost_promise() -> Promise {
    Promise::new(&mut |resolve, _| {
        STATE.with_borrow_mut(|state| state.listener = Some(resolve));
    })
}

#[derive(Serialize)]
struct Plain {
    code: &'static str,
    message: String,
}

fn lost(reason: String) {
    let error = Error::DeviceLost { reason: reason.clone() };
    let listener = STATE.with_borrow_mut(|state| {
        state.lost = Some(reason);
        state.listener.take()
    });
    let plain = js::to_value(&Plain { code: error.code(), message: error.to_string() });
    if let (Some(listener), Ok(plain)) = (listener, plain) {
        // Resolving a promise does not throw.
        let _ = listener.call1(&JsValue::NULL, &plain);
    }
}

/// Asks for an adapter before Burn does, whose own error would not tell the reasons apart.
async fn find_adapter(gpu: &JsValue) -> Result<()> {
    let missing = |reason: String| Error::AdapterMissing { reason };
    let thrown = |thrown: JsValue| missing(js::reason(&thrown));
    let request: Function = Reflect::get(gpu, &"requestAdapter".into())
        .and_then(|request| request.dyn_into())
        .map_err(thrown)?;
    let promise: Promise =
        request.call0(gpu).and_then(|promise| promise.dyn_into()).map_err(thrown)?;
    let adapter = JsFuture::from(promise).await.map_err(thrown)?;
    if adapter.is_null() || adapter.is_undefined() {
        return Err(missing("the browser offers none".into()));
    }
    Ok(())
}
