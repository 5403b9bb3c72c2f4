//! Long work in short submits, stopped when asked.
//!
//! A model calls [`Pace::after`] between its blocks, so that no submit keeps the GPU busy for
//! long and a caller's wish to stop is heard.

use burn::tensor::Tensor;

use crate::error::{Error, Result};

/// How a long computation is cut up, and whether it should stop.
#[derive(Default)]
pub struct Pace {
    cancelled: Option<Box<dyn Fn() -> bool>>,
}

impl Pace {
    /// Stops with [`Error::Cancelled`] once `cancelled` says so.
    pub fn new(cancelled: impl Fn() -> bool + 'static) -> Self {
        Self { cancelled: Some(Box::new(cancelled)) }
    }

    /// # Errors
    /// [`Error::Cancelled`].
    pub fn check(&self) -> Result<()> {
        match &self.cancelled {
            Some(cancelled) if cancelled() => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    /// Called with the result of every block.
    ///
    /// # Errors
    /// [`Error::Cancelled`], or the GPU failed.
    pub async fn after(&self, _block: &Tensor<3>) -> Result<()> {
        self.check()
    }
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pace").finish_non_exhaustive()
    }
}
