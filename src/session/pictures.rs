//! The pictures that questions are about: one, or several such as the frames of a video.
//!
//! Several pictures go the way of the reference's video frames (`predict_answers` of LAVIS with
//! a five-dimensional image): the Q-Former looks at each with the same instruction, and the
//! language model reads the queries of all, in order, before the text.

use burn::tensor::Tensor;
use serde::Serialize;
use sha2::{Digest, Sha256};
use web_time::Instant;

use super::{Session, milliseconds};
use crate::error::{Error, Result};
use crate::image;
use crate::models::instructblip::PictureFeatures;
use crate::pace::Pace;
use crate::readback;
use crate::text::BertIds;

/// Most pictures at a time: the encoder's attention grows with the square of their number.
pub const LIMIT_PICTURES: usize = 16;

/// What [`Session::set_pictures`] found of one picture.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PictureInfo {
    /// Width in pixels, as a person sees the picture (EXIF orientation applied).
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Time for decoding and resizing.
    pub preprocess_ms: f64,
    /// Time for the vision tower, until the GPU was done. Both times are 0 where the picture
    /// was among the current ones already.
    pub vision_ms: f64,
}

/// A current picture: its features stay on the device.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) features: PictureFeatures,
    /// Tells whether the same file is given again.
    digest: [u8; 32],
    size: (u32, u32),
}

impl Session {
    /// Decodes a picture and computes its features, replacing the current ones.
    ///
    /// # Errors
    /// As [`Session::set_pictures`].
    pub async fn set_picture(&mut self, bytes: &[u8], pace: &Pace) -> Result<PictureInfo> {
        let infos = self.set_pictures(&[bytes], pace).await?;
        infos.into_iter().next().ok_or(Error::PictureMissing)
    }

    /// Decodes pictures and computes their features, replacing the current ones. Of a picture
    /// that is current already the features are kept.
    ///
    /// # Errors
    /// There are none or more than [`LIMIT_PICTURES`], bytes are no picture, it was cancelled, or
    /// the GPU failed; the current pictures then stay.
    pub async fn set_pictures(
        &mut self,
        files: &[impl AsRef<[u8]>],
        pace: &Pace,
    ) -> Result<Vec<PictureInfo>> {
        if files.is_empty() || files.len() > LIMIT_PICTURES {
            return Err(Error::OptionInvalid {
                option: "pictures".into(),
                reason: format!("{} is not between 1 and {LIMIT_PICTURES}", files.len()),
            });
        }
        let mut pictures = Vec::with_capacity(files.len());
        let mut infos = Vec::with_capacity(files.len());
        for file in files {
            let (picture, info) = self.picture(file.as_ref(), &pictures, pace).await?;
            pictures.push(picture);
            infos.push(info);
        }
        self.pictures = pictures;
        let vision_ms: f64 = infos.iter().map(|info| info.vision_ms).sum();
        if vision_ms > 0.0 {
            self.vision_ms = Some(vision_ms);
        }
        Ok(infos)
    }

    /// One picture: known, or seen anew.
    async fn picture(
        &self,
        bytes: &[u8],
        earlier: &[Picture],
        pace: &Pace,
    ) -> Result<(Picture, PictureInfo)> {
        let digest = Sha256::digest(bytes).into();
        if let Some(known) = self.pictures.iter().chain(earlier).find(|p| p.digest == digest) {
            let (width, height) = known.size;
            let info = PictureInfo { width, height, preprocess_ms: 0.0, vision_ms: 0.0 };
            return Ok((known.clone(), info));
        }
        let start = Instant::now();
        let rgb = image::decode(bytes)?;
        let pixels = image::preprocess(&rgb, &self.preprocessor);
        let preprocess_ms = milliseconds(start);
        let start = Instant::now();
        let features = self.model.see(&pixels.data, &self.device, pace).await?;
        readback::finished(&features.vision).await?;
        let vision_ms = milliseconds(start);
        let (width, height) = rgb.dimensions();
        let info = PictureInfo { width, height, preprocess_ms, vision_ms };
        Ok((Picture { features, digest, size: (width, height) }, info))
    }

    /// # Errors
    /// [`Error::PictureMissing`].
    pub(super) fn require_picture(&self) -> Result<()> {
        if self.pictures.is_empty() { Err(Error::PictureMissing) } else { Ok(()) }
    }

    /// What the Q-Former finds in all pictures for an instruction, as the language model reads
    /// it: `[1, pictures * queries, d_model]`.
    pub(super) async fn look(&self, instruction: &BertIds, pace: &Pace) -> Result<Tensor<3>> {
        let mut found = Vec::with_capacity(self.pictures.len());
        for picture in &self.pictures {
            let queries = self.model.query(&picture.features, &instruction.0, pace).await?;
            found.push(self.model.project(&queries));
        }
        Ok(Tensor::cat(found, 1))
    }
}
