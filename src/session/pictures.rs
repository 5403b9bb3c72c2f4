//! The pictures that questions are about: one, or several such as the frames of a video.
//!
//! Several pictures go the way of the reference's video frames (`predict_answers` of LAVIS with
//! a five-dimensional image): the Q-Former looks at each with the same instruction, and the
//! language model reads the queries of all, in order, before the text.

use std::sync::OnceLock;

use burn::tensor::Tensor;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use ts_rs::TS;
use web_time::Instant;

use super::{Session, milliseconds};
use crate::error::{Error, Result};
use crate::image;
use crate::meter;
use crate::models::{PictureFeatures, unheard};
use crate::pace::Pace;
use crate::readback;
use crate::text::QFormerIds;

/// Most pictures at a time: the encoder's attention grows with the square of their number.
pub const LIMIT_PICTURES: usize = 16;

/// What [`Session::set_pictures`] found of one picture.
#[derive(Clone, Debug, Serialize, TS)]
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

/// What a picture is known by: SHA-256 of its file.
pub(super) type Digest = [u8; 32];

/// What the vision tower did for the current pictures.
#[derive(Clone, Copy, Debug)]
pub(super) struct VisionWork {
    pub(super) milliseconds: f64,
    /// Kernels.
    pub(super) dispatches: u64,
}

/// A current picture. Clones share their tensors.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    /// `vision_last_hidden_state`, `[1, tokens, hidden]`.
    vision: Tensor<3>,
    /// Tells whether the same file is given again.
    pub(super) digest: Digest,
    size: (u32, u32),
    /// With what the bridge keeps of it; absent until the bridge is there.
    features: OnceLock<PictureFeatures>,
}

impl Picture {
    /// Bytes on the device, counted from when the bridge is there.
    pub(super) fn bytes(&self) -> u64 {
        self.features.get().map_or(0, PictureFeatures::bytes)
    }

    /// # Errors
    /// The bridge has not arrived.
    pub(super) fn features(&self) -> Result<&PictureFeatures> {
        self.features.get().ok_or_else(Session::not_there)
    }
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

    /// Decodes pictures and computes their features, replacing the current ones. Of pictures
    /// that are current already, or were of late in any conversation, the features are kept.
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
        let mut pictures: Vec<Picture> = Vec::with_capacity(files.len());
        let mut infos = Vec::with_capacity(files.len());
        let mut dispatches = 0;
        for bytes in files.iter().map(AsRef::as_ref) {
            let digest = Sha256::digest(bytes).into();
            let same = pictures.iter().find(|picture| picture.digest == digest).cloned();
            let (picture, info) = match same.or_else(|| self.known(&digest)) {
                Some(known) => {
                    let (width, height) = known.size;
                    (known, PictureInfo { width, height, preprocess_ms: 0.0, vision_ms: 0.0 })
                }
                None => self.see(bytes, digest, &mut dispatches, pace).await?,
            };
            pictures.push(picture);
            infos.push(info);
        }
        self.fill_features(&pictures, pace).await?;
        self.pictures = pictures;
        let milliseconds: f64 = infos.iter().map(|info| info.vision_ms).sum();
        let work = (milliseconds > 0.0).then_some(VisionWork { milliseconds, dispatches });
        self.unreported.set(work.or(self.unreported.get()));
        Ok(infos)
    }

    /// Decodes a picture and runs the vision tower.
    async fn see(
        &self,
        bytes: &[u8],
        digest: Digest,
        dispatches: &mut u64,
        pace: &Pace,
    ) -> Result<(Picture, PictureInfo)> {
        let start = Instant::now();
        let rgb = image::decode(bytes)?;
        let pixels = image::preprocess(&rgb, self.preprocessor());
        let preprocess_ms = milliseconds(start);
        let start = Instant::now();
        let forward = self.loaded.vision.forward(&pixels, self.device(), pace);
        let (vision, counts) = meter::during(forward).await;
        let vision = vision?;
        *dispatches += counts.dispatches;
        readback::finished(&vision).await?;
        let vision_ms = milliseconds(start);
        let (width, height) = rgb.dimensions();
        let info = PictureInfo { width, height, preprocess_ms, vision_ms };
        Ok((Picture { vision, digest, size: (width, height), features: OnceLock::new() }, info))
    }

    /// Computes what the bridge keeps of the current pictures, where that is not there yet.
    pub(super) async fn keep_features(&self, pace: &Pace) -> Result<()> {
        self.fill_features(&self.pictures, pace).await
    }

    /// Nothing is done before the bridge is there.
    async fn fill_features(&self, pictures: &[Picture], pace: &Pace) -> Result<()> {
        let Some(model) = self.loaded.model.get() else { return Ok(()) };
        for picture in pictures {
            if picture.features.get().is_none() {
                let known = self.loaded.features.get(&picture.digest);
                let features = match known.and_then(|known| known.features.into_inner()) {
                    Some(features) => features,
                    None => model.features(picture.vision.clone(), pace).await?,
                };
                // Nobody else fills it: conversations do not share a picture's place.
                let _ = picture.features.set(features);
            }
            self.loaded.features.keep(picture);
        }
        Ok(())
    }

    /// A current picture, or one whose features are kept.
    fn known(&self, digest: &Digest) -> Option<Picture> {
        let current = self.pictures.iter().find(|picture| picture.digest == *digest);
        current.cloned().or_else(|| self.loaded.features.get(digest))
    }

    /// # Errors
    /// [`Error::PictureMissing`].
    pub(super) fn require_picture(&self) -> Result<()> {
        if self.pictures.is_empty() { Err(Error::PictureMissing) } else { Ok(()) }
    }

    /// What the bridge reads of a question: nothing where it is told to look without.
    ///
    /// # Errors
    /// It is told so and reads none anyway.
    pub(super) fn instruction(&self, ids: QFormerIds, aware: Option<bool>) -> Result<QFormerIds> {
        if aware.unwrap_or(true) {
            return Ok(ids);
        }
        if self.config().bridge_config.instruction().is_none() {
            return Err(Error::OptionInvalid {
                option: "instructionAware".into(),
                reason: "the Q-Former of this model reads no question; leave it out".into(),
            });
        }
        Ok(QFormerIds(Vec::new()))
    }

    /// What the bridge finds in all pictures for an instruction, as the language model reads it.
    pub(super) async fn look(&self, instruction: &QFormerIds, pace: &Pace) -> Result<Tensor<3>> {
        let model = self.model()?;
        self.keep_features(pace).await?;
        let pictures = self.pictures.iter().map(Picture::features).collect::<Result<Vec<_>>>()?;
        model.look(&pictures, &instruction.0, pace, &mut unheard).await
    }
}
