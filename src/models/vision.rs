//! The vision towers: a picture's pixels to one feature vector a token.
//!
//! A tower is one file: its sizes, how it loads, how it computes ([`Tower`]). Here is the one place
//! that knows them all, in the list at the end.

mod eva;

pub use eva::{Eva, EvaConfig};

use burn::tensor::{Device, Tensor};

use super::enums::enums;
use crate::config::check::{Section, kind, section};
use crate::error::Result;
use crate::image::PixelValues;
use crate::pace::Pace;
use crate::weights::{Part, Weights};

/// The section of `config.json`.
const SECTION: &str = "vision_config";

/// What a vision tower is to the rest of the crate.
pub trait Tower: Sized {
    /// Its sizes: the section as its file has it.
    type Config: TowerSizes;

    /// Takes the tower's tensors.
    ///
    /// # Errors
    /// A tensor is missing.
    fn load(weights: &Weights<'_>, config: &Self::Config) -> Result<Self>;

    /// `pixel_values` `[3, image_size, image_size]` to `[1, tokens, width]`.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    fn forward(
        &self,
        pixel_values: &PixelValues,
        device: &Device,
        pace: &Pace,
    ) -> impl Future<Output = Result<Tensor<3>>>;
}

/// What the sizes of any tower tell.
pub trait TowerSizes {
    /// # Errors
    /// A size cannot be.
    fn check(&self) -> Result<()>;
    /// Side of the square picture in pixels.
    fn image_size(&self) -> usize;
    /// The tokens of a picture.
    fn grid(&self) -> Grid;
    /// Width of a token.
    fn width(&self) -> usize;
    /// Its layers.
    fn layers(&self) -> usize;
    /// Bytes of intermediate values.
    fn stage_bytes(&self) -> u64;
    /// Leaves at most this many layers.
    fn shorten(&mut self, layers: usize);
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

/// Makes the enums of a list of towers: `"model_type", …: Tower`.
macro_rules! towers {
    ($($($kind:literal),+: $Tower:ident;)+) => {
        enums! {
            [$($Tower),+] as Tower;
            /// The sizes of a tower: `vision_config`.
            VisionConfig: TowerSizes;
            /// A vision tower.
            VisionTower;
        }

        impl VisionConfig {
            /// Reads the section of `config.json`; the first tower's where it names none.
            ///
            /// # Errors
            /// It is malformed, names a tower that is not here, or a size cannot be.
            pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
                let kind = kind(bytes, SECTION)?.flatten();
                let kinds = [$($($kind),+),+];
                let config = match kind.as_deref().unwrap_or(kinds[0]) {
                    $($($kind)|+ => Self::$Tower(section(bytes, SECTION)?.unwrap_or_default()),)+
                    other => {
                        let known = kinds.join(", ");
                        let reason = format!("the model_type {other:?} is none of {known}");
                        return Err(Section(SECTION).error(&reason));
                    }
                };
                config.check()?;
                Ok(config)
            }
        }

        impl VisionTower {
            /// As [`Tower::load`].
            ///
            /// # Errors
            /// As [`Tower::load`].
            pub fn load(weights: &Weights<'_>, config: &VisionConfig) -> Result<Self> {
                let weights = weights.clone().part(Part::Vision);
                Ok(match config {
                    $(VisionConfig::$Tower(config) => Self::$Tower($Tower::load(&weights, config)?)),+
                })
            }

            /// As [`Tower::forward`].
            ///
            /// # Errors
            /// As [`Tower::forward`].
            pub async fn forward(
                &self,
                pixel_values: &PixelValues,
                device: &Device,
                pace: &Pace,
            ) -> Result<Tensor<3>> {
                match self {
                    $(Self::$Tower(tower) => tower.forward(pixel_values, device, pace).await),+
                }
            }
        }
    };
}

towers! {
    "instructblip_vision_model", "blip_2_vision_model": Eva;
}
