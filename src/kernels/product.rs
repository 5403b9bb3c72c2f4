//! What the two products share: what is fused with them, and their oracle.

use burn::tensor::Tensor;

use super::activation::Activation;
use super::rms_norm;

/// What happens to the product before it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added to every row, `[n]`.
    pub bias: Option<&'a Tensor<1>>,
    /// Applied after the bias.
    pub activation: Option<Activation>,
    /// Added last, `[batch, rows, n]`.
    pub residual: Option<&'a Tensor<3>>,
}

/// The root-mean-square norm, of the rows of x before the product.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// `[k]`.
    pub gain: &'a Tensor<1>,
    /// Added to the mean of the squares.
    pub epsilon: f32,
}

impl Norm<'_> {
    pub(super) fn apply(self, x: &Tensor<3>) -> Tensor<3> {
        rms_norm(x, self.gain, self.epsilon)
    }
}

/// Rows of x times rows of w, all `k` wide.
pub(super) fn product(x: &[f64], w: &[f32], k: usize) -> Vec<f64> {
    let dot = |x: &[f64], w: &[f32]| x.iter().zip(w).map(|(a, b)| a * f64::from(*b)).sum();
    x.chunks(k).flat_map(|x| w.chunks(k).map(move |w| dot(x, w))).collect()
}

/// `act(sum + bias) * gate + residual`, value by value of rows of `n`; the gate's product, bias and
/// residual are used where they are there.
pub(super) fn finish(
    sums: &[f64],
    n: usize,
    activation: Option<Activation>,
    [bias, residual]: [Option<&[f32]>; 2],
    gate: Option<&Vec<f64>>,
) -> Vec<f32> {
    let at = |values: Option<&[f32]>, i: usize| values.map_or(0.0, |v| f64::from(v[i]));
    let value = |(i, sum): (usize, &f64)| {
        let sum = sum + at(bias, i % n);
        let value = activation.map_or(sum, |activation| activation.apply(sum));
        (value * gate.map_or(1.0, |gate| gate[i]) + at(residual, i)) as f32
    };
    sums.iter().enumerate().map(value).collect()
}
