//! The kernels: one file each, with the launch of `shaders/<same name>.wgsl` and its CPU oracle.
//!
//! Every public function takes and returns Burn tensors and works on both devices: on a GPU it
//! launches the shader, on the CPU device it runs the oracle, a plain loop in f32 or f64. The
//! property tests in `tests/kernels.rs` compare the two over random shapes.

pub mod activation;
pub mod argmax;
pub mod attention;
pub mod attention_map;
pub mod attention_step;
pub mod cache_append;
pub mod embedding;
pub mod gated_activation;
pub mod launch;
pub mod layer_norm;
pub mod linear;
pub mod log_probability;
mod matmul;
pub mod matrix;
mod matvec;
pub mod process_logits;
pub mod record;
pub mod rms_norm;
pub mod sample;
pub mod top_k;

pub use activation::Activation;
pub use argmax::argmax;
pub use attention::{Attention, Reach, attention, attention_within};
pub use attention_map::attention_map;
pub use attention_step::{Past, attention_step};
pub use cache_append::cache_append;
pub use embedding::{embedding, embedding_step};
pub use gated_activation::gated_activation;
pub use launch::{Shader, floats_tensor, words_tensor};
pub use layer_norm::layer_norm;
pub use linear::{Epilogue, Norm, linear, linear_cached, linear_gated, linear_normed};
pub use log_probability::log_probability;
pub use matrix::Matrix;
pub use process_logits::{ProcessLogits, process_logits};
pub use rms_norm::rms_norm;
pub use sample::{Warp, sample};
pub use top_k::top_k;

/// One variant of every shader, for validating all of `shaders/` without a GPU.
#[must_use]
pub fn all_shaders() -> Vec<Shader> {
    let mut shaders = Vec::new();
    shaders.extend(linear::variants());
    shaders.extend(matvec::variants());
    shaders.extend(embedding::variants());
    shaders.extend(attention::variants());
    shaders.extend(attention_map::variants());
    shaders.extend(attention_step::variants());
    shaders.extend(gated_activation::variants());
    shaders.push(layer_norm::shader());
    shaders.push(rms_norm::shader());
    shaders.extend(process_logits::variants());
    shaders.extend(top_k::variants());
    shaders.push(argmax::shader());
    shaders.push(log_probability::shader());
    shaders.push(sample::shader());
    shaders.push(cache_append::shader());
    shaders
}
