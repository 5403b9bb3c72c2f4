//! Layers shared by the three towers, each a Burn module over the kernels.
//!
//! A layer is loaded from a place among [`Weights`](crate::weights::Weights), whatever lies behind
//! it, and computes in whatever format its weights are stored.

mod embedding;
mod linear;
mod norm;

pub use embedding::Embedding;
pub use linear::Linear;
pub use norm::{LayerNorm, RmsNorm};
