//! A fully connected layer over any weight format.

use burn::module::Module;
use burn::tensor::{Int, Tensor};

use super::RmsNorm;
use crate::checkpoint::store::WeightStore;
use crate::error::Result;
use crate::kernels::{
    Activation, Epilogue, Matrix, linear, linear_cached, linear_gated, linear_normed,
};

/// `y = x W^T + b`.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Matrix,
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// Takes `{prefix}.weight` `[n, k]` and, with `bias`, `{prefix}.bias` `[n]`.
    ///
    /// # Errors
    /// A tensor is missing or misshapen.
    pub fn load(
        weights: &mut WeightStore,
        prefix: &str,
        n: usize,
        k: usize,
        bias: bool,
    ) -> Result<Self> {
        Ok(Self {
            weight: weights.matrix(prefix, n, k)?,
            bias: if bias { Some(weights.floats(&format!("{prefix}.bias"), [n])?) } else { None },
        })
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

    /// `act(gate y) * up y` with y the normed x; biases are not read (T5 has none).
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
