//! The decoder, one token a step, with a preallocated key-value cache.

use burn::tensor::{Device, Int, Tensor};

use super::T5;
use crate::kernels::cache_append;

/// What the decoder keeps between steps.
#[derive(Debug)]
pub struct DecoderState {
    /// Self-attention's keys and values by layer, `[1, capacity, inner]`.
    cache: Vec<(Tensor<3>, Tensor<3>)>,
    /// Cross-attention's keys and values by layer, `[1, encoder tokens, inner]`.
    cross: Vec<(Tensor<3>, Tensor<3>)>,
    /// Relative bias by distance, `[capacity, heads]`; the last row is distance 0.
    bias: Tensor<2>,
    /// Tokens decoded so far.
    position: usize,
    capacity: usize,
}

impl DecoderState {
    /// How many more tokens fit the cache.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity - self.position
    }
}

impl T5 {
    /// Starts decoding from `encoder_last_hidden_state` with room for `capacity` tokens.
    #[must_use]
    pub fn start(&self, encoded: &Tensor<3>, capacity: usize, device: &Device) -> DecoderState {
        let cross = self.decoder.blocks.iter().filter_map(|block| {
            let attention = block.cross_attention.as_ref()?;
            Some((attention.k.forward(encoded), attention.v.forward(encoded)))
        });
        let cross: Vec<_> = cross.collect();
        let inner = cross.first().map_or(0, |(keys, _)| keys.dims()[2]);
        let cache = || Tensor::zeros([1, capacity, inner], device);
        DecoderState {
            cache: cross.iter().map(|_| (cache(), cache())).collect(),
            cross,
            bias: self.decoder.bias(-(capacity as i64 - 1), capacity),
            position: 0,
            capacity,
        }
    }

    /// One decoder step: `token` `[1]` to the next token's logits `[1, vocab_size]`.
    ///
    /// # Panics
    /// The cache is full; callers stop at [`DecoderState::room`] 0.
    #[must_use]
    pub fn step(&self, token: &Tensor<1, Int>, state: &mut DecoderState) -> Tensor<2> {
        let mut x = self.embed(token); // [1, 1, d_model]
        let caches = std::mem::take(&mut state.cache);
        for ((block, (keys, values)), cross) in
            self.decoder.blocks.iter().zip(caches).zip(&state.cross)
        {
            let attention = &block.self_attention;
            let y = attention.layer_norm.forward(&x);
            let keys = cache_append(keys, &attention.k.forward(&y), state.position);
            let values = cache_append(values, &attention.v.forward(&y), state.position);
            // Row capacity - 1 is distance 0; the query stands at `position`.
            let center = state.capacity - 1 - state.position;
            x = attention.attend(
                &x,
                &y,
                (&keys, &values),
                state.position + 1,
                Some((&state.bias, center)),
            );
            state.cache.push((keys, values));
            if let Some(attention) = &block.cross_attention {
                let y = attention.layer_norm.forward(&x);
                let tokens = cross.0.dims()[1];
                x = attention.attend(&x, &y, (&cross.0, &cross.1), tokens, None);
            }
            x = block.feed_forward.forward(&x);
        }
        state.position += 1;
        let x = self.decoder.final_layer_norm.forward(&x);
        self.lm_head.forward(&x).squeeze_dim(1)
    }
}
