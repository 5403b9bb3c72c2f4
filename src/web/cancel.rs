//! Cancelling by `AbortSignal`: the visitor's signal, and the end of the work itself.

use wasm_bindgen::prelude::*;
use web_sys::{AbortController, AbortSignal};

use crate::error::{Error, Result};

use super::js;

/// One cancellable piece of work. Its own signal, given to every fetch, aborts when the
/// visitor's does, and when the work is dropped, so that no download outlives it.
pub struct Cancel {
    controller: AbortController,
    theirs: Option<(AbortSignal, Closure<dyn FnMut()>)>,
}

impl Cancel {
    /// Work that ends when `theirs` aborts.
    ///
    /// # Errors
    /// The browser has no `AbortController`.
    pub fn new(theirs: Option<AbortSignal>) -> Result<Self> {
        let controller = AbortController::new()
            .map_err(|thrown| Error::Internal { reason: js::reason(&thrown) })?;
        let theirs = theirs.map(|signal| {
            let own = controller.clone();
            let abort = Closure::<dyn FnMut()>::new(move || own.abort());
            // Adding a listener to an EventTarget cannot fail.
            let _ =
                signal.add_event_listener_with_callback("abort", abort.as_ref().unchecked_ref());
            if signal.aborted() {
                controller.abort();
            }
            (signal, abort)
        });
        Ok(Self { controller, theirs })
    }

    /// The signal for fetches.
    pub fn signal(&self) -> AbortSignal {
        self.controller.signal()
    }

    /// # Errors
    /// [`Error::Cancelled`] once the signal has aborted.
    pub fn check(&self) -> Result<()> {
        if self.controller.signal().aborted() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    /// Sleeps, and wakes early when cancelled.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once the signal has aborted.
    pub async fn sleep(&self, milliseconds: f64) -> Result<()> {
        const STEP: f64 = 100.0;
        let mut left = milliseconds;
        while left > 0.0 {
            js::sleep(left.min(STEP)).await;
            self.check()?;
            left -= STEP;
        }
        Ok(())
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        if let Some((signal, abort)) = &self.theirs {
            // Removing a listener cannot fail.
            let _ =
                signal.remove_event_listener_with_callback("abort", abort.as_ref().unchecked_ref());
        }
        self.controller.abort();
    }
}
