//! What happens when the module is instantiated.

use super::panic;

unsafe extern "C" {
    /// The linker's: runs the constructors that crates have registered (CubeCL's compiler has
    /// hundreds). Where nobody calls it, the linker takes the module for a command and has every
    /// export run all of them on every call, allocation for JavaScript among them.
    fn __wasm_call_ctors();
}

/// Runs by itself, once, before anything else is called.
#[wasm_bindgen::prelude::wasm_bindgen(start)]
pub fn start() {
    // SAFETY: it takes nothing, and this is the first and only call of it.
    unsafe { __wasm_call_ctors() };
    panic::install();
}
