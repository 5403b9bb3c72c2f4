//! Features of pictures that were looked at, kept by the digest of their files within a budget.
//!
//! All conversations about a model share them, and none can tell whose a picture was: it has to
//! give the same bytes to profit. A picture that a conversation holds stays there, whether the
//! cache forgets it or not.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::pictures::{Digest, Picture};

/// Bytes on the GPU: about ten pictures of the largest models.
pub const DEFAULT_FEATURE_BYTES: u64 = 128 << 20;

/// The pictures used last.
#[derive(Debug)]
pub(super) struct FeatureCache {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The one used last comes last.
    pictures: Vec<Picture>,
    budget: u64,
}

impl Default for FeatureCache {
    fn default() -> Self {
        let inner = Inner { pictures: Vec::new(), budget: DEFAULT_FEATURE_BYTES };
        Self { inner: Mutex::new(inner) }
    }
}

impl FeatureCache {
    /// A picture that is known, which counts as used.
    pub(super) fn get(&self, digest: &Digest) -> Option<Picture> {
        let mut inner = self.lock();
        let at = inner.pictures.iter().position(|picture| picture.digest == *digest)?;
        let picture = inner.pictures.remove(at);
        inner.pictures.push(picture.clone());
        Some(picture)
    }

    /// Keeps a picture; the ones not used for longest make room.
    pub(super) fn keep(&self, picture: &Picture) {
        let mut inner = self.lock();
        inner.pictures.retain(|known| known.digest != picture.digest);
        inner.pictures.push(picture.clone());
        inner.shrink();
    }

    /// Changes the budget; 0 keeps nothing.
    pub(super) fn set_budget(&self, bytes: u64) {
        let mut inner = self.lock();
        inner.budget = bytes;
        inner.shrink();
    }

    /// Number of pictures and their bytes.
    pub(super) fn held(&self) -> (usize, u64) {
        let inner = self.lock();
        (inner.pictures.len(), inner.bytes())
    }

    /// A cache is right in every state, so a thread that panicked with it does no harm.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn bytes(&self) -> u64 {
        self.pictures.iter().map(|picture| picture.bytes()).sum()
    }

    fn shrink(&mut self) {
        while self.bytes() > self.budget && !self.pictures.is_empty() {
            self.pictures.remove(0);
        }
    }
}
