//! Keeps the message of a panic where JavaScript finds it.
//!
//! A panic ends in a wasm trap, which carries no message; after it, nothing more of this module
//! may be called. The hook writes the message to `globalThis.instructBlipPanic` first.

use js_sys::Reflect;
use wasm_bindgen::JsValue;

const KEY: &str = "instructBlipPanic";

/// Installs the hook.
pub fn install() {
    std::panic::set_hook(Box::new(|info| {
        let message = JsValue::from_str(&info.to_string());
        // Nothing can be done here if the global object refuses.
        let _ = Reflect::set(&js_sys::global(), &JsValue::from_str(KEY), &message);
    }));
}
