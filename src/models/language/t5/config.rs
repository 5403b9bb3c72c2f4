//! The `text_config` section of a T5.

use crate::config::check::{MAX_HEAD_WIDTH, MAX_HEADS, MAX_LAYERS, MAX_WIDTH, Section};
use crate::error::Result;
use crate::kernels::Activation;
use crate::models::language::LanguageSizes;
use crate::models::stage_bytes;
use serde::Deserialize;

/// The sizes of a T5 (`T5Config`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct T5Config {
    /// Rows of the embedding; the tokenizer may use fewer.
    pub vocab_size: usize,
    /// Width of a token.
    pub d_model: usize,
    /// Width of one attention head; `num_heads * d_kv` need not be `d_model`.
    pub d_kv: usize,
    /// Width inside the feed-forward parts.
    pub d_ff: usize,
    /// Encoder blocks.
    pub num_layers: usize,
    /// Decoder blocks; as many as the encoder's where the file does not say.
    pub num_decoder_layers: usize,
    /// Attention heads.
    pub num_heads: usize,
    /// Buckets of the relative position bias.
    pub relative_attention_num_buckets: usize,
    /// Distances from here on share the last bucket.
    pub relative_attention_max_distance: usize,
    /// Added to the mean square in every RMS norm.
    pub layer_norm_epsilon: f32,
    /// The feed-forward parts' activation. A `dense_act_fn` in the file wins over what
    /// `feed_forward_proj` implies, as in the reference.
    pub dense_act_fn: Activation,
    /// Whether the activation gates a second product (T5 1.1): must be true.
    pub is_gated_act: bool,
    /// Whether the first T5's output projection is meant, which is the embedding, scaled: must be
    /// false. Absent, it is `tie_word_embeddings`, which said so before version 5 of the
    /// reference; since then every file says `tie_word_embeddings: true`.
    pub scale_decoder_outputs: bool,
    /// The id every answer starts with.
    pub decoder_start_token_id: u32,
    /// The id that ends an answer.
    pub eos_token_id: u32,
    /// The padding id.
    pub pad_token_id: u32,
}

/// [`T5Config`] as the file has it: some fields derive from others where they are absent.
#[derive(Deserialize)]
struct Raw {
    vocab_size: Option<usize>,
    d_model: Option<usize>,
    d_kv: Option<usize>,
    d_ff: Option<usize>,
    num_layers: Option<usize>,
    num_decoder_layers: Option<usize>,
    num_heads: Option<usize>,
    relative_attention_num_buckets: Option<usize>,
    relative_attention_max_distance: Option<usize>,
    layer_norm_epsilon: Option<f32>,
    feed_forward_proj: Option<String>,
    dense_act_fn: Option<Activation>,
    is_gated_act: Option<bool>,
    tie_word_embeddings: Option<bool>,
    scale_decoder_outputs: Option<bool>,
    decoder_start_token_id: Option<u32>,
    eos_token_id: Option<u32>,
    pad_token_id: Option<u32>,
}

impl TryFrom<Raw> for T5Config {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let projection = raw.feed_forward_proj.as_deref().unwrap_or("relu");
        let (gated, name) = match projection.strip_prefix("gated-") {
            // The reference keeps this one exception for old checkpoints.
            Some("gelu") => (true, "gelu_new"),
            Some(name) => (true, name),
            None => (false, projection),
        };
        let num_layers = raw.num_layers.unwrap_or(6);
        let pad_token_id = raw.pad_token_id.unwrap_or(0);
        let dense_act_fn = match raw.dense_act_fn {
            Some(activation) => activation,
            None => Activation::try_from(name.to_owned())?,
        };
        Ok(Self {
            vocab_size: raw.vocab_size.unwrap_or(32128),
            d_model: raw.d_model.unwrap_or(512),
            d_kv: raw.d_kv.unwrap_or(64),
            d_ff: raw.d_ff.unwrap_or(2048),
            num_layers,
            num_decoder_layers: raw.num_decoder_layers.unwrap_or(num_layers),
            num_heads: raw.num_heads.unwrap_or(8),
            relative_attention_num_buckets: raw.relative_attention_num_buckets.unwrap_or(32),
            relative_attention_max_distance: raw.relative_attention_max_distance.unwrap_or(128),
            layer_norm_epsilon: raw.layer_norm_epsilon.unwrap_or(1e-6),
            dense_act_fn,
            is_gated_act: raw.is_gated_act.unwrap_or(gated),
            scale_decoder_outputs: raw
                .scale_decoder_outputs
                .or(raw.tie_word_embeddings)
                .unwrap_or(true),
            decoder_start_token_id: raw.decoder_start_token_id.unwrap_or(pad_token_id),
            eos_token_id: raw.eos_token_id.unwrap_or(1),
            pad_token_id,
        })
    }
}

impl T5Config {
    /// Width of all heads together: `num_heads * d_kv`.
    #[must_use]
    pub fn inner_dim(&self) -> usize {
        self.num_heads * self.d_kv
    }
}

impl LanguageSizes for T5Config {
    fn check(&self) -> Result<()> {
        let at = Section("text_config");
        if !self.is_gated_act {
            return at.fail(
                "is_gated_act is false (as feed_forward_proj says where it is absent): these are the feed-forward parts of the first T5; only those of T5 1.1 (FlanT5) are supported",
            );
        }
        if self.scale_decoder_outputs {
            return at.fail(
                "tie_word_embeddings is true or absent, and scale_decoder_outputs is not false: the output would be the scaled embedding, as in the first T5; only an lm_head of its own, as in T5 1.1 (FlanT5), is supported",
            );
        }
        at.size("vocab_size", self.vocab_size, MAX_WIDTH)?;
        at.size("d_model", self.d_model, MAX_WIDTH)?;
        at.size("d_kv", self.d_kv, MAX_HEAD_WIDTH)?;
        at.size("d_ff", self.d_ff, MAX_WIDTH)?;
        at.size("num_layers", self.num_layers, MAX_LAYERS)?;
        at.size("num_decoder_layers", self.num_decoder_layers, MAX_LAYERS)?;
        at.size("num_heads", self.num_heads, MAX_HEADS)?;
        at.epsilon("layer_norm_epsilon", self.layer_norm_epsilon)?;
        // The encoder halves the buckets for the two directions and then again for the
        // exact ones; the logarithmic half needs distances beyond the exact half.
        let buckets = self.relative_attention_num_buckets;
        at.size("relative_attention_num_buckets", buckets, 1 << 16)?;
        if buckets < 4 || !buckets.is_multiple_of(2) {
            return at.fail(&format!(
                "relative_attention_num_buckets is {buckets}, not an even number from 4"
            ));
        }
        at.size("relative_attention_max_distance", self.relative_attention_max_distance, 1 << 24)?;
        if self.relative_attention_max_distance <= buckets / 2 {
            return at.fail("relative_attention_max_distance is not beyond the exact buckets");
        }
        for (name, id) in [
            ("decoder_start_token_id", self.decoder_start_token_id),
            ("eos_token_id", self.eos_token_id),
            ("pad_token_id", self.pad_token_id),
        ] {
            if id as usize >= self.vocab_size {
                return at.fail(&format!(
                    "{name} {id} is outside the vocabulary of {}",
                    self.vocab_size
                ));
            }
        }
        at.matrix("embedding", &[self.vocab_size, self.d_model])?;
        at.matrix("attention weight", &[self.num_heads, self.d_kv, self.d_model])?;
        at.matrix("feed-forward weight", &[self.d_ff, self.d_model])
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn width(&self) -> usize {
        self.d_model
    }

    fn ends(&self) -> Vec<u32> {
        vec![self.eos_token_id]
    }

    /// What it was trained with.
    fn max_prompt_tokens(&self) -> usize {
        512
    }

    fn prompt_end(&self) -> Option<u32> {
        Some(self.eos_token_id)
    }

    fn decoder_layers(&self) -> usize {
        self.num_decoder_layers
    }

    fn stage_bytes(&self, tokens: usize) -> u64 {
        stage_bytes(tokens, self.d_model.max(self.inner_dim()), 2 * self.d_ff)
    }

    fn cache_bytes(&self) -> u64 {
        2 * (self.num_decoder_layers * self.inner_dim() * size_of::<f32>()) as u64
    }

    fn shorten(&mut self, layers: usize) {
        self.num_layers = self.num_layers.min(layers);
        self.num_decoder_layers = self.num_decoder_layers.min(layers);
    }
}
