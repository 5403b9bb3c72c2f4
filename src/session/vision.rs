//! What a session is before its language model has arrived: it can look at pictures.

use std::sync::Arc;

use burn::tensor::Device;

use super::features::FeatureCache;
use super::pictures::{Digest, Seen, VisionWork, see};
use super::{Blueprint, Loaded, PictureInfo, Session};
use crate::error::Result;
use crate::models::{VisionLanguageModel, VisionTower};
use crate::pace::Pace;
use crate::weights::WeightStore;

/// The vision tower and the pictures it has seen. [`VisionSession::complete`] makes a [`Session`]
/// of it that knows them.
#[derive(Debug)]
pub struct VisionSession {
    blueprint: Blueprint,
    model: VisionTower,
    device: Device,
    pictures: Vec<Seen>,
    /// See [`Session`].
    unreported: Option<VisionWork>,
}

impl VisionSession {
    /// Takes the vision tower's tensors, which must be in the store; others may be missing yet.
    ///
    /// # Errors
    /// One of them is missing.
    pub fn new(blueprint: Blueprint, weights: &WeightStore) -> Result<Self> {
        let model = VisionTower::load(&weights.weights(), &blueprint.config.vision_config)?;
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
        let known =
            |digest: &Digest| self.pictures.iter().find(|seen| seen.digest == *digest).cloned();
        let looked = see(&self.model, preprocessor, &self.device, files, known, pace).await?;
        self.unreported = looked.work.or(self.unreported);
        self.pictures = looked.seen;
        Ok(looked.infos)
    }

    /// The whole session, once the rest of the weights is there.
    ///
    /// # Errors
    /// A tensor is missing, or the GPU failed.
    pub async fn complete(mut self, weights: &WeightStore, pace: &Pace) -> Result<Session> {
        let (seen, unreported) = (std::mem::take(&mut self.pictures), self.unreported.take());
        let mut session = self.join(weights)?;
        session.pictures = session.remember(seen, pace).await?;
        session.unreported.set(unreported);
        Ok(session)
    }

    /// The session without the pictures.
    pub(super) fn join(self, weights: &WeightStore) -> Result<Session> {
        let Blueprint { config, preprocessor, generation, tokenizers } = self.blueprint;
        let model = VisionLanguageModel::with_vision(self.model, &weights.weights(), &config)?;
        let (device, features) = (self.device, FeatureCache::default());
        let loaded =
            Loaded { config, preprocessor, generation, tokenizers, model, device, features };
        Ok(Session::over(Arc::new(loaded)))
    }
}
