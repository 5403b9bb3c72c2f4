//! The names and shapes of all tensors of a checkpoint, from its configuration alone.
//!
//! As `save_pretrained` of `InstructBlipForConditionalGeneration` or
//! `Blip2ForConditionalGeneration` writes them, in the order in which a
//! picture and a question pass through the model.

use super::names::PATCH;
use crate::config::ModelConfig;
use crate::quant::{Format, GROUP};

/// The tensors of the model that `config` describes.
#[must_use]
pub fn tensors(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let mut out = Tensors::default();
    vision(&mut out, config);
    qformer(&mut out, config);
    let (width, query_width) = (config.text_config.d_model, config.qformer_config.hidden_size);
    out.add("query_tokens", &[1, config.num_query_tokens, query_width]);
    out.linear("language_projection", width, query_width);
    language_model(&mut out, config);
    out.0
}

/// Bytes of the weights of the model that `config` describes, packed as it says, without the
/// headers of their files. For any configuration that was parsed, this does not overflow.
#[must_use]
pub fn weight_bytes(config: &ModelConfig) -> u64 {
    let bytes = |(name, shape): &(String, Vec<usize>)| -> u64 {
        let elements: u64 = shape.iter().map(|&size| size as u64).product();
        let format = match (&config.quantization_config, as_matrix(name, shape)) {
            (Some(packed), Some((_, k))) => packed.format_of(name).or_f16(k),
            _ => Format::F32,
        };
        elements * format.group_bits() / (8 * GROUP as u64)
    };
    tensors(config).iter().map(bytes).sum()
}

/// Rows and columns of a tensor that is multiplied with or looked up in; `None` for others.
pub(super) fn as_matrix(name: &str, shape: &[usize]) -> Option<(usize, usize)> {
    // Positions and biases are added as they are.
    const ADDED: [&str; 3] = ["position_embedding", "relative_attention_bias", "class_embedding"];
    if !name.ends_with(".weight") || ADDED.iter().any(|part| name.contains(part)) {
        return None;
    }
    let (n, k) = match *shape {
        [n, k] => (n, k),
        [n, ref rest @ ..] if name == PATCH && rest.len() == 3 => {
            (n, rest.iter().try_fold(1usize, |k, &d| k.checked_mul(d))?)
        }
        _ => return None,
    };
    (n > 0 && k > 0).then_some((n, k))
}

fn vision(out: &mut Tensors, config: &ModelConfig) {
    let vision = &config.vision_config;
    let (width, inner, patch) = (vision.hidden_size, vision.intermediate_size, vision.patch_size);
    let root = "vision_model.embeddings";
    out.add(&format!("{root}.class_embedding"), &[1, 1, width]);
    out.add(&format!("{root}.position_embedding"), &[1, vision.num_tokens(), width]);
    out.add(&format!("{root}.patch_embedding.weight"), &[width, 3, patch, patch]);
    out.add(&format!("{root}.patch_embedding.bias"), &[width]);
    for i in 0..vision.num_hidden_layers {
        let root = format!("vision_model.encoder.layers.{i}");
        out.norm(&format!("{root}.layer_norm1"), width);
        out.add(&format!("{root}.self_attn.qkv.weight"), &[3 * width, width]);
        if vision.qkv_bias {
            out.add(&format!("{root}.self_attn.qkv.bias"), &[3 * width]);
        }
        out.linear(&format!("{root}.self_attn.projection"), width, width);
        out.norm(&format!("{root}.layer_norm2"), width);
        out.linear(&format!("{root}.mlp.fc1"), inner, width);
        out.linear(&format!("{root}.mlp.fc2"), width, inner);
    }
    out.norm("vision_model.post_layernorm", width);
}

fn qformer(out: &mut Tensors, config: &ModelConfig) {
    let qformer = &config.qformer_config;
    let (width, inner) = (qformer.hidden_size, qformer.intermediate_size);
    if config.is_instruction_aware() {
        let root = "qformer.embeddings";
        out.add(&format!("{root}.word_embeddings.weight"), &[qformer.vocab_size, width]);
        let positions = qformer.max_position_embeddings;
        out.add(&format!("{root}.position_embeddings.weight"), &[positions, width]);
        out.norm(&format!("{root}.layernorm"), width);
    } else {
        out.norm("qformer.layernorm", width);
    }
    for i in 0..qformer.num_hidden_layers {
        let root = format!("qformer.encoder.layer.{i}");
        let mut attention = |name: &str, keys: usize| {
            for (part, from) in [("query", width), ("key", keys), ("value", keys)] {
                out.linear(&format!("{root}.{name}.attention.{part}"), width, from);
            }
            out.linear(&format!("{root}.{name}.output.dense"), width, width);
            out.norm(&format!("{root}.{name}.output.LayerNorm"), width);
        };
        attention("attention", width);
        if qformer.has_cross_attention(i) {
            attention("crossattention", config.vision_config.hidden_size);
        }
        let suffixes: &[&str] =
            if config.is_instruction_aware() { &["", "_query"] } else { &["_query"] };
        for suffix in suffixes {
            out.linear(&format!("{root}.intermediate{suffix}.dense"), inner, width);
            out.linear(&format!("{root}.output{suffix}.dense"), width, inner);
            out.norm(&format!("{root}.output{suffix}.LayerNorm"), width);
        }
    }
}

fn language_model(out: &mut Tensors, config: &ModelConfig) {
    let text = &config.text_config;
    let (width, inner, feed) = (text.d_model, text.inner_dim(), text.d_ff);
    out.add("language_model.shared.weight", &[text.vocab_size, width]);
    for (stack, layers) in [("encoder", text.num_layers), ("decoder", text.num_decoder_layers)] {
        let attentions: &[&str] = if stack == "encoder" {
            &["SelfAttention"]
        } else {
            &["SelfAttention", "EncDecAttention"]
        };
        for i in 0..layers {
            let root = format!("language_model.{stack}.block.{i}.layer");
            for (j, name) in attentions.iter().enumerate() {
                let root = format!("{root}.{j}");
                for letter in ["q", "k", "v"] {
                    out.add(&format!("{root}.{name}.{letter}.weight"), &[inner, width]);
                }
                out.add(&format!("{root}.{name}.o.weight"), &[width, inner]);
                if i == 0 && j == 0 {
                    let shape = [text.relative_attention_num_buckets, text.num_heads];
                    out.add(&format!("{root}.{name}.relative_attention_bias.weight"), &shape);
                }
                out.add(&format!("{root}.layer_norm.weight"), &[width]);
            }
            let root = format!("{root}.{}", attentions.len());
            out.add(&format!("{root}.DenseReluDense.wi_0.weight"), &[feed, width]);
            out.add(&format!("{root}.DenseReluDense.wi_1.weight"), &[feed, width]);
            out.add(&format!("{root}.DenseReluDense.wo.weight"), &[width, feed]);
            out.add(&format!("{root}.layer_norm.weight"), &[width]);
        }
        out.add(&format!("language_model.{stack}.final_layer_norm.weight"), &[width]);
    }
    out.add("language_model.lm_head.weight", &[text.vocab_size, width]);
}

#[derive(Default)]
struct Tensors(Vec<(String, Vec<usize>)>);

impl Tensors {
    fn add(&mut self, name: &str, shape: &[usize]) {
        self.0.push((name.to_owned(), shape.to_vec()));
    }

    fn linear(&mut self, prefix: &str, n: usize, k: usize) {
        self.add(&format!("{prefix}.weight"), &[n, k]);
        self.add(&format!("{prefix}.bias"), &[n]);
    }

    fn norm(&mut self, prefix: &str, width: usize) {
        self.add(&format!("{prefix}.weight"), &[width]);
        self.add(&format!("{prefix}.bias"), &[width]);
    }
}
