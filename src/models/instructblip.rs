//! InstructBLIP and BLIP-2: the vision tower, the Q-Former, a projection, and T5.
//!
//! Reference: `InstructBlipForConditionalGeneration` and `Blip2ForConditionalGeneration` of
//! transformers.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::qformer::{ImageKeys, QFormer};
use super::t5::T5;
use super::vit::VisionModel;
use crate::checkpoint::store::WeightStore;
use crate::config::ModelConfig;
use crate::error::Result;
use crate::kernels::words_tensor;
use crate::nn::Linear;
use crate::pace::Pace;

/// The whole model. All its parts are on one device.
#[derive(Module, Debug)]
pub struct InstructBlip {
    vision_model: VisionModel,
    qformer: QFormer,
    language_projection: Linear,
    language_model: T5,
}

/// A picture as the Q-Former sees it; computed once, used by every question about it.
#[derive(Clone, Debug)]
pub struct PictureFeatures {
    /// `vision_last_hidden_state`, `[1, tokens, hidden]`.
    pub vision: Tensor<3>,
    image_keys: ImageKeys,
}

impl InstructBlip {
    /// Takes all tensors of a checkpoint from the store.
    ///
    /// # Errors
    /// A tensor is missing or its shape is not the one `config` implies.
    pub fn load(weights: &mut WeightStore, config: &ModelConfig) -> Result<Self> {
        let vision_model = VisionModel::load(weights, &config.vision_config)?;
        Self::with_vision(vision_model, weights, config)
    }

    /// As [`InstructBlip::load`] where the vision tower was there before the rest.
    ///
    /// # Errors
    /// As [`InstructBlip::load`].
    pub fn with_vision(
        vision_model: VisionModel,
        weights: &mut WeightStore,
        config: &ModelConfig,
    ) -> Result<Self> {
        Ok(Self {
            vision_model,
            qformer: QFormer::load(weights, config)?,
            language_projection: Linear::load(
                weights,
                "language_projection",
                config.text_config.d_model,
                config.qformer_config.hidden_size,
                true,
            )?,
            language_model: T5::load(weights, &config.text_config)?,
        })
    }

    /// The vision tower, which needs no question.
    #[must_use]
    pub fn vision_model(&self) -> &VisionModel {
        &self.vision_model
    }

    /// `pixel_values` `[3, image_size, image_size]` to features.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    pub async fn see(
        &self,
        pixel_values: &[f32],
        device: &Device,
        pace: &Pace,
    ) -> Result<PictureFeatures> {
        let vision = self.vision_model.forward(pixel_values, device, pace).await?;
        self.features(vision, pace).await
    }

    /// What the Q-Former keeps of a picture, from `vision_last_hidden_state` `[1, tokens, hidden]`.
    ///
    /// # Errors
    /// As [`InstructBlip::see`].
    pub async fn features(&self, vision: Tensor<3>, pace: &Pace) -> Result<PictureFeatures> {
        Ok(PictureFeatures { image_keys: self.qformer.image_keys(&vision, pace).await?, vision })
    }

    /// The query rows of `qformer_last_hidden_state`, `[1, queries, hidden]`.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    pub async fn query(
        &self,
        picture: &PictureFeatures,
        qformer_input_ids: &[u32],
        pace: &Pace,
    ) -> Result<Tensor<3>> {
        self.qformer.forward(qformer_input_ids, &picture.image_keys, pace).await
    }

    /// Where the queries look when they read these ids, see [`QFormer::maps`].
    ///
    /// # Errors
    /// As [`InstructBlip::query`].
    pub async fn maps(
        &self,
        picture: &PictureFeatures,
        qformer_input_ids: &[u32],
        pace: &Pace,
    ) -> Result<Vec<Tensor<2>>> {
        self.qformer.maps(qformer_input_ids, &picture.image_keys, pace).await
    }

    /// Query rows to the language model's width: `language_projection`, `[1, queries, d_model]`.
    #[must_use]
    pub fn project(&self, queries: &Tensor<3>) -> Tensor<3> {
        self.language_projection.forward(queries)
    }

    /// `[projected queries ; embedded text]` through the encoder: `encoder_last_hidden_state`.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    pub async fn encode(
        &self,
        projected: &Tensor<3>,
        input_ids: &[u32],
        pace: &Pace,
    ) -> Result<Tensor<3>> {
        let ids = words_tensor(input_ids.to_vec(), &projected.device());
        let text = self.language_model.embed(&ids);
        let inputs_embeds = Tensor::cat(vec![projected.clone(), text], 1);
        self.language_model.encode(&inputs_embeds, pace).await
    }

    /// The language model, which decodes.
    #[must_use]
    pub fn language_model(&self) -> &T5 {
        &self.language_model
    }
}
