//! Checkpoints: Hugging Face folders in, shard sets out and in.
//!
//! - [`safetensors`]: the header of one file, parsed with distrust.
//! - [`index`]: `model.safetensors.index.json`, and the lengths and hashes of a shard set.
//! - [`layout`]: the names, shapes and bytes that a configuration implies.
//! - [`names`]: the names that a checkpoint's tensors have here, and the parts they belong to.
//! - [`store`]: the tensors on the device, waiting for the models.
//! - [`folder`]: a folder of either kind on the disk (native).
//! - [`hub`]: downloads the files of a repository on a hub (native).
//! - [`rows`]: the rows of a weight as f32, whatever its format (native).
//! - [`recipe`]: which tensor is stored in which format (native).
//! - [`parallel`]: work on several threads, results in order (native).
//! - [`shardset`], [`output`] and [`journal`]: write safetensors files with aligned tensors, whole
//!   or not at all, and continue where a run was interrupted (native).
//! - `planted`, `small_files`: links in strangers' folders are neither followed nor copied (native).
//! - `card`: the `README.md` of a converted model (native).
//! - [`mod@convert`], [`mod@export`], [`mod@inspect`], [`mod@synth`]: what the command line does (native).

pub mod index;
pub mod layout;
pub mod names;
pub mod safetensors;
pub mod store;

#[cfg(not(target_family = "wasm"))]
mod card;
#[cfg(not(target_family = "wasm"))]
pub mod convert;
#[cfg(not(target_family = "wasm"))]
pub mod export;
#[cfg(not(target_family = "wasm"))]
pub mod folder;
#[cfg(not(target_family = "wasm"))]
pub mod hub;
#[cfg(not(target_family = "wasm"))]
pub mod inspect;
#[cfg(not(target_family = "wasm"))]
pub mod journal;
#[cfg(not(target_family = "wasm"))]
pub mod output;
#[cfg(not(target_family = "wasm"))]
pub mod parallel;
#[cfg(not(target_family = "wasm"))]
mod planted;
#[cfg(not(target_family = "wasm"))]
pub mod recipe;
#[cfg(not(target_family = "wasm"))]
pub mod rows;
#[cfg(not(target_family = "wasm"))]
pub mod shardset;
#[cfg(not(target_family = "wasm"))]
mod small_files;
#[cfg(not(target_family = "wasm"))]
pub mod synth;

#[cfg(all(test, not(target_family = "wasm")))]
mod tests;

pub use index::{Index, ShardInfo};
pub use safetensors::{Dtype, Header, TensorInfo};

#[cfg(not(target_family = "wasm"))]
pub use {
    convert::{ConvertOptions, convert},
    export::{ExportOptions, export},
    folder::{Folder, TensorView},
    inspect::inspect,
    journal::Start,
    recipe::Recipe,
};

/// What a long conversion reports after every block of work.
#[cfg(not(target_family = "wasm"))]
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Bytes of tensor data written so far.
    pub done: u64,
    /// Bytes of tensor data there will be.
    pub total: u64,
    /// The tensor at work.
    pub name: &'a str,
    /// Whether the work of an earlier run is continued.
    pub start: Start,
}

/// What a conversion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Tensors of the model; a packed matrix and its scales count as one.
    pub tensors: usize,
    /// Bytes of the source's weight files.
    pub source_bytes: u64,
    /// Weight files written.
    pub files: usize,
    /// Bytes of these files.
    pub bytes: u64,
}
