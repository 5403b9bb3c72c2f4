//! The checkpoint's `config.json`, typed and checked.
//!
//! In: the file's bytes. Out: a [`ModelConfig`] whose sizes every later part may rely on: nothing
//! is zero, heads divide widths, patches divide the picture, token ids lie inside the vocabulary,
//! and no matrix is so large that its byte count could overflow, on 32-bit wasm either.

use super::{BridgeConfig, LanguageConfig, VisionConfig};
use crate::config::check::{FILE, Section, invalid, parse_json};
use crate::config::{About, QuantizationConfig};
use crate::error::Result;
use crate::quant::GROUP;
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// The whole `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// `instructblip`, or `blip-2`.
    pub model_type: String,
    /// The vision tower.
    pub vision_config: VisionConfig,
    /// What lies between the two.
    pub bridge_config: BridgeConfig,
    /// The language model.
    pub text_config: LanguageConfig,
    /// The id that stands for a picture token in the reference's `input_ids`.
    pub image_token_index: Option<u32>,
    /// How the weights are packed.
    pub quantization_config: Option<QuantizationConfig>,
    /// What the set says of itself.
    pub about: Option<About>,
}

/// What stands outside of the sections.
#[derive(Deserialize)]
struct Outside {
    model_type: String,
    #[serde(alias = "image_token_id")]
    image_token_index: Option<u32>,
    quantization_config: Option<QuantizationConfig>,
}

impl ModelConfig {
    /// Parses and checks `config.json`.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::error::Error::ConfigInvalid) where the file is not such a configuration, asks for what
    /// this crate does not have, or holds a size that cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        check_packing(bytes)?;
        let outside: Outside = parse_json(FILE, bytes)?;
        let Outside { model_type, image_token_index, quantization_config } = outside;
        let at = Section("");
        let vision_config = VisionConfig::parse(bytes)?;
        let text_config = LanguageConfig::parse(bytes)?;
        let widths = [vision_config.width(), text_config.width()];
        let bridge_config = BridgeConfig::parse(bytes, &model_type, widths)?;
        if let Some(QuantizationConfig { group_size, .. }) = quantization_config
            && group_size != GROUP
        {
            return Err(at.error(&format!(
                "quantization_config: groups of {group_size} are not supported, only of {GROUP}"
            )));
        }
        Ok(Self {
            model_type,
            vision_config,
            bridge_config,
            text_config,
            image_token_index,
            quantization_config,
            about: About::of_config(bytes)?,
        })
    }

    /// The same model with at most this many layers in each tower.
    #[must_use]
    pub fn with_layers(&self, layers: usize) -> Self {
        let mut config = self.clone();
        config.vision_config.shorten(layers);
        config.bridge_config.shorten(layers);
        config.text_config.shorten(layers);
        config
    }
}

/// Refuses weights that others packed. Looked at first: a foreign section has other fields, and
/// the sentence should name the method and not a missing field.
fn check_packing(bytes: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Method {
        quantization_config: Option<Quantized>,
    }
    #[derive(Deserialize)]
    struct Quantized {
        quant_method: Option<String>,
    }
    let method: Method = parse_json(FILE, bytes)?;
    let Some(Quantized { quant_method }) = method.quantization_config else { return Ok(()) };
    let quant_method = quant_method.unwrap_or_else(|| "unknown".into());
    if quant_method == QuantizationConfig::METHOD {
        return Ok(());
    }
    Err(invalid(
        FILE,
        format!(
            "the weights are quantised by {quant_method:?}; give a plain checkpoint or a set made by `instructblip convert`"
        ),
    ))
}
