//! From one kind of checkpoint to another: what the command line does with folders (native).
//!
//! - [`pack`]: a plain checkpoint to a shard set; [`mod@export`]: back again.
//! - [`mod@inspect`]: what is in a folder. [`mod@synth`]: random checkpoints of any size.
//! - [`recipe`]: which tensor is stored in which format.
//! - [`rows`]: the rows of a weight as f32, whatever its format.
//! - [`parallel`]: work on several threads, results in order.
//! - [`shardset`], [`output`] and [`journal`]: write safetensors files with aligned tensors, whole
//!   or not at all, and continue where a run was interrupted.
//! - `planted`, `small_files`: links in strangers' folders are neither followed nor copied.
//! - `card`: the `README.md` of a converted model.

mod card;
pub mod export;
pub mod inspect;
pub mod journal;
pub mod output;
pub mod pack;
pub mod parallel;
pub(crate) mod planted;
pub mod recipe;
pub mod rows;
pub mod shardset;
pub(crate) mod small_files;
pub mod synth;

#[cfg(test)]
mod tests;

pub use export::{ExportOptions, export};
pub use inspect::inspect;
pub use journal::Start;
pub use pack::{ConvertOptions, convert};
pub use recipe::Recipe;

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::Device;

use crate::checkpoint::{Folder, TensorView};
use crate::error::{Error, Result};
use crate::models::{ModelConfig, VisionLanguageModel};
use crate::weights::Description;
use rows::Rows;

/// The folder of the Q-Former's tokenizer in a checkpoint.
const QFORMER_TOKENIZER: &str = "qformer_tokenizer";

/// What a long conversion reports after every block of work.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Bytes of tensor data written so far.
    pub done: u64,
    /// Bytes of tensor data there will be.
    pub total: u64,
    /// The tensor at work.
    pub name: &'a str,
    /// Whether the work of an earlier run is continued.
    pub start: Start,
}

/// Counts what is written and tells of it.
struct Meter<'a> {
    done: u64,
    total: u64,
    start: Start,
    progress: &'a mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
}

impl<'a> Meter<'a> {
    fn new(
        total: u64,
        start: Start,
        progress: &'a mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Self {
        Self { done: 0, total, start, progress }
    }

    /// # Errors
    /// [`Error::Cancelled`] where whoever is told breaks.
    fn wrote(&mut self, name: &str, bytes: usize) -> Result<()> {
        self.done += bytes as u64;
        let Self { done, total, start, .. } = *self;
        match (self.progress)(&Progress { done, total, name, start }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }
}

/// What a conversion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Tensors of the model; a packed matrix and its scales count as one.
    pub tensors: usize,
    /// Tensors of the source that the model does not have, which were left out.
    pub left_out: usize,
    /// Bytes of the source's weight files.
    pub source_bytes: u64,
    /// Weight files written.
    pub files: usize,
    /// Bytes of these files.
    pub bytes: u64,
}

/// A folder with its configuration, and what the model of that configuration asks for.
struct Source {
    folder: Folder,
    /// `config.json`.
    config: Vec<u8>,
    model_type: String,
    description: Description,
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        let folder = Folder::open(path)?;
        let config = folder.config()?;
        let model = ModelConfig::parse(&config)?;
        let (description, model_type) = (describe(&model)?, model.model_type);
        let folder = folder.with_aliases(|name| description.resolve(name).to_owned());
        Ok(Self { folder, config, model_type, description })
    }

    /// The model's tensors that the folder has, in the order of a shard set.
    fn present(&self) -> Result<Vec<Rows<'_>>> {
        let wanted = self.description.in_order().into_iter();
        wanted.filter_map(|wanted| Rows::of(self, wanted).transpose()).collect()
    }

    /// Tensors that the model does not have.
    fn strange(&self) -> impl Iterator<Item = TensorView<'_>> {
        self.folder.tensors().filter(|tensor| self.description.get(tensor.name).is_none())
    }
}

/// What a model asks for, without a GPU.
///
/// # Errors
/// As [`VisionLanguageModel::describe`].
pub fn describe(config: &ModelConfig) -> Result<Description> {
    VisionLanguageModel::describe(config, &Device::flex())
}
