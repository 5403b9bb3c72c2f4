//! A table of embeddings over any weight format.

use burn::module::Module;
use burn::tensor::{Int, Tensor};

use crate::error::Result;
use crate::kernels::{Matrix, TokenHistory, embedding, embedding_step};
use crate::weights::Weights;

/// Rows by id.
#[derive(Module, Debug)]
pub struct Embedding {
    weight: Matrix,
}

impl Embedding {
    /// Takes `weight` `[count, width]`.
    ///
    /// # Errors
    /// The tensor is missing.
    pub fn load(weights: &Weights<'_>, count: usize, width: usize) -> Result<Self> {
        Ok(Self { weight: weights.embedding(count, width)? })
    }

    /// The texts' tokens at `position`, `[rows, 1, width]`.
    #[must_use]
    pub fn step(&self, history: &TokenHistory, position: &Tensor<1, Int>) -> Tensor<3> {
        embedding_step(history, position, &self.weight).unsqueeze_dim(1)
    }

    /// `[tokens]` to `[1, tokens, width]`.
    #[must_use]
    pub fn forward(&self, ids: &Tensor<1, Int>) -> Tensor<3> {
        embedding(ids, &self.weight).unsqueeze_dim(0)
    }
}
