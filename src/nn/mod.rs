//! Layers shared by the three towers, each a Burn module over the kernels.
//!
//! A layer knows its weight's storage format and nothing else about how it was loaded.

mod embedding;
mod linear;
mod norm;

pub use embedding::Embedding;
pub use linear::Linear;
pub use norm::{LayerNorm, RmsNorm};
