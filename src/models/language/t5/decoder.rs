//! The decoder: one token a step with a key-value cache, or all tokens of known texts at once.

use burn::tensor::{Int, Tensor};

use super::T5;
use crate::error::Result;
use crate::kernels::{Past, Reach, attention_step, cache_append};
use crate::models::language::At;
use crate::pace::Pace;

/// Cross-attention's keys and values by layer, `[1, encoder tokens, inner]`: computed once for a
/// question and shared by all beams and candidates.
#[derive(Clone, Debug)]
pub struct CrossKeys(Vec<(Tensor<3>, Tensor<3>)>);

impl CrossKeys {
    /// What is computed last.
    pub(super) fn last(&self) -> Option<&Tensor<3>> {
        self.0.last().map(|(_, values)| values)
    }
}

/// What the decoder keeps between steps.
#[derive(Debug)]
pub struct DecoderState {
    cross: CrossKeys,
    /// Self-attention's keys, then values, by layer, `[rows, capacity, 2 * inner]`.
    cache: Vec<Tensor<3>>,
    /// Relative bias by distance, `[capacity, heads]`; the last row is distance 0.
    bias: Tensor<2>,
    capacity: usize,
}

impl DecoderState {
    /// Tokens there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }
}

impl T5 {
    /// Cross-attention's keys and values of `encoder_last_hidden_state` `[1, tokens, d_model]`.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    pub(super) async fn cross_keys(&self, encoded: &Tensor<3>, pace: &Pace) -> Result<CrossKeys> {
        let mut layers = Vec::with_capacity(self.decoder.blocks.len());
        for attention in self.decoder.blocks.iter().filter_map(|b| b.cross_attention.as_ref()) {
            let (keys, values) = (attention.k.forward(encoded), attention.v.forward(encoded));
            pace.after(&values).await?;
            layers.push((keys, values));
        }
        Ok(CrossKeys(layers))
    }

    /// Starts decoding `rows` texts side by side, with room for `capacity` tokens.
    pub(super) fn decoder_state(
        &self,
        cross: &CrossKeys,
        rows: usize,
        capacity: usize,
    ) -> DecoderState {
        let empty =
            |like: &Tensor<3>| Tensor::zeros([rows, capacity, 2 * like.dims()[2]], &like.device());
        DecoderState {
            cache: cross.0.iter().map(|(keys, _)| empty(keys)).collect(),
            cross: cross.clone(),
            bias: self.causal_bias(capacity),
            capacity,
        }
    }

    /// One decoder step: the tokens `at` a position, which is below the capacity, to the next
    /// tokens' logits `[rows, vocab_size]`. Only kernels of this crate run, so that it can be
    /// recorded.
    pub(super) fn decoder_step(&self, at: At<'_>, state: &mut DecoderState) -> Tensor<2> {
        let mut x = self.shared.step(at.history, at.position);
        for ((block, cache), cross) in
            self.decoder.blocks.iter().zip(&mut state.cache).zip(&state.cross.0)
        {
            let attention = &block.self_attention;
            let (norm, projections) = (&attention.layer_norm, [&attention.k, &attention.v]);
            let q = attention.q.after(norm, &x);
            *cache = crate::nn::Linear::into_cache(projections, norm, &x, cache, at.position);
            let past =
                Past::Own { cache, bias: &state.bias, position: at.position, lineage: at.lineage };
            let mixed = attention_step(&q, attention.heads, past);
            x = attention.o.forward_with(&mixed, None, Some(&x));
            if let Some(attention) = &block.cross_attention {
                let q = attention.q.after(&attention.layer_norm, &x);
                let past = Past::Encoder(&cross.0, &cross.1);
                let mixed = attention_step(&q, attention.heads, past);
                x = attention.o.forward_with(&mixed, None, Some(&x));
            }
            x = block.feed_forward.forward(&x);
        }
        self.logits(&x)
    }

    /// Doubles the cache's room.
    pub(super) fn grow_cache(&self, state: &mut DecoderState) {
        let capacity = 2 * state.capacity;
        for cache in &mut state.cache {
            let [rows, _, width] = cache.dims();
            let larger = Tensor::zeros([rows, capacity, width], &cache.device());
            *cache = cache_append(larger, cache, 0);
        }
        state.bias = self.causal_bias(capacity);
        state.capacity = capacity;
    }

    /// Logits after every token of `rows` texts of equal length, `ids` `[rows * length]` with the
    /// start token first: `[rows * length, vocab_size]`. Padding at the end changes nothing
    /// before it.
    pub(super) fn teacher_forced(
        &self,
        ids: &Tensor<1, Int>,
        rows: usize,
        cross: &CrossKeys,
    ) -> Tensor<2> {
        let length = ids.dims()[0] / rows;
        let bias = self.causal_bias(length);
        let reach = Reach::Causal;
        let mut x: Tensor<3> = self.embed(ids).reshape([rows as i64, length as i64, -1]);
        for (block, (cross_keys, cross_values)) in self.decoder.blocks.iter().zip(&cross.0) {
            let attention = &block.self_attention;
            let y = attention.layer_norm.forward(&x);
            let (keys, values) = (attention.k.forward(&y), attention.v.forward(&y));
            let bias = Some((&bias, length - 1));
            x = attention.attend(&x, &y, (&keys, &values), length, bias, reach);
            if let Some(attention) = &block.cross_attention {
                let y = attention.layer_norm.forward(&x);
                let tokens = cross_keys.dims()[1];
                let cross = (cross_keys, cross_values);
                x = attention.attend(&x, &y, cross, tokens, None, Reach::default());
            }
            x = block.feed_forward.forward(&x);
        }
        self.logits(&x)
    }

    /// The bias for the distances `1 - count ..= 0`, `[count, heads]`.
    fn causal_bias(&self, count: usize) -> Tensor<2> {
        self.decoder.bias(1 - count as i64, count)
    }

    fn logits(&self, x: &Tensor<3>) -> Tensor<2> {
        self.lm_head.after(&self.decoder.final_layer_norm, x).flatten(0, 1)
    }
}
