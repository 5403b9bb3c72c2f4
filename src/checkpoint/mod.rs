//! Checkpoints as bytes: Hugging Face folders and shard sets.
//!
//! - [`safetensors`]: the header of one file, parsed with distrust.
//! - [`index`]: `model.safetensors.index.json`, and the lengths and hashes of a shard set.
//! - [`folder`]: a folder of either kind on the disk; [`repository`]: the names of those on a hub
//!   (native).

#[cfg(not(target_family = "wasm"))]
pub mod folder;
pub mod index;
#[cfg(not(target_family = "wasm"))]
pub mod repository;
pub mod safetensors;

#[cfg(not(target_family = "wasm"))]
pub use folder::{Folder, TensorView};
pub use index::{Index, ShardInfo};
pub use safetensors::{Dtype, Header, TensorInfo};
