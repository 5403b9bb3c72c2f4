//! Vision-language models on the visitor's GPU: in a browser tab through WebGPU, natively through wgpu.
//!
//! The modules in the order in which data flows:
//!
//! | module | from | to |
//! |---|---|---|
//! | [`config`] | `config.json` and its companions | typed, checked sizes |
//! | [`image`] | a picture's bytes | `pixel_values` |
//! | [`text`], [`prompt`] | a question | token ids, and ids back to text |
//! | [`checkpoint`] | files or a network stream | named bytes |
//! | [`quant`], [`weights`] | named bytes | tensors on the device, as models ask for them |
//! | [`fit`] | configuration and index | whether the model fits a GPU |
//! | [`kernels`] | tensors | tensors, by a WGSL shader or its CPU oracle |
//! | [`nn`], [`models`] | weights | Burn modules: vision towers, bridges, language models |
//! | [`generation`] | a prompt that was read | token ids |
//! | [`session`] | picture and question | an answer, streamed |
//!
//! [`verify`] compares every stage with recorded outputs of the reference implementation;
//! [`mod@bench`] measures them.
#![cfg_attr(target_family = "wasm", doc = "`web` is the JavaScript surface.")]

pub mod bench;
#[cfg(not(target_family = "wasm"))]
pub mod check;
pub mod checkpoint;
pub mod config;
#[cfg(not(target_family = "wasm"))]
pub mod convert;
pub mod error;
#[cfg(not(target_family = "wasm"))]
pub mod eval;
pub mod fit;
pub mod generation;
pub mod gpu;
#[cfg(not(target_family = "wasm"))]
pub mod hub;
pub mod image;
mod json;
pub mod kernels;
pub mod limits;
pub mod loading;
pub mod meter;
pub mod models;
pub mod nn;
pub mod pace;
pub mod prompt;
pub mod quant;
pub mod random;
pub mod readback;
pub mod session;
pub mod text;
pub mod timestamps;
pub mod verify;
#[cfg(target_family = "wasm")]
pub mod web;
pub mod weights;

pub use error::{Error, Result};
