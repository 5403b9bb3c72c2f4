//! The vision tower, EVA ViT-g/14: pixels in, one feature vector for each patch and the class token out.
//!
//! Reference: `InstructBlipVisionModel` of transformers. Pre-norm blocks, packed qkv with bias,
//! exact GELU, learned positions, a final norm over all tokens.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::checkpoint::store::WeightStore;
use crate::config::VisionConfig;
use crate::error::Result;
use crate::kernels::{Activation, Attention, attention};
use crate::nn::{LayerNorm, Linear};
use crate::pace::Pace;

/// `pixel_values` to `vision_last_hidden_state`.
#[derive(Module, Debug)]
pub struct VisionModel {
    /// The patch convolution as a linear layer: stride equals kernel size.
    patch_embedding: Linear,
    class_embedding: Tensor<3>,
    position_embedding: Tensor<3>,
    layers: Vec<Block>,
    post_layernorm: LayerNorm,
    #[module(skip)]
    patch_size: usize,
    #[module(skip)]
    image_size: usize,
}

#[derive(Module, Debug)]
struct Block {
    layer_norm1: LayerNorm,
    qkv: Linear,
    projection: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    activation: Activation,
}

impl VisionModel {
    /// Takes the tensors under `vision_model.`.
    ///
    /// # Errors
    /// A tensor is missing or misshapen.
    pub fn load(weights: &mut WeightStore, config: &VisionConfig) -> Result<Self> {
        let root = "vision_model";
        let width = config.hidden_size;
        let patch = config.patch_size;
        let tokens = (config.image_size / patch).pow(2) + 1;
        let embeddings = format!("{root}.embeddings");
        Ok(Self {
            patch_embedding: Linear::load(
                weights,
                &format!("{embeddings}.patch_embedding"),
                width,
                3 * patch * patch,
                true,
            )?,
            class_embedding: weights
                .floats(&format!("{embeddings}.class_embedding"), [1, 1, width])?,
            position_embedding: weights
                .floats(&format!("{embeddings}.position_embedding"), [1, tokens, width])?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Block::load(weights, &format!("{root}.encoder.layers.{i}"), config))
                .collect::<Result<_>>()?,
            post_layernorm: LayerNorm::load(
                weights,
                &format!("{root}.post_layernorm"),
                width,
                config.layer_norm_eps,
            )?,
            patch_size: patch,
            image_size: config.image_size,
        })
    }

    /// `pixel_values` `[3, image_size, image_size]`, row-major, to `[1, tokens, hidden_size]`.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    pub async fn forward(
        &self,
        pixel_values: &[f32],
        device: &Device,
        pace: &Pace,
    ) -> Result<Tensor<3>> {
        let patches = self.patches(pixel_values, device);
        let x = self.patch_embedding.forward(&patches); // [1, patches, width]
        let x = Tensor::cat(vec![self.class_embedding.clone(), x], 1); // [1, tokens, width]
        let mut x = x + self.position_embedding.clone();
        for layer in &self.layers {
            x = layer.forward(&x);
            pace.after(&x).await?;
        }
        Ok(self.post_layernorm.forward(&x))
    }

    /// Cuts the picture into patches, row by row, each flattened as (channel, y, x).
    fn patches(&self, pixel_values: &[f32], device: &Device) -> Tensor<3> {
        let (size, patch) = (self.image_size, self.patch_size);
        let grid = size / patch;
        let width = 3 * patch * patch;
        let mut values = Vec::with_capacity(grid * grid * width);
        for row in 0..grid {
            for column in 0..grid {
                for channel in 0..3 {
                    for y in 0..patch {
                        let first = (channel * size + row * patch + y) * size + column * patch;
                        values.extend_from_slice(&pixel_values[first..first + patch]);
                    }
                }
            }
        }
        Tensor::from_data(TensorData::new(values, [1, grid * grid, width]), device)
    }
}

impl Block {
    fn load(weights: &mut WeightStore, root: &str, config: &VisionConfig) -> Result<Self> {
        let width = config.hidden_size;
        let inner = config.intermediate_size;
        let mut linear =
            |name: &str, n, k, bias| Linear::load(weights, &format!("{root}.{name}"), n, k, bias);
        let qkv = linear("self_attn.qkv", 3 * width, width, config.qkv_bias)?;
        let projection = linear("self_attn.projection", width, width, true)?;
        let fc1 = linear("mlp.fc1", inner, width, true)?;
        let fc2 = linear("mlp.fc2", width, inner, true)?;
        let mut norm = |name: &str| {
            LayerNorm::load(weights, &format!("{root}.{name}"), width, config.layer_norm_eps)
        };
        Ok(Self {
            layer_norm1: norm("layer_norm1")?,
            layer_norm2: norm("layer_norm2")?,
            qkv,
            projection,
            fc1,
            fc2,
            heads: config.num_attention_heads,
            width,
            activation: config.hidden_act,
        })
    }

    /// `[1, tokens, width]` to the same shape.
    fn forward(&self, x: &Tensor<3>) -> Tensor<3> {
        let qkv = self.qkv.forward(&self.layer_norm1.forward(x)); // [1, tokens, 3 * width]
        let head = self.width / self.heads;
        let mixed = attention(&Attention {
            q: &qkv,
            kv: None,
            offsets: [0, self.width, 2 * self.width],
            heads: self.heads,
            width: head,
            keys: qkv.dims()[1],
            scale: (head as f32).powf(-0.5),
            bias: None,
        });
        let x = self.projection.forward_with(&mixed, None, Some(x));
        let hidden =
            self.fc1.forward_with(&self.layer_norm2.forward(&x), Some(self.activation), None);
        self.fc2.forward_with(&hidden, None, Some(&x))
    }
}
