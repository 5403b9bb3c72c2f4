//! The GPU device of this worker ([`crate::gpu`]): opened as a browser does it, and watched.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use burn::tensor::Device;
use js_sys::{Function, Promise, Reflect};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::error::{Error, Result};
use crate::fit::{BufferLimits, SPARE_BYTES};
use crate::gpu::{adopt, open_device};
use crate::kernels::census;

use super::js;

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

#[derive(Default)]
struct State {
    /// Why the device was lost.
    lost: Option<String>,
    /// What the GPU refused while nobody watched.
    refused: Option<String>,
    /// Called when it is.
    listener: Option<Function>,
}

/// The device; the first call opens it, before anything large is fetched.
///
/// # Errors
/// The browser has no WebGPU, finds no adapter, refuses a device, or lost it.
pub async fn open() -> Result<Device> {
    check()?;
    if let Some(gpu) = open_device() {
        return Ok(gpu.device.clone());
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
    // Burn's own handler panics. This one makes every later call fail with the reason.
    setup.device.on_uncaptured_error(Arc::new(|error| {
        STATE.with_borrow_mut(|state| {
            state.refused.get_or_insert_with(|| error.to_string());
        });
    }));
    Ok(adopt(&device, setup).device.clone())
}

/// # Errors
/// [`Error::DeviceLost`] once the device is lost, [`Error::Gpu`] once it refused something that
/// nobody watched.
pub fn check() -> Result<()> {
    STATE.with_borrow(|state| match (&state.lost, &state.refused) {
        (Some(reason), _) => Err(Error::DeviceLost { reason: reason.clone() }),
        (None, Some(reason)) => Err(Error::Gpu { reason: reason.clone() }),
        (None, None) => Ok(()),
    })
}

/// What a buffer may be on the open device.
pub fn buffer_limits() -> Option<BufferLimits> {
    let limits = open_device()?.raw.limits();
    Some(BufferLimits {
        max_buffer_size: limits.max_buffer_size,
        max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
    })
}

/// Runs `work` under error scopes: an allocation or a pipeline that the GPU refused makes it
/// fail, though the calls themselves returned. Errors reach the scopes in the order of the calls.
/// Only one such work may go on at a time; others beside it are [`guarded_steps`].
///
/// # Errors
/// Those of `work`; [`Error::OutOfMemory`] or [`Error::Gpu`] where the GPU refused something.
pub async fn guarded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(gpu) = open_device() else {
        return work.await;
    };
    let scopes = Scopes::push(&gpu.raw);
    let done = work.await;
    scopes.pop().await?;
    done
}

/// As [`guarded`] for work that goes on beside other work. Scopes are a stack, so these are open
/// only while `work` makes a step, never while it waits.
///
/// # Errors
/// As [`guarded`].
pub async fn guarded_steps<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(gpu) = open_device() else {
        return work.await;
    };
    let mut work = pin!(work);
    let mut verdicts: Vec<(usize, Verdict)> = Vec::new();
    let mut refused = Ok(());
    let done = std::future::poll_fn(|context| {
        let scopes = Scopes::push(&gpu.raw);
        let polled = work.as_mut().poll(context);
        verdicts.push((census::handed_over(), Box::pin(scopes.pop())));
        // Those that are there make room; nobody needs to be woken for one.
        verdicts.retain_mut(|(pipelines, verdict)| {
            let Poll::Ready(verdict) =
                verdict.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            else {
                return true;
            };
            census::compiled(*pipelines);
            refused = std::mem::replace(&mut refused, Ok(())).and(verdict);
            false
        });
        polled
    })
    .await;
    refused?;
    for (pipelines, verdict) in verdicts {
        verdict.await?;
        census::compiled(pipelines);
    }
    done
}

/// What the GPU has to say of a step. By then it has compiled what it was handed before.
type Verdict = Pin<Box<dyn Future<Output = Result<()>>>>;

/// One open scope for each kind of error.
struct Scopes([wgpu::ErrorScopeGuard; 3]);

impl Scopes {
    fn push(device: &wgpu::Device) -> Self {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        Self([Validation, Internal, OutOfMemory].map(|filter| device.push_error_scope(filter)))
    }

    /// Closes them now; the future tells what they caught.
    fn pop(self) -> impl Future<Output = Result<()>> + use<> {
        let [validation, internal, memory] = self.0;
        // Scopes are a stack: the last one in is the first one out.
        let (memory, internal, validation) = (memory.pop(), internal.pop(), validation.pop());
        async {
            for refused in [memory.await, internal.await, validation.await] {
                match refused {
                    Some(wgpu::Error::OutOfMemory { .. }) => {
                        let advice = "Close other tabs and programs that use the GPU, or choose a smaller model.";
                        return Err(Error::OutOfMemory { advice: advice.into() });
                    }
                    Some(error) => return Err(Error::Gpu { reason: error.to_string() }),
                    None => {}
                }
            }
            Ok(())
        }
    }
}

/// Allocates this many bytes and gives them back: WebGPU tells no other way whether they are
/// there. Nothing is written, so nothing is moved to make room. They are asked for in steps, and
/// after a step that is refused for no more: a GPU process that is asked for far too much dies,
/// and takes the devices of other pages with it.
///
/// # Errors
/// [`Error::OutOfMemory`] where they are not.
pub async fn try_allocation(bytes: u64) -> Result<()> {
    const PIECE: u64 = 64 << 20;
    let Some(gpu) = open_device() else {
        return Ok(());
    };
    let mut pieces = Vec::new();
    let mut left = bytes;
    let mut tried = Ok(());
    while left > 0 && tried.is_ok() {
        tried = guarded_steps(async {
            let end = left.saturating_sub(SPARE_BYTES);
            while left > end {
                let piece = PIECE.min(left - end);
                pieces.push(gpu.raw.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("trial"),
                    size: piece.next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT),
                    usage: wgpu::BufferUsages::STORAGE,
                    mapped_at_creation: false,
                }));
                left -= piece;
            }
            Ok(())
        })
        .await
        .and_then(|()| check());
    }
    pieces.iter().for_each(wgpu::Buffer::destroy);
    tried
}

/// Hands over everything that was written and waits until the GPU has it. Burn queues writes
/// with their bytes; without this, wasm memory would hold the whole model.
///
/// # Errors
/// The GPU failed.
pub async fn drain() -> Result<()> {
    let Some(gpu) = open_device() else {
        return Ok(());
    };
    gpu.device.flush().map_err(|error| Error::Gpu { reason: error.to_string() })?;
    gpu.submitted().done().await?;
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
