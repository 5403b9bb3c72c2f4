//! A picture and questions about it: what the browser and the command line both drive.
//!
//! [`Session::set_pictures`] runs the vision tower once a picture; every [`Session::ask`] then runs the
//! Q-Former with the question, the encoder, and decodes, handing out text as it settles.

mod ask;
mod attention;
mod options;
mod pictures;
mod rank;
mod rehearsal;
mod vision;

pub use ask::{Answer, Candidate, Statistics, TokenEvent};
pub use attention::{AttentionMaps, LayerMap, PictureMap};
pub use options::{AskOptions, DEFAULT_MAX_NEW_TOKENS, LIMIT_MAX_NEW_TOKENS, LIMIT_NUM_BEAMS};
pub use pictures::{LIMIT_PICTURES, PictureInfo};
pub use rank::{LIMIT_CANDIDATES, RankOptions, Ranked};
pub use rehearsal::{rehearse_picture, rehearse_question};
pub use vision::VisionSession;

use burn::tensor::Device;
use web_time::Instant;

use crate::checkpoint::store::WeightStore;
use crate::config::{GenerationConfig, ModelConfig, PreprocessorConfig};
use crate::error::Result;
use crate::models::InstructBlip;
use crate::prompt::{Filled, Prompt};
use crate::text::Tokenizers;
use pictures::Picture;
use vision::VisionWork;

/// The small files of a checkpoint, as bytes.
#[derive(Clone, Debug, Default)]
pub struct ModelFiles {
    /// `config.json`.
    pub config: Vec<u8>,
    /// `preprocessor_config.json`.
    pub preprocessor: Vec<u8>,
    /// `generation_config.json`, where there is one.
    pub generation: Option<Vec<u8>>,
    /// `tokenizer.json` of the language model.
    pub t5_tokenizer: Vec<u8>,
    /// `qformer_tokenizer/tokenizer.json`.
    pub qformer_tokenizer: Option<Vec<u8>>,
}

/// [`ModelFiles`] understood: all of a model but its weights.
#[derive(Debug)]
pub struct Blueprint {
    /// Sizes.
    pub config: ModelConfig,
    /// How pictures are prepared.
    pub preprocessor: PreprocessorConfig,
    /// How to answer where nothing else is said.
    pub generation: GenerationConfig,
    /// Texts to ids and back.
    pub tokenizers: Tokenizers,
}

impl Blueprint {
    /// Parses all of them.
    ///
    /// # Errors
    /// A file is malformed, or does not fit the others.
    pub fn parse(files: &ModelFiles) -> Result<Self> {
        let config = ModelConfig::parse(&files.config)?;
        let preprocessor = PreprocessorConfig::parse(&files.preprocessor)?;
        preprocessor.check_fits(&config)?;
        let generation = match &files.generation {
            Some(bytes) => GenerationConfig::parse(bytes)?,
            None => GenerationConfig::default(),
        };
        let tokenizers =
            Tokenizers::new(&files.t5_tokenizer, files.qformer_tokenizer.as_deref(), &config)?;
        Ok(Self { config, preprocessor, generation, tokenizers })
    }
}

/// A loaded model, its processors, and the current pictures.
#[derive(Debug)]
pub struct Session {
    config: ModelConfig,
    preprocessor: PreprocessorConfig,
    generation: GenerationConfig,
    tokenizers: Tokenizers,
    model: InstructBlip,
    device: Device,
    pictures: Vec<Picture>,
    /// What the vision tower did for the current pictures, until the first answer reports it.
    unreported: Option<VisionWork>,
}

impl Session {
    /// Builds the model from a complete store.
    ///
    /// # Errors
    /// A file is malformed, the tokenizers do not fit, or a tensor is missing or misshapen.
    pub fn new(files: &ModelFiles, mut weights: WeightStore) -> Result<Self> {
        VisionSession::new(Blueprint::parse(files)?, &mut weights)?.join(&mut weights)
    }

    /// Opens a model folder on the disk, a shard set or a Hugging Face checkpoint; `progress`
    /// gets the bytes of every tensor put on the device.
    ///
    /// # Errors
    /// A file is missing or damaged, or as [`Session::new`].
    #[cfg(not(target_family = "wasm"))]
    pub fn open(
        folder: &crate::checkpoint::Folder,
        device: &Device,
        mut progress: impl FnMut(u64),
    ) -> Result<Self> {
        let files = ModelFiles {
            config: folder.config()?,
            preprocessor: folder.preprocessor()?,
            generation: folder.generation()?,
            t5_tokenizer: folder.read("tokenizer.json")?,
            qformer_tokenizer: folder.read_optional("qformer_tokenizer/tokenizer.json")?,
        };
        let mut weights = WeightStore::new(device);
        folder.for_each_tensor(|tensor| {
            progress(tensor.byte_len() as u64);
            weights.insert(tensor.name, tensor.dtype, tensor.shape, &tensor.read()?)
        })?;
        Self::new(&files, weights)
    }

    /// The checkpoint's configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The picture processor's configuration.
    #[must_use]
    pub fn preprocessor(&self) -> &PreprocessorConfig {
        &self.preprocessor
    }

    /// The tokenizers.
    #[must_use]
    pub fn tokenizers(&self) -> &Tokenizers {
        &self.tokenizers
    }

    /// The text of a prompt, shortened to what the model reads.
    ///
    /// # Errors
    /// A tokenizer turns out broken.
    pub fn prompt(&self, prompt: &Prompt) -> Result<Filled> {
        prompt.fill(&self.tokenizers)
    }

    /// The model itself.
    #[must_use]
    pub fn model(&self) -> &InstructBlip {
        &self.model
    }

    /// The device the model is on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
