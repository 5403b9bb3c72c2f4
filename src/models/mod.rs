//! The models: [vision towers](vision), [bridges](bridge) and [language models](language), and the
//! [model](VisionLanguageModel) that one of each makes.
//!
//! A model is described in its own file alone: the sizes that its section of `config.json` gives,
//! the tensors that it asks for, and what it computes, in the order of the reference. What is
//! common to those of a kind is a trait; the enum that whoever uses them sees is made of a list.

pub mod bridge;
mod config;
mod enums;
pub mod language;
pub mod vision;
mod vision_language;

pub use bridge::{Bridge, BridgeConfig};
pub use config::ModelConfig;
pub use language::{LanguageConfig, LanguageModel};
pub use vision::{VisionConfig, VisionTower};
pub use vision_language::{PictureFeatures, VisionLanguageModel};

use burn::tensor::Tensor;

/// Hears of the stages of a computation as they are launched, under the names that the reference
/// gives their outputs.
pub type Probe<'a> = dyn FnMut(&'static str, &Tensor<3>) + 'a;

/// A [`Probe`] that listens to nothing.
pub fn unheard(_: &'static str, _: &Tensor<3>) {}

/// Bytes of a tensor's values.
fn bytes_of<const D: usize>(tensor: &Tensor<D>) -> u64 {
    (tensor.shape().num_elements() * size_of::<f32>()) as u64
}

/// About the bytes of intermediate values of a stage: for each row the residual stream twice, and
/// the widest product.
fn stage_bytes(rows: usize, width: usize, inner: usize) -> u64 {
    rows as u64 * (2 * width as u64 + inner.max(3 * width) as u64) * size_of::<f32>() as u64
}
