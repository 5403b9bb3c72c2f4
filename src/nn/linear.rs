//! A fully connected layer over any weight format.

use burn::module::Module;
use burn::tensor::{Int, Tensor};

use super::RmsNorm;
use crate::error::Result;
use crate::kernels::{
    Activation, Epilogue, Matrix, linear, linear_cached, linear_gated, linear_normed,
};
use crate::weights::Weights;

/// `y = x W^T + b`.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Matrix,
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// Takes `weight` `[n, k]` and `bias` `[n]`.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn load(weights: &Weights<'_>, n: usize, k: usize) -> Result<Self> {
        Ok(Self { bias: Some(weights.bias(n)?), ..Self::load_no_bias(weights, n, k)? })
    }

    /// Takes `weight` `[n, k]` alone.
    ///
    /// # Errors
    /// The tensor is missing.
    pub fn load_no_bias(weights: &Weights<'_>, n: usize, k: usize) -> Result<Self> {
        Ok(Self { weight: weights.product(n, k)?, bias: None })
    }

    /// Takes `weight` `[n, c, h, w]` and `bias` `[n]` of a convolution whose stride is its size.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn load_convolution(weights: &Weights<'_>, n: usize, kernel: [usize; 3]) -> Result<Self> {
        Ok(Self { weight: weights.convolution(n, kernel)?, bias: Some(weights.bias(n)?) })
    }

    /// Output features n.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.weight.n()
    }

    /// `[batch, rows, k]` to `[batch, rows, n]`.
    #[must_use]
    pub fn forward(&self, x: &Tensor<3>) -> Tensor<3> {
        self.forward_with(x, None, None)
    }

    /// As [`Linear::forward`] of the normed x.
    #[must_use]
    pub fn after(&self, norm: &RmsNorm, x: &Tensor<3>) -> Tensor<3> {
        let epilogue = Epilogue { bias: self.bias.as_ref(), ..Epilogue::default() };
        linear_normed(x, norm.of(), &self.weight, epilogue)
    }

    /// `act(gate y) * up y` with y the normed x; biases are not read.
    #[must_use]
    pub fn gated(
        [gate, up]: [&Self; 2],
        norm: &RmsNorm,
        x: &Tensor<3>,
        activation: Activation,
    ) -> Tensor<3> {
        linear_gated(x, norm.of(), [&gate.weight, &up.weight], activation)
    }

    /// Keys and values of the normed x `[rows, 1, k]` into the row `position` of a decoder's cache
    /// `[rows, capacity, 2 * n]`, which is returned; biases are not read.
    #[must_use]
    pub fn into_cache(
        [key, value]: [&Self; 2],
        norm: &RmsNorm,
        x: &Tensor<3>,
        cache: &Tensor<3>,
        position: &Tensor<1, Int>,
    ) -> Tensor<3> {
        linear_cached(x, norm.of(), [&key.weight, &value.weight], cache.clone(), position)
    }

    /// As [`Linear::forward`], then an activation, then plus `residual` `[batch, rows, n]`.
    #[must_use]
    pub fn forward_with(
        &self,
        x: &Tensor<3>,
        activation: Option<Activation>,
        residual: Option<&Tensor<3>>,
    ) -> Tensor<3> {
        linear(x, &self.weight, Epilogue { bias: self.bias.as_ref(), activation, residual })
    }
}
