//! The instruction-aware Q-Former: learned queries look at the picture, steered by the instruction.
//!
//! Reference: `InstructBlipQFormerModel` of transformers. A BERT (post-norm) over
//! `[queries ; instruction]`; in every `cross_attention_frequency`-th layer the queries alone
//! attend to the picture. Queries and text have their own feed-forward layers. Only the query
//! rows are used, so the last layer skips the text's feed-forward.
//!
//! BLIP-2's (`Blip2QFormerModel`) is the same without the text: queries alone, steered by nothing.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::checkpoint::store::WeightStore;
use crate::config::{ModelConfig, QFormerConfig};
use crate::error::Result;
use crate::kernels::{Activation, Attention, attention, attention_map, words_tensor};
use crate::nn::{Embedding, LayerNorm, Linear};
use crate::pace::Pace;

/// Picture features and instruction to query features.
#[derive(Module, Debug)]
pub struct QFormer {
    query_tokens: Tensor<3>,
    /// `None` in BLIP-2, whose Q-Former does not read the instruction.
    text: Option<TextEmbeddings>,
    layernorm: LayerNorm,
    layers: Vec<Layer>,
}

#[derive(Module, Debug)]
struct TextEmbeddings {
    words: Embedding,
    /// `[1, max_position_embeddings, hidden]`.
    positions: Tensor<3>,
}

/// Keys and values of the picture for one layer, `[1, image tokens, hidden]` each.
pub type ImageKeys = Vec<Option<(Tensor<3>, Tensor<3>)>>;

#[derive(Module, Debug)]
struct Layer {
    attention: SelfOrCross,
    crossattention: Option<SelfOrCross>,
    query: FeedForward,
    /// `None` without text, and in the last layer, where nobody reads its result.
    text: Option<FeedForward>,
}

#[derive(Module, Debug)]
struct SelfOrCross {
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    norm: LayerNorm,
    #[module(skip)]
    heads: usize,
}

#[derive(Module, Debug)]
struct FeedForward {
    intermediate: Linear,
    output: Linear,
    norm: LayerNorm,
    #[module(skip)]
    activation: Activation,
}

impl QFormer {
    /// Takes `query_tokens` and the tensors under `qformer.`.
    ///
    /// # Errors
    /// A tensor is missing or misshapen.
    pub fn load(weights: &mut WeightStore, model: &ModelConfig) -> Result<Self> {
        let config = &model.qformer_config;
        let width = config.hidden_size;
        let reads = model.is_instruction_aware();
        let norm = if reads { "qformer.embeddings.layernorm" } else { "qformer.layernorm" };
        Ok(Self {
            query_tokens: weights.floats("query_tokens", [1, model.num_query_tokens, width])?,
            text: if reads { Some(TextEmbeddings::load(weights, config)?) } else { None },
            layernorm: LayerNorm::load(weights, norm, width, config.layer_norm_eps)?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(weights, i, model))
                .collect::<Result<_>>()?,
        })
    }

    /// The picture's keys and values in the layers that look at it: once per picture.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    pub async fn image_keys(&self, vision: &Tensor<3>, pace: &Pace) -> Result<ImageKeys> {
        let mut all = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let Some(cross) = &layer.crossattention else {
                all.push(None);
                continue;
            };
            let (keys, values) = (cross.key.forward(vision), cross.value.forward(vision));
            pace.after(&values).await?;
            all.push(Some((keys, values)));
        }
        Ok(all)
    }

    /// `qformer_input_ids` `[text]` (at most `max_position_embeddings`; BLIP-2 reads none) and the
    /// picture to the query rows of `qformer_last_hidden_state`, `[1, queries, hidden]`.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    pub async fn forward(
        &self,
        input_ids: &[u32],
        image: &ImageKeys,
        pace: &Pace,
    ) -> Result<Tensor<3>> {
        self.run(input_ids, image, pace, |_, _| ()).await
    }

    /// Where the queries look in the same computation: one map `[queries, image tokens]` for each
    /// layer that looks at the picture, averaged over heads (`cross_attentions` of the reference).
    ///
    /// # Errors
    /// As [`QFormer::forward`].
    pub async fn maps(
        &self,
        input_ids: &[u32],
        image: &ImageKeys,
        pace: &Pace,
    ) -> Result<Vec<Tensor<2>>> {
        let mut maps = Vec::new();
        let mut look = |cross: &SelfOrCross, (x, keys): (&Tensor<3>, &Tensor<3>)| {
            let q = cross.query.forward(x);
            maps.push(attention_map(&q, keys, cross.heads, cross.scale(&q)));
        };
        self.run(input_ids, image, pace, &mut look).await?;
        Ok(maps)
    }

    /// All layers; `watch` sees the input and the keys of every look at the picture.
    async fn run(
        &self,
        input_ids: &[u32],
        image: &ImageKeys,
        pace: &Pace,
        mut watch: impl FnMut(&SelfOrCross, (&Tensor<3>, &Tensor<3>)),
    ) -> Result<Tensor<3>> {
        let queries = self.query_tokens.dims()[1];
        let mut x = self.query_tokens.clone();
        if let Some(text) = &self.text {
            x = Tensor::cat(vec![x, text.forward(input_ids)], 1);
        }
        let mut x = self.layernorm.forward(&x); // [1, queries + text, hidden]
        for (layer, image) in self.layers.iter().zip(image) {
            x = layer.forward(&x, image.as_ref(), queries, &mut watch);
            pace.after(&x).await?;
        }
        Ok(x)
    }
}

impl TextEmbeddings {
    fn load(weights: &mut WeightStore, config: &QFormerConfig) -> Result<Self> {
        let root = "qformer.embeddings";
        let (width, positions) = (config.hidden_size, config.max_position_embeddings);
        Ok(Self {
            words: Embedding::load(
                weights,
                &format!("{root}.word_embeddings"),
                config.vocab_size,
                width,
            )?,
            positions: weights
                .floats::<2>(&format!("{root}.position_embeddings.weight"), [positions, width])?
                .unsqueeze_dim(0),
        })
    }

    /// Queries have no positions; the text's start at 0.
    fn forward(&self, input_ids: &[u32]) -> Tensor<3> {
        let positions = self.positions.clone().narrow(1, 0, input_ids.len());
        let ids = words_tensor(input_ids.to_vec(), &self.positions.device());
        self.words.forward(&ids) + positions
    }
}

impl Layer {
    fn load(weights: &mut WeightStore, index: usize, model: &ModelConfig) -> Result<Self> {
        let config = &model.qformer_config;
        let root = format!("qformer.encoder.layer.{index}");
        let (width, image) = (config.hidden_size, model.vision_config.hidden_size);
        let last = index + 1 == config.num_hidden_layers;
        let text = model.is_instruction_aware() && !last;
        Ok(Self {
            attention: SelfOrCross::load(weights, &format!("{root}.attention"), config, width)?,
            crossattention: if config.has_cross_attention(index) {
                let root = format!("{root}.crossattention");
                Some(SelfOrCross::load(weights, &root, config, image)?)
            } else {
                None
            },
            query: FeedForward::load(weights, &root, "_query", config)?,
            text: if text { Some(FeedForward::load(weights, &root, "", config)?) } else { None },
        })
    }

    /// `[1, queries + text, hidden]` to the same, or to the queries alone after the last layer.
    fn forward(
        &self,
        x: &Tensor<3>,
        image: Option<&(Tensor<3>, Tensor<3>)>,
        queries: usize,
        watch: &mut impl FnMut(&SelfOrCross, (&Tensor<3>, &Tensor<3>)),
    ) -> Tensor<3> {
        let (keys, values) = (self.attention.key.forward(x), self.attention.value.forward(x));
        let x = self.attention.forward(x, &keys, &values);
        let text = x.dims()[1] - queries;
        let mut query = x.clone().narrow(1, 0, queries);
        if let (Some(cross), Some((keys, values))) = (&self.crossattention, image) {
            watch(cross, (&query, keys));
            query = cross.forward(&query, keys, values);
        }
        let query = self.query.forward(&query);
        match &self.text {
            Some(feed_forward) => {
                let words = feed_forward.forward(&x.narrow(1, queries, text));
                Tensor::cat(vec![query, words], 1)
            }
            None => query,
        }
    }
}

impl SelfOrCross {
    fn load(
        weights: &mut WeightStore,
        root: &str,
        config: &QFormerConfig,
        keys: usize,
    ) -> Result<Self> {
        let width = config.hidden_size;
        let mut linear =
            |name: &str, k| Linear::load(weights, &format!("{root}.{name}"), width, k, true);
        Ok(Self {
            query: linear("attention.query", width)?,
            key: linear("attention.key", keys)?,
            value: linear("attention.value", keys)?,
            dense: linear("output.dense", width)?,
            norm: LayerNorm::load(
                weights,
                &format!("{root}.output.LayerNorm"),
                width,
                config.layer_norm_eps,
            )?,
            heads: config.num_attention_heads,
        })
    }

    /// Attends from `x` to keys and values, adds x, normalises.
    fn forward(&self, x: &Tensor<3>, keys: &Tensor<3>, values: &Tensor<3>) -> Tensor<3> {
        let q = self.query.forward(x);
        let mixed = attention(&Attention {
            q: &q,
            kv: Some((keys, values)),
            offsets: [0; 3],
            heads: self.heads,
            width: q.dims()[2] / self.heads,
            keys: keys.dims()[1],
            scale: self.scale(&q),
            bias: None,
        });
        self.norm.forward(&self.dense.forward_with(&mixed, None, Some(x)))
    }

    /// `width^-0.5` of a head of `q`.
    fn scale(&self, q: &Tensor<3>) -> f32 {
        ((q.dims()[2] / self.heads) as f32).powf(-0.5)
    }
}

impl FeedForward {
    fn load(
        weights: &mut WeightStore,
        root: &str,
        suffix: &str,
        config: &QFormerConfig,
    ) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let mut linear = |name: &str, n, k| {
            Linear::load(weights, &format!("{root}.{name}{suffix}.dense"), n, k, true)
        };
        Ok(Self {
            intermediate: linear("intermediate", inner, width)?,
            output: linear("output", width, inner)?,
            norm: LayerNorm::load(
                weights,
                &format!("{root}.output{suffix}.LayerNorm"),
                width,
                config.layer_norm_eps,
            )?,
            activation: config.hidden_act,
        })
    }

    fn forward(&self, x: &Tensor<3>) -> Tensor<3> {
        let hidden = self.intermediate.forward_with(x, Some(self.activation), None);
        self.norm.forward(&self.output.forward_with(&hidden, None, Some(x)))
    }
}
