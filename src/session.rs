//! A picture and questions about it: what the browser and the command line both drive.
//!
//! [`Session::set_pictures`] runs the vision tower once a picture; every [`Session::ask`] then runs the
//! bridge with the question, reads the prompt, and decodes, handing out text as it settles.

mod ask;
mod attention;
mod features;
mod options;
mod pictures;
mod rank;
mod rehearsal;

pub use crate::config::AskOptions;
pub use crate::config::knobs::{KNOBS, Kind, Knob, LIMIT_MAX_NEW_TOKENS};
pub use ask::{Answer, Candidate, Statistics, TokenEvent};
pub use attention::{AttentionMaps, AttentionOptions, LayerMap, PictureMap};
pub use features::DEFAULT_FEATURE_BYTES;
pub use options::{Controls, Limits};
pub use pictures::{LIMIT_PICTURES, PictureInfo};
pub use rank::{LIMIT_CANDIDATES, RankOptions, Ranked};
pub use rehearsal::{list_pipelines, rehearse_picture, rehearse_question};

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use burn::tensor::Device;
use web_time::Instant;

use crate::config::{GenerationConfig, PreprocessorConfig};
use crate::error::{Error, Result};
use crate::models::{ModelConfig, VisionLanguageModel, VisionTower};
use crate::pace::Pace;
use crate::prompt::{Filled, Prompt};
use crate::text::Tokenizers;
use crate::weights::WeightStore;
use features::FeatureCache;
use pictures::{Picture, VisionWork};

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
    pub tokenizer: Vec<u8>,
    /// `qformer_tokenizer/tokenizer.json`, where there is one.
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
        preprocessor.check_fits(config.vision_config.image_size())?;
        let generation = match &files.generation {
            Some(bytes) => GenerationConfig::parse(bytes)?,
            None => GenerationConfig::default(),
        };
        let tokenizers =
            Tokenizers::new(&files.tokenizer, files.qformer_tokenizer.as_deref(), &config)?;
        Ok(Self { config, preprocessor, generation, tokenizers })
    }

    /// An empty store for the weights.
    ///
    /// # Errors
    /// As [`VisionLanguageModel::describe`].
    pub fn store(&self, device: &Device) -> Result<WeightStore> {
        Ok(WeightStore::new(VisionLanguageModel::describe(&self.config, device)?, device))
    }
}

/// A model and its processors, which conversations share.
#[derive(Debug)]
struct Loaded {
    blueprint: Blueprint,
    vision: VisionTower,
    /// All of it, once the rest of the weights is there.
    model: OnceLock<VisionLanguageModel>,
    device: Device,
    features: FeatureCache,
}

/// A conversation with a loaded model: its pictures, and whoever asks about them.
///
/// Several conversations share one model ([`Session::conversation`]) and see nothing of each other.
/// A model may arrive in two parts: with its vision tower pictures can be set
/// ([`Session::begin`]), with the rest everything else is possible ([`Session::complete`]).
#[derive(Debug)]
pub struct Session {
    loaded: Arc<Loaded>,
    pictures: Vec<Picture>,
    /// What the vision tower did for the current pictures, until the first answer reports it.
    unreported: Cell<Option<VisionWork>>,
}

impl Session {
    /// A new conversation with the same model, without pictures.
    #[must_use]
    pub fn conversation(&self) -> Self {
        Self::over(Arc::clone(&self.loaded))
    }

    fn over(loaded: Arc<Loaded>) -> Self {
        Self { loaded, pictures: Vec::new(), unreported: Cell::new(None) }
    }

    /// How many bytes of picture features the model keeps beyond the current pictures, for all
    /// its conversations; [`DEFAULT_FEATURE_BYTES`] at first.
    pub fn set_feature_budget(&self, bytes: u64) {
        self.loaded.features.set_budget(bytes);
    }

    /// Pictures whose features are kept, and their bytes.
    #[must_use]
    pub fn kept_features(&self) -> (usize, u64) {
        self.loaded.features.held()
    }

    /// Builds the model from a complete store.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn new(blueprint: Blueprint, weights: &WeightStore) -> Result<Self> {
        let session = Self::begin(blueprint, weights)?;
        session.take_rest(weights)?;
        Ok(session)
    }

    /// Takes the vision tower's tensors, which must be in the store; others may be missing yet.
    ///
    /// # Errors
    /// One of them is missing.
    pub fn begin(blueprint: Blueprint, weights: &WeightStore) -> Result<Self> {
        let vision = VisionTower::load(&weights.weights(), &blueprint.config.vision_config)?;
        let (device, features) = (weights.device().clone(), FeatureCache::default());
        let model = OnceLock::new();
        Ok(Self::over(Arc::new(Loaded { blueprint, vision, model, device, features })))
    }

    /// Takes the rest of the tensors, for all conversations, and looks at this one's pictures.
    ///
    /// # Errors
    /// A tensor is missing, or the GPU failed.
    pub async fn complete(&self, weights: &WeightStore, pace: &Pace) -> Result<()> {
        self.take_rest(weights)?;
        self.keep_features(pace).await
    }

    fn take_rest(&self, weights: &WeightStore) -> Result<()> {
        let (vision, config) = (self.loaded.vision.clone(), self.config());
        let model = VisionLanguageModel::with_vision(vision, &weights.weights(), config)?;
        // Where a second rest comes, the first one stays.
        let _ = self.loaded.model.set(model);
        Ok(())
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
            tokenizer: folder.read("tokenizer.json")?,
            qformer_tokenizer: folder.read_optional("qformer_tokenizer/tokenizer.json")?,
        };
        let blueprint = Blueprint::parse(&files)?;
        let mut weights = blueprint.store(device)?;
        folder.for_each_tensor(|tensor| {
            progress(tensor.byte_len() as u64);
            weights.insert(tensor.name, tensor.dtype, tensor.shape, tensor.read()?)
        })?;
        Self::new(blueprint, &weights)
    }

    /// The checkpoint's configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.loaded.blueprint.config
    }

    /// The picture processor's configuration.
    #[must_use]
    pub fn preprocessor(&self) -> &PreprocessorConfig {
        &self.loaded.blueprint.preprocessor
    }

    /// The tokenizers.
    #[must_use]
    pub fn tokenizers(&self) -> &Tokenizers {
        &self.loaded.blueprint.tokenizers
    }

    /// The text of a prompt, shortened to what the model reads.
    ///
    /// # Errors
    /// A tokenizer turns out broken.
    pub fn prompt(&self, prompt: &Prompt) -> Result<Filled> {
        prompt.fill(self.tokenizers())
    }

    /// The model itself.
    ///
    /// # Errors
    /// [`Error::OptionInvalid`] while only its vision tower is there.
    pub fn model(&self) -> Result<&VisionLanguageModel> {
        self.loaded.model.get().ok_or_else(Self::not_there)
    }

    /// What is said to a call that comes before the model.
    #[must_use]
    pub fn not_there() -> Error {
        Error::OptionInvalid {
            option: "model".into(),
            reason: "that part of it has not arrived; wait for `ready` first".into(),
        }
    }

    /// The device the model is on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.loaded.device
    }
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
