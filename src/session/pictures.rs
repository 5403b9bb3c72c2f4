//! The pictures that questions are about: one, or several such as the frames of a video.
//!
//! Several pictures go the way of the reference's video frames (`predict_answers` of LAVIS with
//! a five-dimensional image): the Q-Former looks at each with the same instruction, and the
//! language model reads the queries of all, in order, before the text.

use burn::tensor::{Device, Tensor};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use ts_rs::TS;
use web_time::Instant;

use super::{Session, milliseconds};
use crate::config::PreprocessorConfig;
use crate::error::{Error, Result};
use crate::image;
use crate::meter;
use crate::models::{PictureFeatures, VisionTower, unheard};
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

/// A picture that the vision tower has seen; its features stay on the device.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// `vision_last_hidden_state`, `[1, tokens, hidden]`.
    vision: Tensor<3>,
    /// Tells whether the same file is given again.
    pub(super) digest: Digest,
    size: (u32, u32),
}

/// A current picture, with what the bridge keeps of it.
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
    model: &VisionTower,
    preprocessor: &PreprocessorConfig,
    device: &Device,
    files: &[impl AsRef<[u8]>],
    known: impl Fn(&Digest) -> Option<Seen>,
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
        let same = seen.iter().find(|seen| seen.digest == digest).cloned();
        if let Some(known) = same.or_else(|| known(&digest)) {
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
        let (vision, counts) = meter::during(model.forward(&pixels, device, pace)).await;
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
        let (vision, preprocessor) = (self.model().vision(), self.preprocessor());
        let known = |digest: &Digest| self.known(digest).map(|picture| picture.seen);
        let looked = see(vision, preprocessor, self.device(), files, known, pace).await?;
        self.pictures = self.remember(looked.seen, pace).await?;
        self.unreported.set(looked.work.or(self.unreported.get()));
        Ok(looked.infos)
    }

    /// Adds to pictures what the bridge keeps of them.
    pub(super) async fn remember(&self, seen: Vec<Seen>, pace: &Pace) -> Result<Vec<Picture>> {
        let mut pictures: Vec<Picture> = Vec::with_capacity(seen.len());
        for seen in seen {
            let known = pictures.iter().find(|known| known.seen.digest == seen.digest).cloned();
            let features = match known.or_else(|| self.known(&seen.digest)) {
                Some(known) => known.features,
                None => self.model().features(seen.vision.clone(), pace).await?,
            };
            let picture = Picture { seen, features };
            self.loaded.features.keep(&picture);
            pictures.push(picture);
        }
        Ok(pictures)
    }

    /// A current picture, or one whose features are kept.
    fn known(&self, digest: &Digest) -> Option<Picture> {
        let current = self.pictures.iter().find(|picture| picture.seen.digest == *digest);
        current.cloned().or_else(|| self.loaded.features.get(digest))
    }

    /// # Errors
    /// [`Error::PictureMissing`].
    pub(super) fn require_picture(&self) -> Result<()> {
        if self.pictures.is_empty() { Err(Error::PictureMissing) } else { Ok(()) }
    }

    /// What the bridge finds in all pictures for an instruction, as the language model reads it.
    pub(super) async fn look(&self, instruction: &QFormerIds, pace: &Pace) -> Result<Tensor<3>> {
        let pictures: Vec<_> = self.pictures.iter().map(|picture| &picture.features).collect();
        self.model().look(&pictures, &instruction.0, pace, &mut unheard).await
    }
}
