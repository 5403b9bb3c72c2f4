//! The checkpoint's `config.json`, typed and checked.
//!
//! In: the bytes of a file as `transformers` writes it. Out: a [`ModelConfig`] whose sizes
//! every later part may rely on: nothing is zero, heads divide widths, patches divide the
//! picture, token ids lie inside the vocabulary, and no matrix is so large that its byte
//! count could overflow, on 32-bit wasm either. Field names are those of `transformers`;
//! fields we have no use for are ignored, and missing ones take the defaults of its classes
//! (`InstructBlipVisionConfig`, `InstructBlipQFormerConfig`, `T5Config`).
//!
//! The neighbouring files, `preprocessor_config.json` and `generation_config.json`, are read
//! in [`processor`].

mod activation;
mod check;
pub mod processor;
#[cfg(test)]
mod tests;
mod text;

pub use activation::Activation;
pub use check::MAX_HEAD_WIDTH;
pub use processor::{GenerationConfig, PictureSize, PreprocessorConfig};
pub use text::TextConfig;

use crate::error::Result;
use crate::quant::{Format, GROUP};
use check::{
    FILE, MAX_IMAGE_SIZE, MAX_LAYERS, MAX_PATCHES, MAX_POSITIONS, MAX_WIDTH, Section, invalid,
    parse_json,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The vision tower's sizes: a ViT with pre-norm blocks and packed query, key and value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// Width of a token.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Attention heads; they divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Side of the square picture in pixels.
    pub image_size: usize,
    /// Side of a square patch in pixels; it divides `image_size`.
    pub patch_size: usize,
    /// Added to the variance in every layer norm.
    pub layer_norm_eps: f32,
    /// The MLP's activation.
    pub hidden_act: Activation,
    /// Whether the packed projection has a bias.
    pub qkv_bias: bool,
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 1408,
            intermediate_size: 6144,
            num_hidden_layers: 39,
            num_attention_heads: 16,
            image_size: 224,
            patch_size: 14,
            layer_norm_eps: 1e-6,
            hidden_act: Activation::Gelu,
            qkv_bias: true,
        }
    }
}

impl VisionConfig {
    /// Patches of a picture: `(image_size / patch_size)²`.
    #[must_use]
    pub fn num_patches(&self) -> usize {
        let side = self.image_size / self.patch_size.max(1);
        side * side
    }

    /// Tokens of a picture: its patches and the class token before them.
    #[must_use]
    pub fn num_tokens(&self) -> usize {
        self.num_patches() + 1
    }

    fn check(&self) -> Result<()> {
        let at = Section("vision_config");
        at.size("hidden_size", self.hidden_size, MAX_WIDTH)?;
        at.size("intermediate_size", self.intermediate_size, MAX_WIDTH)?;
        at.size("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        at.size("image_size", self.image_size, MAX_IMAGE_SIZE)?;
        at.size("patch_size", self.patch_size, self.image_size)?;
        at.heads(self.num_attention_heads, self.hidden_size)?;
        at.divides("patch_size", self.patch_size, "image_size", self.image_size)?;
        at.epsilon("layer_norm_eps", self.layer_norm_eps)?;
        at.size("number of patches", self.num_patches(), MAX_PATCHES)?;
        at.matrix("qkv weight", &[3, self.hidden_size, self.hidden_size])?;
        at.matrix("MLP weight", &[self.intermediate_size, self.hidden_size])?;
        at.matrix("patch weight", &[self.hidden_size, 3, self.patch_size, self.patch_size])?;
        at.matrix("position embedding", &[self.num_tokens(), self.hidden_size])
    }
}

/// The Q-Former's sizes: BERT with query tokens and cross-attention to the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QFormerConfig {
    /// Word pieces.
    pub vocab_size: usize,
    /// Width of a token.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Attention heads; they divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward parts.
    pub intermediate_size: usize,
    /// The longest instruction in word pieces.
    pub max_position_embeddings: usize,
    /// Layers 0, n, 2n, … have cross-attention.
    pub cross_attention_frequency: usize,
    /// Width of the picture's tokens. As in the reference, parsing sets it to the vision
    /// tower's `hidden_size`, whatever the file says.
    pub encoder_hidden_size: usize,
    /// Added to the variance in every layer norm.
    pub layer_norm_eps: f32,
    /// The feed-forward parts' activation.
    pub hidden_act: Activation,
    /// Only `absolute` positions exist in this model family.
    pub position_embedding_type: String,
    /// BLIP-2 for retrieval has a text branch, which no generating one has.
    pub use_qformer_text_input: bool,
}

impl Default for QFormerConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            max_position_embeddings: 512,
            cross_attention_frequency: 2,
            encoder_hidden_size: 1408,
            layer_norm_eps: 1e-12,
            hidden_act: Activation::Gelu,
            position_embedding_type: "absolute".into(),
            use_qformer_text_input: false,
        }
    }
}

impl QFormerConfig {
    /// Whether layer `layer` attends to the picture.
    #[must_use]
    pub fn has_cross_attention(&self, layer: usize) -> bool {
        layer.is_multiple_of(self.cross_attention_frequency)
    }

    fn check(&self) -> Result<()> {
        let at = Section("qformer_config");
        at.size("vocab_size", self.vocab_size, MAX_WIDTH)?;
        at.size("hidden_size", self.hidden_size, MAX_WIDTH)?;
        at.size("intermediate_size", self.intermediate_size, MAX_WIDTH)?;
        at.size("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        at.size("max_position_embeddings", self.max_position_embeddings, MAX_POSITIONS)?;
        at.size("cross_attention_frequency", self.cross_attention_frequency, MAX_LAYERS)?;
        at.heads(self.num_attention_heads, self.hidden_size)?;
        at.epsilon("layer_norm_eps", self.layer_norm_eps)?;
        if self.position_embedding_type != "absolute" {
            return at.fail(&format!(
                "position_embedding_type {:?} is not supported, only \"absolute\"",
                self.position_embedding_type
            ));
        }
        at.matrix("word embedding", &[self.vocab_size, self.hidden_size])?;
        at.matrix(
            "attention weight",
            &[self.hidden_size, self.hidden_size.max(self.encoder_hidden_size)],
        )?;
        at.matrix("feed-forward weight", &[self.intermediate_size, self.hidden_size])?;
        at.matrix("position embedding", &[self.max_position_embeddings, self.hidden_size])
    }
}

/// How `instructblip convert` packed the weights; absent in a plain checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuantizationConfig {
    /// Always [`QuantizationConfig::METHOD`].
    pub quant_method: String,
    /// The format of the packed matrices (single tensors may be wider).
    pub format: Format,
    /// Weights that share a scale: [`GROUP`].
    pub group_size: usize,
    /// The matrices in another format, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exceptions: BTreeMap<String, Format>,
}

impl QuantizationConfig {
    /// The one `quant_method` this crate writes and reads.
    pub const METHOD: &'static str = "instructblip-web";

    /// The configuration of a set converted to `format`.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            quant_method: Self::METHOD.into(),
            format,
            group_size: GROUP,
            exceptions: BTreeMap::new(),
        }
    }

    /// The format of the matrix `name`.
    #[must_use]
    pub fn format_of(&self, name: &str) -> Format {
        self.exceptions.get(name).copied().unwrap_or(self.format)
    }
}

/// The whole `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// `instructblip`, or `blip-2`.
    pub model_type: String,
    /// The vision tower.
    #[serde(default)]
    pub vision_config: VisionConfig,
    /// The Q-Former.
    #[serde(default)]
    pub qformer_config: QFormerConfig,
    /// The language model.
    pub text_config: TextConfig,
    /// Learned queries of the Q-Former, and picture tokens of the language model.
    #[serde(default = "default_num_query_tokens")]
    pub num_query_tokens: usize,
    /// The id that stands for a picture token in the reference's `input_ids`.
    #[serde(default, alias = "image_token_id")]
    pub image_token_index: Option<u32>,
    /// How the weights are packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization_config: Option<QuantizationConfig>,
}

const fn default_num_query_tokens() -> usize {
    32
}

impl ModelConfig {
    /// Parses and checks `config.json`.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::error::Error::ConfigInvalid) where the file is not such a configuration, asks for what
    /// this crate does not have, or holds a size that cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        // The packing is looked at first: a foreign one has other fields, and the sentence
        // should name the method and not a missing field.
        #[derive(Deserialize)]
        struct Method {
            quantization_config: Option<Quantized>,
        }
        #[derive(Deserialize)]
        struct Quantized {
            quant_method: Option<String>,
        }
        let method: Method = parse_json(FILE, bytes)?;
        if let Some(Quantized { quant_method }) = method.quantization_config {
            let quant_method = quant_method.unwrap_or_else(|| "unknown".into());
            if quant_method != QuantizationConfig::METHOD {
                return Err(invalid(
                    FILE,
                    format!(
                        "the weights are quantised by {quant_method:?}; give a plain checkpoint or a set made by `instructblip convert`"
                    ),
                ));
            }
        }
        let mut config: Self = parse_json(FILE, bytes)?;
        config.qformer_config.encoder_hidden_size = config.vision_config.hidden_size;
        config.check()?;
        Ok(config)
    }

    /// Whether the Q-Former reads the instruction (InstructBLIP) or looks on its own (BLIP-2).
    #[must_use]
    pub fn is_instruction_aware(&self) -> bool {
        self.model_type == "instructblip"
    }

    fn check(&self) -> Result<()> {
        let at = Section("");
        if !["instructblip", "blip-2"].contains(&self.model_type.as_str()) {
            return at.fail(&format!(
                "model_type is {:?}; only \"instructblip\" and \"blip-2\" are supported",
                self.model_type
            ));
        }
        if self.qformer_config.use_qformer_text_input && !self.is_instruction_aware() {
            return at.fail(
                "the Q-Former of this BLIP-2 was made for retrieval (use_qformer_text_input); it has no language model",
            );
        }
        self.vision_config.check()?;
        self.qformer_config.check()?;
        self.text_config.check()?;
        at.size("num_query_tokens", self.num_query_tokens, 4096)?;
        at.matrix("query tokens", &[self.num_query_tokens, self.qformer_config.hidden_size])?;
        at.matrix(
            "language projection",
            &[self.text_config.d_model, self.qformer_config.hidden_size],
        )?;
        if let Some(quantization) = &self.quantization_config
            && quantization.group_size != GROUP
        {
            return at.fail(&format!(
                "quantization_config: groups of {} are not supported, only of {GROUP}",
                quantization.group_size
            ));
        }
        Ok(())
    }
}
