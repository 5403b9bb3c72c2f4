//! The bridges: what a picture's features become for the language model.
//!
//! A bridge is one file: its sizes, how it loads, how it computes. Here is the one place that
//! knows them all.

mod qformer;

pub use qformer::{QFormer, QFormerConfig};

use burn::module::Module;
use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Probe, bytes_of, stage_bytes};
use crate::config::check::{FILE, Section, parse_json, section};
use crate::error::Result;
use crate::pace::Pace;
use crate::weights::Weights;

/// The sizes of a bridge.
#[derive(Debug, Clone, PartialEq)]
pub enum BridgeConfig {
    /// [`QFormer`]'s.
    QFormer(QFormerConfig),
}

impl BridgeConfig {
    /// Reads the sections of `config.json`: `instruction_aware` as the model's type says, and
    /// the widths of the vision tower's tokens and the language model's.
    ///
    /// # Errors
    /// One is malformed, or a size cannot be.
    pub(super) fn parse(
        bytes: &[u8],
        instruction_aware: bool,
        [image, text]: [usize; 2],
    ) -> Result<Self> {
        #[derive(Deserialize)]
        struct Queries {
            num_query_tokens: Option<usize>,
        }
        let mut config: QFormerConfig = section(bytes, "qformer_config")?.unwrap_or_default();
        let Queries { num_query_tokens } = parse_json(FILE, bytes)?;
        config.num_query_tokens = num_query_tokens.unwrap_or(config.num_query_tokens);
        config.reads_instruction = instruction_aware;
        // As in the reference, whatever the file says.
        config.encoder_hidden_size = image;
        config.check()?;
        Section("").matrix("language projection", &[text, config.hidden_size])?;
        Ok(Self::QFormer(config))
    }

    /// Tokens that the language model reads of a picture.
    #[must_use]
    pub fn tokens(&self) -> usize {
        let Self::QFormer(config) = self;
        config.num_query_tokens
    }

    /// The vocabulary in which it reads the instruction, and how many tokens of it; `None` where
    /// it looks on its own.
    #[must_use]
    pub fn instruction(&self) -> Option<Instruction> {
        let Self::QFormer(config) = self;
        config.reads_instruction.then_some(Instruction {
            vocab_size: config.vocab_size,
            max_tokens: config.max_position_embeddings,
        })
    }

    /// The layers that look at the picture; empty where there are no maps of that.
    #[must_use]
    pub fn looking_layers(&self) -> Vec<usize> {
        let Self::QFormer(config) = self;
        (0..config.num_hidden_layers).filter(|i| config.has_cross_attention(*i)).collect()
    }

    /// Bytes of intermediate values for an instruction of `tokens`.
    #[must_use]
    pub fn stage_bytes(&self, tokens: usize) -> u64 {
        let Self::QFormer(config) = self;
        let rows = config.num_query_tokens + tokens;
        stage_bytes(rows, config.hidden_size, config.intermediate_size)
    }

    /// The same bridge with at most this many layers.
    pub(super) fn shorten(&mut self, layers: usize) {
        let Self::QFormer(config) = self;
        config.num_hidden_layers = config.num_hidden_layers.min(layers);
    }
}

/// How a bridge reads the instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Ids are below this.
    pub vocab_size: usize,
    /// The longest instruction.
    pub max_tokens: usize,
}

/// A bridge.
#[derive(Module, Debug)]
pub enum Bridge {
    /// The Q-Former of BLIP-2 and InstructBLIP, with its projection.
    QFormer(QFormer),
}

/// What a bridge keeps of a picture: computed once, used by every question about it.
#[derive(Clone, Debug)]
pub enum Kept {
    /// Keys and values by layer.
    QFormer(qformer::ImageKeys),
}

impl Kept {
    /// Bytes that it takes on the device.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let Self::QFormer(layers) = self;
        let pairs = layers.iter().flatten();
        pairs.map(|(keys, values)| bytes_of(keys) + bytes_of(values)).sum()
    }
}

impl Bridge {
    /// Takes the bridge's tensors; `width` is the language model's.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn load(weights: &Weights<'_>, config: &BridgeConfig, width: usize) -> Result<Self> {
        let BridgeConfig::QFormer(config) = config;
        Ok(Self::QFormer(QFormer::load(weights, config, width)?))
    }

    /// What is kept of a picture, from its features `[1, tokens, hidden]`.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    pub async fn keep(&self, vision: &Tensor<3>, pace: &Pace) -> Result<Kept> {
        let Self::QFormer(bridge) = self;
        Ok(Kept::QFormer(bridge.image_keys(vision, pace).await?))
    }

    /// Pictures and the instruction's ids to what the language model reads,
    /// `[1, pictures * tokens, width]`.
    ///
    /// # Errors
    /// As [`Bridge::keep`].
    pub async fn look(
        &self,
        pictures: &[&Kept],
        instruction: &[u32],
        pace: &Pace,
        probe: &mut Probe<'_>,
    ) -> Result<Tensor<3>> {
        let Self::QFormer(bridge) = self;
        let pictures: Vec<_> = pictures.iter().map(|Kept::QFormer(keys)| keys).collect();
        bridge.look(&pictures, instruction, pace, probe).await
    }

    /// Where it looks in a picture: a map `[queries, image tokens]` for each of the
    /// [`BridgeConfig::looking_layers`].
    ///
    /// # Errors
    /// As [`Bridge::keep`].
    pub async fn maps(
        &self,
        picture: &Kept,
        instruction: &[u32],
        pace: &Pace,
    ) -> Result<Vec<Tensor<2>>> {
        let (Self::QFormer(bridge), Kept::QFormer(keys)) = (self, picture);
        bridge.maps(instruction, keys, pace).await
    }
}
