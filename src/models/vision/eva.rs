//! EVA ViT-g/14: pixels in, one feature vector for each patch and the class token out.
//!
//! Reference: `InstructBlipVisionModel` of transformers. Pre-norm blocks, packed qkv with bias,
//! exact GELU, learned positions, a final norm over all tokens.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use super::{Grid, Tower, TowerSizes};
use crate::config::check::{MAX_IMAGE_SIZE, MAX_LAYERS, MAX_PATCHES, MAX_WIDTH, Section};
use crate::error::Result;
use crate::image::PixelValues;
use crate::kernels::Activation;
use crate::kernels::{Attention, attention};
use crate::models::stage_bytes;
use crate::nn::{LayerNorm, Linear};
use crate::pace::Pace;
use crate::weights::Weights;

/// The tower's sizes (`InstructBlipVisionConfig`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct EvaConfig {
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

impl Default for EvaConfig {
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

impl TowerSizes for EvaConfig {
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
        at.size("number of patches", self.grid().side.pow(2), MAX_PATCHES)?;
        at.matrix("qkv weight", &[3, self.hidden_size, self.hidden_size])?;
        at.matrix("MLP weight", &[self.intermediate_size, self.hidden_size])?;
        at.matrix("patch weight", &[self.hidden_size, 3, self.patch_size, self.patch_size])?;
        at.matrix("position embedding", &[self.grid().tokens(), self.hidden_size])
    }

    fn image_size(&self) -> usize {
        self.image_size
    }

    fn grid(&self) -> Grid {
        Grid { side: self.image_size / self.patch_size.max(1), before: 1 }
    }

    fn width(&self) -> usize {
        self.hidden_size
    }

    fn layers(&self) -> usize {
        self.num_hidden_layers
    }

    fn stage_bytes(&self) -> u64 {
        stage_bytes(self.grid().tokens(), self.hidden_size, self.intermediate_size)
    }

    fn shorten(&mut self, layers: usize) {
        self.num_hidden_layers = self.num_hidden_layers.min(layers);
    }
}

/// `pixel_values` to `vision_last_hidden_state`.
#[derive(Module, Debug)]
pub struct Eva {
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

impl Tower for Eva {
    type Config = EvaConfig;

    fn load(weights: &Weights<'_>, config: &EvaConfig) -> Result<Self> {
        let weights = weights.at("vision_model");
        let (width, patch) = (config.hidden_size, config.patch_size);
        let embeddings = weights.at("embeddings");
        Ok(Self {
            class_embedding: embeddings.at("class_embedding").learned([1, 1, width])?,
            position_embedding: embeddings.at("position_embedding").learned([
                1,
                config.grid().tokens(),
                width,
            ])?,
            patch_embedding: Linear::load_convolution(
                &embeddings.at("patch_embedding"),
                width,
                [3, patch, patch],
            )?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Block::load(&weights.at("encoder.layers").at(i), config))
                .collect::<Result<_>>()?,
            post_layernorm: LayerNorm::load(
                &weights.at("post_layernorm"),
                width,
                config.layer_norm_eps,
            )?,
            patch_size: patch,
            image_size: config.image_size,
        })
    }

    async fn forward(
        &self,
        pixel_values: &PixelValues,
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
}

impl Eva {
    /// Cuts the picture into patches, row by row, each flattened as (channel, y, x).
    fn patches(&self, pixel_values: &PixelValues, device: &Device) -> Tensor<3> {
        let (size, patch, pixel_values) = (self.image_size, self.patch_size, &pixel_values.data);
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
    fn load(weights: &Weights<'_>, config: &EvaConfig) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let norm = |name| LayerNorm::load(&weights.at(name), width, config.layer_norm_eps);
        let qkv = weights.at("self_attn.qkv");
        Ok(Self {
            layer_norm1: norm("layer_norm1")?,
            qkv: match config.qkv_bias {
                true => Linear::load(&qkv, 3 * width, width)?,
                false => Linear::load_no_bias(&qkv, 3 * width, width)?,
            },
            projection: Linear::load(&weights.at("self_attn.projection"), width, width)?,
            layer_norm2: norm("layer_norm2")?,
            fc1: Linear::load(&weights.at("mlp.fc1"), inner, width)?,
            fc2: Linear::load(&weights.at("mlp.fc2"), width, inner)?,
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
