//! A fully connected layer over any weight format.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::checkpoint::store::WeightStore;
use crate::error::Result;
use crate::kernels::{Activation, Epilogue, Matrix, linear};

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

    /// `[batch, rows, k]` to `[batch, rows, n]`.
    #[must_use]
    pub fn forward(&self, x: &Tensor<3>) -> Tensor<3> {
        self.forward_with(x, None, None)
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
