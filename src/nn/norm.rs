//! The norms of the models: the layer norm, and the root-mean-square norm.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::error::Result;
use crate::kernels::{Norm, layer_norm, rms_norm};
use crate::weights::Weights;

/// Layer norm over the last dimension.
#[derive(Module, Debug)]
pub struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    #[module(skip)]
    epsilon: f32,
}

impl LayerNorm {
    /// Takes `weight` and `bias`, both `[width]`.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn load(weights: &Weights<'_>, width: usize, epsilon: f32) -> Result<Self> {
        Ok(Self { weight: weights.gain(width)?, bias: weights.bias(width)?, epsilon })
    }

    /// Normalises the rows of `[batch, rows, width]`.
    #[must_use]
    pub fn forward(&self, x: &Tensor<3>) -> Tensor<3> {
        layer_norm(x, &self.weight, &self.bias, self.epsilon)
    }
}

/// Root-mean-square norm over the last dimension: no mean, no bias.
#[derive(Module, Debug)]
pub struct RmsNorm {
    weight: Tensor<1>,
    #[module(skip)]
    epsilon: f32,
}

impl RmsNorm {
    /// Takes `weight` `[width]`.
    ///
    /// # Errors
    /// The tensor is missing.
    pub fn load(weights: &Weights<'_>, width: usize, epsilon: f32) -> Result<Self> {
        Ok(Self { weight: weights.gain(width)?, epsilon })
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
