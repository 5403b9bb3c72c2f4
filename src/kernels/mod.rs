//! The kernels: one file each, with the launch of `shaders/<same name>.wgsl` and its CPU oracle.
//!
//! Every public function takes and returns Burn tensors and works on both devices: on a GPU it
//! launches the shader, on the CPU device it runs the oracle, a plain loop in f32 or f64. The
//! property tests in `tests/kernels.rs` compare the two over random shapes.
//!
//! A new kernel is these two files, its `mod` line and its line in the list below. What is
//! forgotten or does not match, the compiler or `tests/shaders.rs` finds: a file that no kernel of
//! the list uses, `Params` that differ between WGSL and Rust, a flag that nobody sets, a variant
//! that is no valid WGSL. Parts that several shaders share lie in `shaders/parts/` and
//! `shaders/weights/`.

pub mod activation;
pub mod argmax;
pub mod attention;
pub mod attention_map;
pub mod attention_step;
pub mod cache_append;
pub mod census;
pub mod embedding;
pub mod gated_activation;
pub mod launch;
pub mod linear;
pub mod log_probability;
mod matmul;
pub mod matrix;
mod matvec;
pub mod norm;
pub mod process_logits;
pub mod product;
pub mod record;
pub mod sample;
pub mod shader;
pub mod tensors;
pub mod token_history;
pub mod top_k;

pub use activation::Activation;
pub use linear::{linear, linear_cached, linear_gated, linear_normed};
pub use matrix::Matrix;
pub use product::{Epilogue, Norm};
pub use shader::{Kernel, Shader};
pub use tensors::{floats_tensor, words_tensor};
pub use token_history::TokenHistory;

/// Lists the kernels, each with what the rest of the crate uses of it.
macro_rules! kernels {
    ($($kernel:ident $(: $($item:ident),+)?;)+) => {
        $($(pub use $kernel::{$($item),+};)?)+

        /// Every kernel.
        pub const ALL: &[Kernel] = &[$($kernel::KERNEL),+];
    };
}

kernels! {
    argmax: argmax;
    attention: Attention, Reach, attention, attention_within;
    attention_map: attention_map;
    attention_step: Past, attention_step;
    cache_append: cache_append;
    embedding: embedding, embedding_step;
    gated_activation: gated_activation;
    log_probability: log_probability;
    matmul;
    matvec: MATVEC_ROWS;
    norm: layer_norm, rms_norm;
    process_logits: ProcessLogits, process_logits;
    sample: Warp, sample;
    top_k: top_k;
}
