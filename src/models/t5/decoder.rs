//! The decoder: one token a step with a key-value cache, or all tokens of known texts at once.

use burn::tensor::{Int, Tensor};

use super::T5;
use crate::error::Result;
use crate::kernels::{Reach, cache_append};
use crate::pace::Pace;

/// Tokens a new cache has room for; it doubles when it is full.
const FIRST_CAPACITY: usize = 32;

/// Cross-attention's keys and values by layer, `[1, encoder tokens, inner]`: computed once for a
/// question and shared by all beams and candidates.
#[derive(Clone, Debug)]
pub struct CrossKeys(Vec<(Tensor<3>, Tensor<3>)>);

/// What the decoder keeps between steps.
#[derive(Debug)]
pub struct DecoderState {
    cross: CrossKeys,
    /// Self-attention's keys and values by layer, `[rows, capacity, inner]`.
    cache: Vec<(Tensor<3>, Tensor<3>)>,
    /// Relative bias by distance, `[capacity, heads]`; the last row is distance 0.
    bias: Tensor<2>,
    rows: usize,
    /// Tokens decoded so far.
    position: usize,
    capacity: usize,
}

impl T5 {
    /// Cross-attention's keys and values of `encoder_last_hidden_state` `[1, tokens, d_model]`.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    pub async fn cross_keys(&self, encoded: &Tensor<3>, pace: &Pace) -> Result<CrossKeys> {
        let mut layers = Vec::with_capacity(self.decoder.blocks.len());
        for attention in self.decoder.blocks.iter().filter_map(|b| b.cross_attention.as_ref()) {
            let (keys, values) = (attention.k.forward(encoded), attention.v.forward(encoded));
            pace.after(&values).await?;
            layers.push((keys, values));
        }
        Ok(CrossKeys(layers))
    }

    /// Starts decoding `rows` texts side by side.
    #[must_use]
    pub fn start(&self, cross: &CrossKeys, rows: usize) -> DecoderState {
        let empty = |like: &Tensor<3>| {
            Tensor::zeros([rows, FIRST_CAPACITY, like.dims()[2]], &like.device())
        };
        DecoderState {
            cache: cross.0.iter().map(|(keys, values)| (empty(keys), empty(values))).collect(),
            cross: cross.clone(),
            bias: self.causal_bias(FIRST_CAPACITY),
            rows,
            position: 0,
            capacity: FIRST_CAPACITY,
        }
    }

    /// One decoder step: `tokens` `[rows]` to the next tokens' logits `[rows, vocab_size]`.
    ///
    /// `lineage` `[rows, tokens so far]`, this one included, names the row whose cache holds each
    /// token of a row's text; without it every text lies in its own row.
    #[must_use]
    pub fn step(
        &self,
        tokens: &Tensor<1, Int>,
        lineage: Option<&Tensor<1, Int>>,
        state: &mut DecoderState,
    ) -> Tensor<2> {
        if state.position == state.capacity {
            self.grow(state);
        }
        let mut x: Tensor<3> = self.embed(tokens).reshape([state.rows as i64, 1, -1]);
        // Row capacity - 1 is distance 0; the query stands at `position`.
        let center = state.capacity - 1 - state.position;
        let reach = Reach { causal: false, lineage };
        let caches = std::mem::take(&mut state.cache);
        for ((block, (keys, values)), cross) in
            self.decoder.blocks.iter().zip(caches).zip(&state.cross.0)
        {
            let attention = &block.self_attention;
            let y = attention.layer_norm.forward(&x);
            let keys = cache_append(keys, &attention.k.forward(&y), state.position);
            let values = cache_append(values, &attention.v.forward(&y), state.position);
            let bias = Some((&state.bias, center));
            x = attention.attend(&x, &y, (&keys, &values), state.position + 1, bias, reach);
            state.cache.push((keys, values));
            x = block.cross_and_feed_forward(x, cross);
        }
        state.position += 1;
        self.logits(&x)
    }

    /// Logits after every token of `rows` texts of equal length, `ids` `[rows * length]` with the
    /// start token first: `[rows * length, vocab_size]`. Padding at the end changes nothing
    /// before it.
    #[must_use]
    pub fn teacher_forced(
        &self,
        ids: &Tensor<1, Int>,
        rows: usize,
        cross: &CrossKeys,
    ) -> Tensor<2> {
        let length = ids.dims()[0] / rows;
        let bias = self.causal_bias(length);
        let reach = Reach { causal: true, lineage: None };
        let mut x: Tensor<3> = self.embed(ids).reshape([rows as i64, length as i64, -1]);
        for (block, cross) in self.decoder.blocks.iter().zip(&cross.0) {
            let attention = &block.self_attention;
            let y = attention.layer_norm.forward(&x);
            let (keys, values) = (attention.k.forward(&y), attention.v.forward(&y));
            let bias = Some((&bias, length - 1));
            x = attention.attend(&x, &y, (&keys, &values), length, bias, reach);
            x = block.cross_and_feed_forward(x, cross);
        }
        self.logits(&x)
    }

    /// The bias for the distances `1 - count ..= 0`, `[count, heads]`.
    fn causal_bias(&self, count: usize) -> Tensor<2> {
        self.decoder.bias(1 - count as i64, count)
    }

    /// Doubles the cache's room.
    fn grow(&self, state: &mut DecoderState) {
        let capacity = 2 * state.capacity;
        let larger = |old: &Tensor<3>| {
            let [rows, _, inner] = old.dims();
            cache_append(Tensor::zeros([rows, capacity, inner], &old.device()), old, 0)
        };
        for (keys, values) in &mut state.cache {
            (*keys, *values) = (larger(keys), larger(values));
        }
        state.bias = self.causal_bias(capacity);
        state.capacity = capacity;
    }

    fn logits(&self, x: &Tensor<3>) -> Tensor<2> {
        let x = self.decoder.final_layer_norm.forward(x);
        self.lm_head.forward(&x).flatten(0, 1)
    }
}

impl super::Block {
    /// What follows self-attention: attention to the encoder's output, then the feed-forward.
    fn cross_and_feed_forward(&self, x: Tensor<3>, cross: &(Tensor<3>, Tensor<3>)) -> Tensor<3> {
        let mut x = x;
        if let Some(attention) = &self.cross_attention {
            let y = attention.layer_norm.forward(&x);
            let tokens = cross.0.dims()[1];
            x = attention.attend(&x, &y, (&cross.0, &cross.1), tokens, None, Reach::default());
        }
        self.feed_forward.forward(&x)
    }
}
