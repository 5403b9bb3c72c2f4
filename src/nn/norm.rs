//! The two norms of the model: BERT's and ViT's layer norm, T5's root-mean-square norm.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::checkpoint::store::WeightStore;
use crate::error::Result;
use crate::kernels::{Norm, layer_norm, rms_norm};

/// Layer norm over the last dimension.
#[derive(Module, Debug)]
pub struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    #[module(skip)]
    epsilon: f32,
}

impl LayerNorm {
    /// Takes `{prefix}.weight` and `{prefix}.bias`, both `[width]`.
    ///
    /// # Errors
    /// A tensor is missing or misshapen.
    pub fn load(
        weights: &mut WeightStore,
        prefix: &str,
        width: usize,
        epsilon: f32,
    ) -> Result<Self> {
        Ok(Self {
            weight: weights.floats(&format!("{prefix}.weight"), [width])?,
            bias: weights.floats(&format!("{prefix}.bias"), [width])?,
            epsilon,
        })
    }

    /// Normalises the rows of `[batch, rows, width]`.
    #[must_use]
    pub fn forward(&self, x: &Tensor<3>) -> Tensor<3> {
        layer_norm(x, &self.weight, &self.bias, self.epsilon)
    }
}

/// T5's norm: no mean, no bias.
#[derive(Module, Debug)]
pub struct RmsNorm {
    weight: Tensor<1>,
    #[module(skip)]
    epsilon: f32,
}

impl RmsNorm {
    /// Takes `{prefix}.weight` `[width]`.
    ///
    /// # Errors
    /// The tensor is missing or misshapen.
    pub fn load(
        weights: &mut WeightStore,
        prefix: &str,
        width: usize,
        epsilon: f32,
    ) -> Result<Self> {
        Ok(Self { weight: weights.floats(&format!("{prefix}.weight"), [width])?, epsilon })
    }

    /// The norm as a part of the product that follows it.
    #[must_use]
    pub(super) fn of(&self) -> Norm<'_> {
        Norm { gain: &self.weight, epsilon: self.epsilon }
    }

    /// Normalises the rows of `[batch, rows, width]`.
    #[must_use]
    pub fn forward(&self, x: &Tensor<3>) -> Tensor<3> {
        rms_norm(x, &self.weight, self.epsilon)
    }
}
