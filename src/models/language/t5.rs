//! T5 v1.1, encoder and decoder with a key-value cache.
//!
//! Reference: `T5ForConditionalGeneration` of transformers. RMS norms before every sub-layer, no
//! biases, attention scores unscaled, one relative-position table in the first block of each
//! stack that serves all its layers (none in cross-attention), gated feed-forward.

mod config;
mod decoder;

pub use config::T5Config;
pub use decoder::{CrossKeys, DecoderState};

use burn::module::Module;
use burn::tensor::{Int, Tensor};

use crate::error::Result;
use crate::kernels::{
    Activation, Attention, Matrix, Reach, attention_within, embedding, words_tensor,
};
use crate::models::Probe;
use crate::models::language::{At, Language};
use crate::nn::{Embedding, Linear, RmsNorm};
use crate::pace::Pace;
use crate::weights::{Part, Weights};

/// Token embeddings, both stacks and the output head.
#[derive(Module, Debug)]
pub struct T5 {
    shared: Embedding,
    encoder: Stack,
    decoder: Stack,
    lm_head: Linear,
    #[module(skip)]
    start: u32,
}

#[derive(Module, Debug)]
struct Stack {
    blocks: Vec<Block>,
    final_layer_norm: RmsNorm,
    relative_attention_bias: Matrix,
    #[module(skip)]
    bidirectional: bool,
    #[module(skip)]
    buckets: usize,
    #[module(skip)]
    max_distance: usize,
}

#[derive(Module, Debug)]
struct Block {
    self_attention: SubAttention,
    cross_attention: Option<SubAttention>,
    feed_forward: FeedForward,
}

#[derive(Module, Debug)]
struct SubAttention {
    layer_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    #[module(skip)]
    heads: usize,
}

#[derive(Module, Debug)]
struct FeedForward {
    layer_norm: RmsNorm,
    wi_0: Linear,
    wi_1: Linear,
    wo: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Language for T5 {
    type Config = T5Config;
    /// Cross-attention's keys and values.
    type Context = CrossKeys;
    type State = DecoderState;

    fn load(weights: &Weights<'_>, config: &T5Config) -> Result<Self> {
        let (vocabulary, width) = (config.vocab_size, config.d_model);
        let embeddings = weights.clone().part(Part::Embeddings);
        for stack in ["encoder", "decoder"] {
            embeddings.alias(&format!("{stack}.embed_tokens.weight"), "shared.weight");
        }
        let lm_head = embeddings.at("lm_head").spread(2.0);
        Ok(Self {
            shared: Embedding::load(&embeddings.at("shared"), vocabulary, width)?,
            encoder: Stack::load(&weights.at("encoder").part(Part::Encoder), config, false)?,
            decoder: Stack::load(&weights.at("decoder").part(Part::Decoder), config, true)?,
            lm_head: Linear::load_no_bias(&lm_head, vocabulary, width)?,
            start: config.decoder_start_token_id,
        })
    }

    fn vocab_size(&self) -> usize {
        self.lm_head.outputs()
    }

    fn cache_bytes(&self) -> usize {
        let projections = self.decoder.blocks.iter().map(|block| &block.self_attention);
        let values = projections.map(|attention| attention.k.outputs() + attention.v.outputs());
        values.sum::<usize>() * size_of::<f32>()
    }

    async fn read(
        &self,
        queries: &Tensor<3>,
        ids: &[u32],
        pace: &Pace,
        probe: &mut Probe<'_>,
    ) -> Result<(u32, CrossKeys)> {
        let ids = words_tensor(ids.to_vec(), &queries.device());
        let inputs_embeds = Tensor::cat(vec![queries.clone(), self.embed(&ids)], 1);
        let encoded = self.encode(&inputs_embeds, pace).await?;
        probe("encoder_last_hidden_state", &encoded);
        Ok((self.start, self.cross_keys(&encoded, pace).await?))
    }

    fn last(context: &CrossKeys) -> Option<&Tensor<3>> {
        context.last()
    }

    fn start(&self, context: &CrossKeys, rows: usize, capacity: usize) -> DecoderState {
        self.decoder_state(context, rows, capacity)
    }

    fn capacity(state: &DecoderState) -> usize {
        state.capacity()
    }

    fn step(&self, at: At<'_>, state: &mut DecoderState) -> Tensor<2> {
        self.decoder_step(at, state)
    }

    fn grow(&self, state: &mut DecoderState) {
        self.grow_cache(state);
    }

    fn score(&self, context: &CrossKeys, ids: &Tensor<1, Int>, rows: usize) -> Tensor<2> {
        self.teacher_forced(ids, rows, context)
    }
}

impl T5 {
    /// Embeddings of `input_ids` `[tokens]`, `[1, tokens, d_model]`.
    #[must_use]
    fn embed(&self, input_ids: &Tensor<1, Int>) -> Tensor<3> {
        self.shared.forward(input_ids)
    }

    /// `inputs_embeds` `[1, tokens, d_model]` to `encoder_last_hidden_state`.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    async fn encode(&self, inputs_embeds: &Tensor<3>, pace: &Pace) -> Result<Tensor<3>> {
        let tokens = inputs_embeds.dims()[1];
        // Distances -(tokens - 1) ..= tokens - 1.
        let bias = self.encoder.bias(-(tokens as i64 - 1), 2 * tokens - 1);
        let mut x = inputs_embeds.clone();
        for block in &self.encoder.blocks {
            x = block.self_attention.forward(&x, &bias, tokens - 1);
            x = block.feed_forward.forward(&x);
            pace.after(&x).await?;
        }
        Ok(self.encoder.final_layer_norm.forward(&x))
    }
}

impl Stack {
    fn load(weights: &Weights<'_>, config: &T5Config, decoder: bool) -> Result<Self> {
        let layers = if decoder { config.num_decoder_layers } else { config.num_layers };
        let first = weights.at("block.0.layer.0.SelfAttention.relative_attention_bias");
        Ok(Self {
            relative_attention_bias: first
                .table(config.relative_attention_num_buckets, config.num_heads)?,
            blocks: (0..layers)
                .map(|i| Block::load(&weights.at("block").at(i).at("layer"), config, decoder))
                .collect::<Result<_>>()?,
            final_layer_norm: norm(&weights.at("final_layer_norm"), config)?,
            bidirectional: !decoder,
            buckets: config.relative_attention_num_buckets,
            max_distance: config.relative_attention_max_distance,
        })
    }

    /// The bias for `count` distances (key - query) from `first` on, `[count, heads]`.
    fn bias(&self, first: i64, count: usize) -> Tensor<2> {
        let buckets = (0..count as i64).map(|i| {
            let bucket = relative_position_bucket(
                first + i,
                self.bidirectional,
                self.buckets,
                self.max_distance,
            );
            bucket as u32
        });
        let ids = words_tensor(buckets.collect(), &self.relative_attention_bias.device());
        embedding(&ids, &self.relative_attention_bias)
    }
}

/// `T5Attention._relative_position_bucket` for the distance key - query: exact for small
/// distances, logarithmic up to `max_distance`, one bucket beyond.
#[must_use]
pub fn relative_position_bucket(
    distance: i64,
    bidirectional: bool,
    buckets: usize,
    max_distance: usize,
) -> usize {
    let (base, buckets, distance) = if bidirectional {
        let half = buckets / 2;
        let base = if distance > 0 { half } else { 0 };
        (base, half, distance.unsigned_abs() as usize)
    } else {
        (0, buckets, (-distance).max(0) as usize)
    };
    let exact = buckets / 2;
    if distance < exact {
        return base + distance;
    }
    let ratio = (distance as f64 / exact as f64).ln() / (max_distance as f64 / exact as f64).ln();
    // The margin keeps exact powers (distance 16, 32, 64) on the right side of the rounding.
    let step = (ratio * (buckets - exact) as f64 + 1e-9) as usize;
    base + (exact + step).min(buckets - 1)
}

fn norm(weights: &Weights<'_>, config: &T5Config) -> Result<RmsNorm> {
    RmsNorm::load(weights, config.d_model, config.layer_norm_epsilon)
}

impl Block {
    fn load(weights: &Weights<'_>, config: &T5Config, decoder: bool) -> Result<Self> {
        let attention = |i: usize, name| SubAttention::load(&weights.at(i), name, config);
        Ok(Self {
            self_attention: attention(0, "SelfAttention")?,
            cross_attention: match decoder {
                true => Some(attention(1, "EncDecAttention")?),
                false => None,
            },
            feed_forward: FeedForward::load(&weights.at(if decoder { 2 } else { 1 }), config)?,
        })
    }
}

impl SubAttention {
    fn load(weights: &Weights<'_>, name: &str, config: &T5Config) -> Result<Self> {
        let (width, inner) = (config.d_model, config.inner_dim());
        let linear = |letter, n, k| Linear::load_no_bias(&weights.at(name).at(letter), n, k);
        // Scores are not scaled: the queries' weights are smaller instead.
        let query = weights.at(name).at("q").spread(2.0 * (config.d_kv as f32).powf(-0.5));
        Ok(Self {
            layer_norm: norm(&weights.at("layer_norm"), config)?,
            q: Linear::load_no_bias(&query, inner, width)?,
            k: linear("k", inner, width)?,
            v: linear("v", inner, width)?,
            o: linear("o", width, inner)?,
            heads: config.num_heads,
        })
    }

    /// Self-attention over all tokens at once: norm, attention, plus x.
    fn forward(&self, x: &Tensor<3>, bias: &Tensor<2>, center: usize) -> Tensor<3> {
        let y = self.layer_norm.forward(x);
        let (keys, values) = (self.k.forward(&y), self.v.forward(&y));
        let bias = Some((bias, center));
        self.attend(x, &y, (&keys, &values), x.dims()[1], bias, Reach::default())
    }

    /// Attends from the normed `y` to the first `keys` rows of `kv` and adds x.
    fn attend(
        &self,
        x: &Tensor<3>,
        y: &Tensor<3>,
        kv: (&Tensor<3>, &Tensor<3>),
        keys: usize,
        bias: Option<(&Tensor<2>, usize)>,
        reach: Reach,
    ) -> Tensor<3> {
        let q = self.q.forward(y);
        let spec = Attention {
            q: &q,
            kv: Some(kv),
            offsets: [0; 3],
            heads: self.heads,
            width: q.dims()[2] / self.heads,
            keys,
            scale: 1.0,
            bias,
        };
        let mixed = attention_within(&spec, reach);
        self.o.forward_with(&mixed, None, Some(x))
    }
}

impl FeedForward {
    fn load(weights: &Weights<'_>, config: &T5Config) -> Result<Self> {
        let (width, inner) = (config.d_model, config.d_ff);
        let linear =
            |name, n, k| Linear::load_no_bias(&weights.at("DenseReluDense").at(name), n, k);
        Ok(Self {
            layer_norm: norm(&weights.at("layer_norm"), config)?,
            wi_0: linear("wi_0", inner, width)?,
            wi_1: linear("wi_1", inner, width)?,
            wo: linear("wo", width, inner)?,
            activation: config.dense_act_fn,
        })
    }

    /// `x + wo(act(wi_0 y) * wi_1 y)` with y the norm of x.
    fn forward(&self, x: &Tensor<3>) -> Tensor<3> {
        let hidden = Linear::gated([&self.wi_0, &self.wi_1], &self.layer_norm, x, self.activation);
        self.wo.forward_with(&hidden, None, Some(x))
    }
}

#[cfg(test)]
mod tests {
    use super::relative_position_bucket;

    /// The reference's formula with its rounding: the distances are f32 tensors, the divisor a
    /// number of the host's.
    fn reference(distance: i64, bidirectional: bool, buckets: i64, max_distance: i64) -> i64 {
        let (mut bucket, mut buckets, mut distance) = (0, buckets, distance);
        if bidirectional {
            buckets /= 2;
            bucket += i64::from(distance > 0) * buckets;
            distance = distance.abs();
        } else {
            distance = -distance.min(0);
        }
        let exact = buckets / 2;
        if distance < exact {
            return bucket + distance;
        }
        let divisor = (max_distance as f64 / exact as f64).ln() as f32;
        let share = (distance as f32 / exact as f32).ln() / divisor;
        bucket + (exact + (share * (buckets - exact) as f32) as i64).min(buckets - 1)
    }

    #[test]
    fn buckets_are_the_reference_s() {
        let sizes = [(32, 128), (4, 8), (8, 20), (16, 64), (48, 300), (64, 256), (128, 512)];
        for (buckets, most) in sizes {
            for bidirectional in [true, false] {
                for distance in -300..=300 {
                    let bucket = relative_position_bucket(
                        distance,
                        bidirectional,
                        buckets as usize,
                        most as usize,
                    );
                    let expected = reference(distance, bidirectional, buckets, most);
                    let case = format!("{distance}, {bidirectional}, {buckets} to {most}");
                    assert_eq!(bucket as i64, expected, "{case}");
                }
            }
        }
    }

    #[test]
    fn powers_of_two_begin_a_bucket() {
        let encoder = [15, 16, 31, 32, 63, 64, 127, 128, 1000];
        let bucket = |distance: i64| relative_position_bucket(distance, true, 32, 128);
        assert_eq!(encoder.map(|distance| bucket(-distance)), [9, 10, 11, 12, 13, 14, 15, 15, 15]);
        assert_eq!(encoder.map(bucket), [25, 26, 27, 28, 29, 30, 31, 31, 31]);
        let decoder = [0, -15, -16, -113, -128, -1000, 1, 300];
        let bucket = |distance: i64| relative_position_bucket(distance, false, 32, 128);
        assert_eq!(decoder.map(bucket), [0, 15, 16, 31, 31, 31, 0, 0]);
    }
}
