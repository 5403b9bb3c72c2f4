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
use serde::Deserialize;

use super::{Connector, ConnectorSizes, Instruction};
use crate::config::check::{
    FILE, MAX_LAYERS, MAX_POSITIONS, MAX_WIDTH, Section, parse_json, section,
};
use crate::error::Result;
use crate::kernels::Activation;
use crate::kernels::{Attention, attention, attention_map, words_tensor};
use crate::models::{Probe, bytes_of, stage_bytes};
use crate::nn::{Embedding, LayerNorm, Linear};
use crate::pace::Pace;
use crate::weights::{Part, Weights};

/// The Q-Former's sizes (`InstructBlipQFormerConfig`, `Blip2QFormerConfig`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
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
    /// Learned queries, and picture tokens of the language model. Outside of the section.
    #[serde(skip)]
    pub num_query_tokens: usize,
    /// Whether it reads the instruction (InstructBLIP) or looks on its own (BLIP-2). Not said by
    /// the section, but by the model's type.
    #[serde(skip)]
    pub reads_instruction: bool,
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
            num_query_tokens: 32,
            reads_instruction: false,
        }
    }
}

impl QFormerConfig {
    /// Whether layer `layer` attends to the picture.
    #[must_use]
    pub fn has_cross_attention(&self, layer: usize) -> bool {
        layer.is_multiple_of(self.cross_attention_frequency)
    }

    /// # Errors
    /// A size cannot be.
    fn check(&self) -> Result<()> {
        let at = Section("");
        if self.use_qformer_text_input && !self.reads_instruction {
            return at.fail(
                "the Q-Former of this BLIP-2 was made for retrieval (use_qformer_text_input); it has no language model",
            );
        }
        at.size("num_query_tokens", self.num_query_tokens, 4096)?;
        at.matrix("query tokens", &[self.num_query_tokens, self.hidden_size])?;
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

impl ConnectorSizes for QFormerConfig {
    fn tokens(&self) -> usize {
        self.num_query_tokens
    }

    fn instruction(&self) -> Option<Instruction> {
        let (vocab_size, max_tokens) = (self.vocab_size, self.max_position_embeddings);
        self.reads_instruction.then_some(Instruction { vocab_size, max_tokens })
    }

    fn looking_layers(&self) -> Vec<usize> {
        (0..self.num_hidden_layers).filter(|i| self.has_cross_attention(*i)).collect()
    }

    fn stage_bytes(&self, tokens: usize) -> u64 {
        stage_bytes(self.num_query_tokens + tokens, self.hidden_size, self.intermediate_size)
    }

    fn shorten(&mut self, layers: usize) {
        self.num_hidden_layers = self.num_hidden_layers.min(layers);
    }
}

/// Picture features and instruction to what the language model reads.
#[derive(Module, Debug)]
pub struct QFormer {
    query_tokens: Tensor<3>,
    /// `None` in BLIP-2, whose Q-Former does not read the instruction.
    text: Option<TextEmbeddings>,
    layernorm: LayerNorm,
    layers: Vec<Layer>,
    /// `language_projection`.
    projection: Linear,
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

impl Connector for QFormer {
    type Config = QFormerConfig;
    /// Keys and values of the layers that look at the picture.
    type Kept = ImageKeys;

    fn config(bytes: &[u8], model_type: &str, [image, text]: [usize; 2]) -> Result<QFormerConfig> {
        #[derive(Deserialize)]
        struct Queries {
            num_query_tokens: Option<usize>,
        }
        let mut config: QFormerConfig = section(bytes, "qformer_config")?.unwrap_or_default();
        let Queries { num_query_tokens } = parse_json(FILE, bytes)?;
        config.num_query_tokens = num_query_tokens.unwrap_or(config.num_query_tokens);
        config.reads_instruction = model_type == "instructblip";
        // As in the reference, whatever the file says.
        config.encoder_hidden_size = image;
        config.check()?;
        Section("").matrix("language projection", &[text, config.hidden_size])?;
        Ok(config)
    }

    /// Takes `query_tokens`, `language_projection` and the tensors of `qformer`.
    fn load(weights: &Weights<'_>, config: &QFormerConfig, width: usize) -> Result<Self> {
        let own = config.hidden_size;
        let around = weights.clone().part(Part::QueriesAndProjection);
        let weights = weights.at("qformer").part(Part::Bridge);
        let norm = if config.reads_instruction { "embeddings.layernorm" } else { "layernorm" };
        Ok(Self {
            query_tokens: around.at("query_tokens").learned([1, config.num_query_tokens, own])?,
            projection: Linear::load(&around.at("language_projection"), width, own)?,
            text: match config.reads_instruction {
                true => Some(TextEmbeddings::load(&weights.at("embeddings"), config)?),
                false => None,
            },
            layernorm: LayerNorm::load(&weights.at(norm), own, config.layer_norm_eps)?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(&weights.at("encoder.layer").at(i), i, config))
                .collect::<Result<_>>()?,
        })
    }

    async fn keep(&self, vision: &Tensor<3>, pace: &Pace) -> Result<ImageKeys> {
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

    fn bytes(kept: &ImageKeys) -> u64 {
        let pairs = kept.iter().flatten();
        pairs.map(|(keys, values)| bytes_of(keys) + bytes_of(values)).sum()
    }

    async fn look(
        &self,
        pictures: &[&ImageKeys],
        instruction: &[u32],
        pace: &Pace,
        probe: &mut Probe<'_>,
    ) -> Result<Tensor<3>> {
        let mut found = Vec::with_capacity(pictures.len());
        for image in pictures {
            found.push(self.forward(instruction, image, pace).await?);
        }
        let found = Tensor::cat(found, 0); // [pictures, queries, hidden]
        probe("qformer_last_hidden_state", &found);
        let projected = self.projection.forward(&found);
        let [pictures, queries, width] = projected.dims();
        let projected = projected.reshape([1, pictures * queries, width]);
        probe("language_projection", &projected);
        Ok(projected)
    }

    /// `cross_attentions` of the reference, averaged over heads.
    async fn maps(
        &self,
        picture: &ImageKeys,
        instruction: &[u32],
        pace: &Pace,
    ) -> Result<Vec<Tensor<2>>> {
        let mut maps = Vec::new();
        let mut look = |cross: &SelfOrCross, (x, keys): (&Tensor<3>, &Tensor<3>)| {
            let q = cross.query.forward(x);
            maps.push(attention_map(&q, keys, cross.heads, cross.scale(&q)));
        };
        self.run(instruction, picture, pace, &mut look).await?;
        Ok(maps)
    }
}

impl QFormer {
    /// `qformer_input_ids` `[text]` (at most `max_position_embeddings`; none where the queries look
    /// alone, as in BLIP-2 and under `qformer_text_input=False` of LAVIS) and the picture to the query rows of `qformer_last_hidden_state`, `[1, queries, hidden]`.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    async fn forward(
        &self,
        input_ids: &[u32],
        image: &ImageKeys,
        pace: &Pace,
    ) -> Result<Tensor<3>> {
        self.run(input_ids, image, pace, |_, _| ()).await
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
        if let Some(text) = self.text.as_ref().filter(|_| !input_ids.is_empty()) {
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
    fn load(weights: &Weights<'_>, config: &QFormerConfig) -> Result<Self> {
        let (width, positions) = (config.hidden_size, config.max_position_embeddings);
        let learned = weights.at("position_embeddings.weight").learned::<2>([positions, width])?;
        Ok(Self {
            words: Embedding::load(
                &weights.at("word_embeddings").spread(0.5),
                config.vocab_size,
                width,
            )?,
            positions: learned.unsqueeze_dim(0),
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
    fn load(weights: &Weights<'_>, index: usize, config: &QFormerConfig) -> Result<Self> {
        let (width, image) = (config.hidden_size, config.encoder_hidden_size);
        let last = index + 1 == config.num_hidden_layers;
        // Checkpoints have the last layer's, too.
        let text = if last { weights.unread() } else { Some(weights.clone()) };
        let text = text.filter(|_| config.reads_instruction);
        let text = text.map(|weights| FeedForward::load(&weights, "", config)).transpose()?;
        Ok(Self {
            attention: SelfOrCross::load(&weights.at("attention"), config, width)?,
            crossattention: match config.has_cross_attention(index) {
                true => Some(SelfOrCross::load(&weights.at("crossattention"), config, image)?),
                false => None,
            },
            text,
            query: FeedForward::load(weights, "_query", config)?,
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
            Some(feed_forward) if text > 0 => {
                let words = feed_forward.forward(&x.narrow(1, queries, text));
                Tensor::cat(vec![query, words], 1)
            }
            _ => query,
        }
    }
}

impl SelfOrCross {
    fn load(weights: &Weights<'_>, config: &QFormerConfig, keys: usize) -> Result<Self> {
        let width = config.hidden_size;
        let linear = |name, k| Linear::load(&weights.at(name), width, k);
        Ok(Self {
            query: linear("attention.query", width)?,
            key: linear("attention.key", keys)?,
            value: linear("attention.value", keys)?,
            dense: linear("output.dense", width)?,
            norm: LayerNorm::load(&weights.at("output.LayerNorm"), width, config.layer_norm_eps)?,
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
    /// `suffix` tells the queries' from the text's.
    fn load(weights: &Weights<'_>, suffix: &str, config: &QFormerConfig) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let output = weights.at(format!("output{suffix}"));
        Ok(Self {
            intermediate: Linear::load(
                &weights.at(format!("intermediate{suffix}.dense")),
                inner,
                width,
            )?,
            output: Linear::load(&output.at("dense"), width, inner)?,
            norm: LayerNorm::load(&output.at("LayerNorm"), width, config.layer_norm_eps)?,
            activation: config.hidden_act,
        })
    }

    fn forward(&self, x: &Tensor<3>) -> Tensor<3> {
        let hidden = self.intermediate.forward_with(x, Some(self.activation), None);
        self.norm.forward(&self.output.forward_with(&hidden, None, Some(x)))
    }
}
