//! `preprocessor_config.json` (how a picture becomes `pixel_values`), typed and checked.

use super::check::{MAX_IMAGE_SIZE, invalid, parse_json};
use crate::error::Result;
use serde::{Deserialize, Serialize};

const PREPROCESSOR: &str = "preprocessor_config.json";
/// PIL's number for bicubic, the one resampling this crate has.
const BICUBIC: u32 = 3;

/// Height and width in pixels; a single number in the file means a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RawSize")]
pub struct PictureSize {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawSize {
    Square(usize),
    Sides { height: usize, width: usize },
}

impl From<RawSize> for PictureSize {
    fn from(raw: RawSize) -> Self {
        match raw {
            RawSize::Square(side) => Self { height: side, width: side },
            RawSize::Sides { height, width } => Self { height, width },
        }
    }
}

/// The picture pipeline's parameters, with the defaults of `BlipImageProcessor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PreprocessorConfig {
    /// The size pictures are brought to, whatever their aspect.
    pub size: PictureSize,
    /// Subtracted per channel (red, green, blue) after rescaling.
    pub image_mean: [f32; 3],
    /// Divided by per channel.
    pub image_std: [f32; 3],
    /// 8-bit values are multiplied by this first.
    pub rescale_factor: f64,
    /// Must be true: the model needs its own size.
    pub do_resize: bool,
    /// Whether `rescale_factor` applies.
    pub do_rescale: bool,
    /// Whether `image_mean` and `image_std` apply.
    pub do_normalize: bool,
    /// PIL's number of the resampling; only 3 (bicubic).
    pub resample: u32,
}

impl Default for PreprocessorConfig {
    fn default() -> Self {
        Self {
            size: PictureSize { height: 384, width: 384 },
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
            rescale_factor: 1.0 / 255.0,
            do_resize: true,
            do_rescale: true,
            do_normalize: true,
            resample: BICUBIC,
        }
    }
}

impl PreprocessorConfig {
    /// Parses and checks `preprocessor_config.json`.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::error::Error::ConfigInvalid) where it is malformed or asks
    /// for another pipeline.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let config: Self = parse_json(PREPROCESSOR, bytes)?;
        let fail = |reason: String| Err(invalid(PREPROCESSOR, reason));
        for (name, side) in [("height", config.size.height), ("width", config.size.width)] {
            if !(1..=MAX_IMAGE_SIZE).contains(&side) {
                return fail(format!(
                    "the {name} is {side}; it must be from 1 to {MAX_IMAGE_SIZE}"
                ));
            }
        }
        if !config.do_resize {
            return fail("do_resize is false; the model needs pictures of its own size".into());
        }
        if config.resample != BICUBIC {
            return fail(format!(
                "resample is {}; only {BICUBIC} (bicubic) is supported",
                config.resample
            ));
        }
        if !(config.rescale_factor.is_finite() && config.rescale_factor > 0.0) {
            return fail(format!(
                "rescale_factor is {}; it must be above 0",
                config.rescale_factor
            ));
        }
        if !config.image_mean.iter().all(|m| m.is_finite()) {
            return fail("image_mean has a value that is no number".into());
        }
        if !config.image_std.iter().all(|s| s.is_finite() && *s > 0.0) {
            return fail("image_std has a value that is not above 0".into());
        }
        Ok(config)
    }

    /// Checks that pictures come out at the size the vision tower takes: squares of this side.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::error::Error::ConfigInvalid) where they do not.
    pub fn check_fits(&self, side: usize) -> Result<()> {
        let PictureSize { height, width } = self.size;
        if (height, width) == (side, side) {
            return Ok(());
        }
        Err(invalid(
            PREPROCESSOR,
            format!(
                "pictures become {width} x {height}, but config.json's vision tower takes {side} x {side}"
            ),
        ))
    }
}
