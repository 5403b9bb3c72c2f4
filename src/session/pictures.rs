//! The pictures that questions are about: one, or several such as the frames of a video.
//!
//! Several pictures go the way of the reference's video frames (`predict_answers` of LAVIS with
//! a five-dimensional image): the Q-Former looks at each with the same instruction, and the
//! language model reads the queries of all, in order, before the text.

use burn::tensor::{Device, Tensor};
use serde::Serialize;
use sha2::{Digest, Sha256};
use web_time::Instant;

use super::vision::VisionWork;
use super::{Session, milliseconds};
use crate::config::PreprocessorConfig;
use crate::error::{Error, Result};
use crate::image;
use crate::meter;
use crate::models::instructblip::PictureFeatures;
use crate::models::vit::VisionModel;
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

/// A picture that the vision tower has seen; its features stay on the device.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// `vision_last_hidden_state`, `[1, tokens, hidden]`.
    vision: Tensor<3>,
    /// Tells whether the same file is given again.
    digest: [u8; 32],
    size: (u32, u32),
}

/// A current picture, with what the Q-Former keeps of it.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) seen: Seen,
    pub(super) features: PictureFeatures,
}

/// What [`see`] found.
pub(super) struct Looked {
    pub(super) seen: Vec<Seen>,
    pub(super) infos: Vec<PictureInfo>,
    /// `None` where all pictures were known.
    pub(super) work: Option<VisionWork>,
}

/// Decodes pictures and runs the vision tower over those that are not among `known`.
pub(super) async fn see(
    model: &VisionModel,
    preprocessor: &PreprocessorConfig,
    device: &Device,
    files: &[impl AsRef<[u8]>],
    known: &[&Seen],
    pace: &Pace,
) -> Result<Looked> {
    if files.is_empty() || files.len() > LIMIT_PICTURES {
        return Err(Error::OptionInvalid {
            option: "pictures".into(),
            reason: format!("{} is not between 1 and {LIMIT_PICTURES}", files.len()),
        });
    }
    let mut seen: Vec<Seen> = Vec::with_capacity(files.len());
    let mut infos = Vec::with_capacity(files.len());
    let mut dispatches = 0;
    for bytes in files.iter().map(AsRef::as_ref) {
        let digest = Sha256::digest(bytes).into();
        let same = known.iter().copied().chain(&seen).find(|seen| seen.digest == digest);
        if let Some(known) = same.cloned() {
            let (width, height) = known.size;
            infos.push(PictureInfo { width, height, preprocess_ms: 0.0, vision_ms: 0.0 });
            seen.push(known);
            continue;
        }
        let start = Instant::now();
        let rgb = image::decode(bytes)?;
        let pixels = image::preprocess(&rgb, preprocessor);
        let preprocess_ms = milliseconds(start);
        let start = Instant::now();
        let (vision, counts) = meter::during(model.forward(&pixels.data, device, pace)).await;
        let vision = vision?;
        dispatches += counts.dispatches;
        readback::finished(&vision).await?;
        let vision_ms = milliseconds(start);
        let (width, height) = rgb.dimensions();
        infos.push(PictureInfo { width, height, preprocess_ms, vision_ms });
        seen.push(Seen { vision, digest, size: (width, height) });
    }
    let milliseconds: f64 = infos.iter().map(|info| info.vision_ms).sum();
    let work = (milliseconds > 0.0).then_some(VisionWork { milliseconds, dispatches });
    Ok(Looked { seen, infos, work })
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
        let known: Vec<&Seen> = self.pictures.iter().map(|picture| &picture.seen).collect();
        let vision = self.model.vision_model();
        let looked = see(vision, &self.preprocessor, &self.device, files, &known, pace).await?;
        self.pictures = self.remember(looked.seen, pace).await?;
        self.unreported = looked.work.or(self.unreported);
        Ok(looked.infos)
    }

    /// Adds to pictures what the Q-Former keeps of them.
    pub(super) async fn remember(&self, seen: Vec<Seen>, pace: &Pace) -> Result<Vec<Picture>> {
        let mut pictures: Vec<Picture> = Vec::with_capacity(seen.len());
        for seen in seen {
            let mut known = self.pictures.iter().chain(&pictures);
            let features = match known.find(|picture| picture.seen.digest == seen.digest) {
                Some(known) => known.features.clone(),
                None => self.model.features(seen.vision.clone(), pace).await?,
            };
            pictures.push(Picture { seen, features });
        }
        Ok(pictures)
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
