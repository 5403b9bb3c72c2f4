//! InstructBLIP-FlanT5 on the visitor's GPU: in a browser tab through WebGPU, natively through wgpu.
//!
//! The modules in the order in which data flows:
//!
//! | module | from | to |
//! |---|---|---|
//! | [`config`] | `config.json` and its companions | typed, checked sizes |
//! | [`image`] | a picture's bytes | `pixel_values` |
//! | [`text`], [`prompt`] | a question | T5 and BERT ids, and ids back to text |
//! | [`checkpoint`], [`quant`] | files or a network stream | named tensors on the device |
//! | [`fit`] | configuration and index | whether the model fits a GPU |
//! | [`kernels`] | tensors | tensors, by a WGSL shader or its CPU oracle |
//! | [`nn`], [`models`] | named tensors | Burn modules: ViT, Q-Former, T5 |
//! | [`generation`] | encoder output | token ids |
//! | [`session`] | picture and question | an answer, streamed |
//!
//! [`verify`] compares every stage with recorded outputs of the reference implementation;
//! [`mod@bench`] measures them.
#![cfg_attr(target_family = "wasm", doc = "`web` is the JavaScript surface.")]

pub mod bench;
pub mod checkpoint;
pub mod config;
pub mod error;
#[cfg(not(target_family = "wasm"))]
pub mod eval;
pub mod fit;
pub mod generation;
pub mod gpu;
pub mod image;
mod json;
pub mod kernels;
pub mod limits;
pub mod meter;
pub mod models;
pub mod nn;
pub mod pace;
pub mod prompt;
pub mod quant;
pub mod readback;
pub mod session;
pub mod text;
pub mod timestamps;
pub mod verify;
#[cfg(target_family = "wasm")]
pub mod web;

pub use error::{Error, Result};
