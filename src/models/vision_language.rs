//! A vision-language model: a vision tower, a bridge and a language model.
//!
//! Reference: `InstructBlipForConditionalGeneration` and `Blip2ForConditionalGeneration` of
//! transformers. The way through it is [`see`](VisionLanguageModel::see) once a picture, then
//! [`look`](VisionLanguageModel::look) and [`read`](VisionLanguageModel::read) for every prompt.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::bridge::{Bridge, Kept};
use super::language::{Context, LanguageModel};
use super::vision::VisionTower;
use super::{ModelConfig, Probe, bytes_of};
use crate::error::Result;
use crate::image::PixelValues;
use crate::pace::Pace;
use crate::weights::{Description, Weights};

/// The whole model. All its parts are on one device.
#[derive(Module, Debug)]
pub struct VisionLanguageModel {
    vision: VisionTower,
    bridge: Bridge,
    language: LanguageModel,
}

/// A picture as the bridge sees it; computed once, used by every question about it.
#[derive(Clone, Debug)]
pub struct PictureFeatures {
    /// `vision_last_hidden_state`, `[1, tokens, hidden]`.
    pub vision: Tensor<3>,
    kept: Kept,
}

impl PictureFeatures {
    /// Bytes that they take on the device.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        bytes_of(&self.vision) + self.kept.bytes()
    }
}

impl VisionLanguageModel {
    /// What a checkpoint with this configuration holds; `device` may be any.
    ///
    /// # Errors
    /// None that a parsed configuration could cause.
    pub fn describe(config: &ModelConfig, device: &Device) -> Result<Description> {
        let packing = config.quantization_config.clone();
        Description::of(packing, device, |weights| Self::load(weights, config))
    }

    /// Takes all tensors of a checkpoint.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn load(weights: &Weights<'_>, config: &ModelConfig) -> Result<Self> {
        let vision = VisionTower::load(weights, &config.vision_config)?;
        Self::with_vision(vision, weights, config)
    }

    /// As [`VisionLanguageModel::load`] where the vision tower was there before the rest.
    ///
    /// # Errors
    /// As [`VisionLanguageModel::load`].
    pub fn with_vision(
        vision: VisionTower,
        weights: &Weights<'_>,
        config: &ModelConfig,
    ) -> Result<Self> {
        Ok(Self {
            vision,
            bridge: Bridge::load(weights, &config.bridge_config, config.text_config.width())?,
            language: LanguageModel::load(weights, &config.text_config)?,
        })
    }

    /// The vision tower, which needs no question.
    #[must_use]
    pub fn vision(&self) -> &VisionTower {
        &self.vision
    }

    /// The language model, which decodes.
    #[must_use]
    pub fn language(&self) -> &LanguageModel {
        &self.language
    }

    /// `pixel_values` `[3, image_size, image_size]` to features.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    pub async fn see(
        &self,
        pixel_values: &PixelValues,
        device: &Device,
        pace: &Pace,
    ) -> Result<PictureFeatures> {
        let vision = self.vision.forward(pixel_values, device, pace).await?;
        self.features(vision, pace).await
    }

    /// What the bridge keeps of a picture, from `vision_last_hidden_state` `[1, tokens, hidden]`.
    ///
    /// # Errors
    /// As [`VisionLanguageModel::see`].
    pub async fn features(&self, vision: Tensor<3>, pace: &Pace) -> Result<PictureFeatures> {
        Ok(PictureFeatures { kept: self.bridge.keep(&vision, pace).await?, vision })
    }

    /// Pictures to what the language model reads of them, `[1, pictures * tokens, width]`;
    /// `instruction` are the ids that the bridge reads, if it does.
    ///
    /// # Errors
    /// As [`VisionLanguageModel::see`].
    pub async fn look(
        &self,
        pictures: &[&PictureFeatures],
        instruction: &[u32],
        pace: &Pace,
        probe: &mut Probe<'_>,
    ) -> Result<Tensor<3>> {
        let kept: Vec<&Kept> = pictures.iter().map(|picture| &picture.kept).collect();
        self.bridge.look(&kept, instruction, pace, probe).await
    }

    /// What was found in pictures and the prompt's ids, to what answers go on from.
    ///
    /// # Errors
    /// As [`VisionLanguageModel::see`].
    pub async fn read(
        &self,
        queries: &Tensor<3>,
        ids: &[u32],
        pace: &Pace,
        probe: &mut Probe<'_>,
    ) -> Result<Context> {
        self.language.read(queries, ids, pace, probe).await
    }

    /// Where the bridge looks when it reads these ids, see [`Bridge::maps`].
    ///
    /// # Errors
    /// As [`VisionLanguageModel::see`].
    pub async fn maps(
        &self,
        picture: &PictureFeatures,
        instruction: &[u32],
        pace: &Pace,
    ) -> Result<Vec<Tensor<2>>> {
        self.bridge.maps(&picture.kept, instruction, pace).await
    }
}
