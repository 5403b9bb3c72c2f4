//! `preprocessor_config.json` (how a picture becomes `pixel_values`), typed and checked.

use super::check::{MAX_IMAGE_SIZE, invalid, parse_json};
use crate::error::Result;
use serde::Deserialize;

const PREPROCESSOR: &str = "preprocessor_config.json";

/// Height and width in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct PictureSize {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

impl PictureSize {
    const fn square(side: usize) -> Self {
        Self { height: side, width: side }
    }
}

/// How a picture is brought to the size that the vision tower takes.
///
/// Where nothing is cut off, a token's place in its grid is the same place of the picture. With a
/// cut, the grid covers the middle alone: a map over the picture would have to be drawn there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// To this size, whatever its aspect.
    Squash(PictureSize),
    /// The shorter side to `edge` with its aspect kept; then the middle, black where that reaches
    /// beyond.
    ShortestEdge {
        /// In pixels.
        edge: usize,
        /// What is kept.
        crop: PictureSize,
    },
}

impl Fit {
    /// The size that pictures come out at.
    #[must_use]
    pub const fn output(self) -> PictureSize {
        match self {
            Self::Squash(size) | Self::ShortestEdge { crop: size, .. } => size,
        }
    }

    /// The size that a picture is resized to before it is cut; rounded down as the reference does.
    #[must_use]
    pub fn resized(self, PictureSize { height, width }: PictureSize) -> PictureSize {
        match self {
            Self::Squash(size) => size,
            Self::ShortestEdge { edge, .. } => {
                let longer = edge * height.max(width) / height.min(width).max(1);
                if width <= height {
                    PictureSize { height: longer, width: edge }
                } else {
                    PictureSize { height: edge, width: longer }
                }
            }
        }
    }
}

/// The filter of resizing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resample {
    /// PIL's number 2.
    Bilinear,
    /// PIL's number 3.
    Bicubic,
}

/// The picture pipeline's parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct PreprocessorConfig {
    /// How pictures are resized and cut.
    pub fit: Fit,
    /// With which filter.
    pub resample: Resample,
    /// 8-bit values are multiplied by this first, where there is one.
    pub rescale_factor: Option<f64>,
    /// Subtracted per channel (red, green, blue) after rescaling, and divided by, where they are
    /// there.
    pub normalize: Option<Normalize>,
}

/// What makes values of pictures small.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalize {
    /// Subtracted per channel (red, green, blue).
    pub mean: [f32; 3],
    /// Divided by per channel.
    pub std: [f32; 3],
}

/// A picture processor of `transformers`: what it takes for granted where its file is silent.
struct Kind {
    /// Before `ImageProcessor` in its name.
    name: &'static str,
    size: Size,
    /// The size of its centre crop, where it has one.
    crop: Option<PictureSize>,
    normalize: Normalize,
}

const CLIP: Normalize = Normalize {
    mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
    std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
};

/// The first is that of files that name none.
const KINDS: [Kind; 4] = [
    Kind { name: "Blip", size: Size::Sides(PictureSize::square(384)), crop: None, normalize: CLIP },
    Kind {
        name: "CLIP",
        size: Size::Edge { shortest_edge: 224 },
        crop: Some(PictureSize::square(224)),
        normalize: CLIP,
    },
    Kind {
        name: "Llava",
        size: Size::Edge { shortest_edge: 224 },
        crop: Some(PictureSize::square(224)),
        normalize: CLIP,
    },
    Kind {
        name: "Siglip",
        size: Size::Sides(PictureSize::square(224)),
        crop: None,
        normalize: Normalize { mean: [0.5; 3], std: [0.5; 3] },
    },
];

/// A size as files have it.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Number(usize),
    Edge { shortest_edge: usize },
    Sides(PictureSize),
}

/// The file. What is absent or null is the processor's own.
#[derive(Deserialize)]
struct Raw {
    image_processor_type: Option<String>,
    feature_extractor_type: Option<String>,
    do_resize: Option<bool>,
    size: Option<Size>,
    resample: Option<u32>,
    do_pad: Option<bool>,
    do_center_crop: Option<bool>,
    crop_size: Option<Size>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
}

impl PreprocessorConfig {
    /// Parses and checks `preprocessor_config.json`.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::error::Error::ConfigInvalid) where it is malformed or asks
    /// for another pipeline.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let raw: Raw = parse_json(PREPROCESSOR, bytes)?;
        Self::of(&raw).map_err(|reason| invalid(PREPROCESSOR, reason))
    }

    fn of(raw: &Raw) -> Result<Self, String> {
        let kind = raw.kind()?;
        if raw.do_resize == Some(false) {
            return Err("do_resize is false; the model needs pictures of its own size".into());
        }
        if raw.do_pad == Some(true) {
            return Err("do_pad is true; padding to a square is not supported".into());
        }
        let resample = match raw.resample {
            Some(2) => Resample::Bilinear,
            None | Some(3) => Resample::Bicubic,
            Some(other) => {
                return Err(format!(
                    "resample is {other}; only 2 (bilinear) and 3 (bicubic) are supported"
                ));
            }
        };
        let rescale_factor = raw.rescale_factor.unwrap_or(1.0 / 255.0);
        if !(rescale_factor.is_finite() && rescale_factor > 0.0) {
            return Err(format!("rescale_factor is {rescale_factor}; it must be above 0"));
        }
        let normalize = Normalize {
            mean: raw.image_mean.unwrap_or(kind.normalize.mean),
            std: raw.image_std.unwrap_or(kind.normalize.std),
        };
        if !normalize.mean.iter().all(|m| m.is_finite()) {
            return Err("image_mean has a value that is no number".into());
        }
        if !normalize.std.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err("image_std has a value that is not above 0".into());
        }
        Ok(Self {
            fit: raw.fit(kind)?,
            resample,
            rescale_factor: raw.do_rescale.unwrap_or(true).then_some(rescale_factor),
            normalize: raw.do_normalize.unwrap_or(true).then_some(normalize),
        })
    }

    /// Checks that pictures come out at the size the vision tower takes: squares of this side.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::error::Error::ConfigInvalid) where they do not.
    pub fn check_fits(&self, side: usize) -> Result<()> {
        let PictureSize { height, width } = self.fit.output();
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

impl Raw {
    /// The processor that the file names, in one of its versions.
    fn kind(&self) -> Result<&'static Kind, String> {
        let Some(name) =
            self.image_processor_type.as_ref().or(self.feature_extractor_type.as_ref())
        else {
            return Ok(&KINDS[0]);
        };
        let own = name.strip_suffix("Fast").unwrap_or(name);
        let own = own.strip_suffix("ImageProcessor").or(own.strip_suffix("FeatureExtractor"));
        KINDS.iter().find(|kind| Some(kind.name) == own).ok_or_else(|| {
            let known = KINDS.map(|kind| format!("{}ImageProcessor", kind.name)).join(", ");
            format!("image_processor_type is {name:?}; there are {known}")
        })
    }

    fn fit(&self, kind: &Kind) -> Result<Fit, String> {
        let crop = match (kind.crop, self.do_center_crop) {
            (None, _) | (_, Some(false)) => None,
            (Some(own), _) => Some(match self.crop_size {
                None => own,
                Some(Size::Number(side)) => PictureSize::square(side),
                Some(Size::Sides(size)) => size,
                Some(Size::Edge { .. }) => return Err("crop_size has no height and width".into()),
            }),
        };
        let fit = match (self.size.unwrap_or(kind.size), kind.size, crop) {
            // A number means what the processor's own size is given as.
            (Size::Edge { shortest_edge: edge } | Size::Number(edge), Size::Edge { .. }, crop) => {
                let crop =
                    crop.ok_or("pictures keep their aspect; the model needs do_center_crop")?;
                Fit::ShortestEdge { edge, crop }
            }
            (Size::Number(side), ..) => Fit::Squash(PictureSize::square(side)),
            (Size::Sides(size), _, crop) if crop.is_none_or(|crop| crop == size) => {
                Fit::Squash(size)
            }
            _ => return Err("size and crop_size do not go together".into()),
        };
        let PictureSize { height, width } = fit.output();
        let shorter = match fit {
            Fit::Squash(_) => height,
            Fit::ShortestEdge { edge, .. } => edge,
        };
        for (name, side) in [("height", height), ("width", width), ("shortest_edge", shorter)] {
            if !(1..=MAX_IMAGE_SIZE).contains(&side) {
                return Err(format!("the {name} is {side}; it must be from 1 to {MAX_IMAGE_SIZE}"));
            }
        }
        Ok(fit)
    }
}
