//! What a session is before its language model has arrived: it can look at pictures.

use burn::tensor::Device;

use super::pictures::{Seen, see};
use super::{Blueprint, PictureInfo, Session};
use crate::checkpoint::store::WeightStore;
use crate::error::Result;
use crate::models::InstructBlip;
use crate::models::vit::VisionModel;
use crate::pace::Pace;

/// The vision tower and the pictures it has seen. [`VisionSession::complete`] makes a [`Session`]
/// of it that knows them.
#[derive(Debug)]
pub struct VisionSession {
    blueprint: Blueprint,
    model: VisionModel,
    device: Device,
    pictures: Vec<Seen>,
    /// See [`Session`].
    unreported: Option<VisionWork>,
}

/// What the vision tower did for the current pictures.
#[derive(Clone, Copy, Debug)]
pub(super) struct VisionWork {
    pub(super) milliseconds: f64,
    /// Kernels.
    pub(super) dispatches: u64,
}

impl VisionSession {
    /// Takes the vision tower's tensors, which must be in the store; others may be missing yet.
    ///
    /// # Errors
    /// One of them is missing or misshapen.
    pub fn new(blueprint: Blueprint, weights: &mut WeightStore) -> Result<Self> {
        let model = VisionModel::load(weights, &blueprint.config.vision_config)?;
        let device = weights.device().clone();
        Ok(Self { blueprint, model, device, pictures: Vec::new(), unreported: None })
    }

    /// As [`Session::set_pictures`].
    ///
    /// # Errors
    /// As [`Session::set_pictures`].
    pub async fn set_pictures(
        &mut self,
        files: &[impl AsRef<[u8]>],
        pace: &Pace,
    ) -> Result<Vec<PictureInfo>> {
        let preprocessor = &self.blueprint.preprocessor;
        let known: Vec<&Seen> = self.pictures.iter().collect();
        let looked = see(&self.model, preprocessor, &self.device, files, &known, pace).await?;
        self.unreported = looked.work.or(self.unreported);
        self.pictures = looked.seen;
        Ok(looked.infos)
    }

    /// The whole session, once the rest of the weights is there.
    ///
    /// # Errors
    /// A tensor is missing or misshapen, or the GPU failed.
    pub async fn complete(mut self, weights: &mut WeightStore, pace: &Pace) -> Result<Session> {
        let (seen, unreported) = (std::mem::take(&mut self.pictures), self.unreported.take());
        let mut session = self.join(weights)?;
        session.pictures = session.remember(seen, pace).await?;
        session.unreported = unreported;
        Ok(session)
    }

    /// The session without the pictures.
    pub(super) fn join(self, weights: &mut WeightStore) -> Result<Session> {
        let Blueprint { config, preprocessor, generation, tokenizers } = self.blueprint;
        let model = InstructBlip::with_vision(self.model, weights, &config)?;
        Ok(Session {
            config,
            preprocessor,
            generation,
            tokenizers,
            model,
            device: self.device,
            pictures: Vec::new(),
            unreported: None,
        })
    }
}
