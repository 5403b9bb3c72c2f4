//! The vision towers: a picture's pixels to one feature vector a token.
//!
//! A tower is one file: its sizes, how it loads, how it computes. Here is the one place that
//! knows them all.

mod eva;

pub use eva::{Eva, EvaConfig};

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::stage_bytes;
use crate::config::check::section;
use crate::error::Result;
use crate::image::PixelValues;
use crate::pace::Pace;
use crate::weights::{Part, Weights};

/// The sizes of a tower: `vision_config`.
#[derive(Debug, Clone, PartialEq)]
pub enum VisionConfig {
    /// [`Eva`]'s.
    Eva(EvaConfig),
}

/// How the tokens of a picture lie in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Patches along a side of the square picture, row by row from the top left.
    pub side: usize,
    /// Tokens before those of the patches that have no place, such as a class token.
    pub before: usize,
}

impl Grid {
    /// Tokens of a picture.
    #[must_use]
    pub fn tokens(self) -> usize {
        self.before + self.side * self.side
    }
}

impl VisionConfig {
    /// Reads the section of `config.json`.
    ///
    /// # Errors
    /// It is malformed, or a size cannot be.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let config: EvaConfig = section(bytes, "vision_config")?.unwrap_or_default();
        config.check()?;
        Ok(Self::Eva(config))
    }

    /// Side of the square picture in pixels.
    #[must_use]
    pub fn image_size(&self) -> usize {
        let Self::Eva(config) = self;
        config.image_size
    }

    /// The tokens of a picture.
    #[must_use]
    pub fn grid(&self) -> Grid {
        let Self::Eva(config) = self;
        Grid { side: config.image_size / config.patch_size, before: 1 }
    }

    /// Width of a token.
    #[must_use]
    pub fn width(&self) -> usize {
        let Self::Eva(config) = self;
        config.hidden_size
    }

    /// Bytes of intermediate values.
    #[must_use]
    pub fn stage_bytes(&self) -> u64 {
        let Self::Eva(config) = self;
        stage_bytes(self.grid().tokens(), config.hidden_size, config.intermediate_size)
    }

    /// The same tower with at most this many layers.
    pub(super) fn shorten(&mut self, layers: usize) {
        let Self::Eva(config) = self;
        config.num_hidden_layers = config.num_hidden_layers.min(layers);
    }
}

/// A vision tower.
#[derive(Module, Debug)]
pub enum VisionTower {
    /// EVA ViT-g/14 of BLIP-2 and InstructBLIP.
    Eva(Eva),
}

impl VisionTower {
    /// Takes the tower's tensors.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn load(weights: &Weights<'_>, config: &VisionConfig) -> Result<Self> {
        let weights = weights.at("vision_model").part(Part::Vision);
        let VisionConfig::Eva(config) = config;
        Ok(Self::Eva(Eva::load(&weights, config)?))
    }

    /// `pixel_values` `[3, image_size, image_size]` to `[1, tokens, width]`.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    pub async fn forward(
        &self,
        pixel_values: &PixelValues,
        device: &Device,
        pace: &Pace,
    ) -> Result<Tensor<3>> {
        let Self::Eva(tower) = self;
        tower.forward(pixel_values, device, pace).await
    }
}
