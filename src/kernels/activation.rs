//! Activation functions: the constant that selects one in `shaders/parts/activation.wgsl`, and the
//! oracle.

pub use crate::config::Activation;

/// The constant ACTIVATION of the shaders.
pub(super) const fn constant(activation: Option<Activation>) -> u32 {
    match activation {
        None => 0,
        Some(Activation::Gelu) => 1,
        Some(Activation::GeluNew) => 2,
        Some(Activation::Relu) => 3,
        Some(Activation::Silu) => 4,
    }
}

/// The function in f64; the identity for `None`.
pub(super) fn apply(activation: Option<Activation>, x: f64) -> f64 {
    match activation {
        None => x,
        Some(Activation::Gelu) => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Some(Activation::GeluNew) => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Some(Activation::Relu) => x.max(0.0),
        Some(Activation::Silu) => x / (1.0 + (-x).exp()),
    }
}
