//! A picture and questions about it: what the browser and the command line both drive.
//!
//! [`Session::set_picture`] runs the vision tower once; every [`Session::ask`] then runs the
//! Q-Former with the question, the encoder, and decodes, handing out text as it settles.

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use web_time::Instant;

use crate::checkpoint::store::WeightStore;
use crate::config::{GenerationConfig, ModelConfig, PreprocessorConfig};
use crate::error::{Error, Result};
use crate::generation::{GreedyOptions, Stop, greedy};
use crate::image;
use crate::models::InstructBlip;
use crate::models::instructblip::PictureFeatures;
use crate::readback;
use crate::text::Tokenizers;

/// Answers are cut here unless asked otherwise (`max_new_tokens` of the reference's generate).
pub const DEFAULT_MAX_NEW_TOKENS: usize = 256;
/// More is refused: the key-value cache is allocated for it.
pub const LIMIT_MAX_NEW_TOKENS: usize = 1024;

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

/// A loaded model, its processors, and the current picture.
#[derive(Debug)]
pub struct Session {
    config: ModelConfig,
    preprocessor: PreprocessorConfig,
    generation: GenerationConfig,
    tokenizers: Tokenizers,
    model: InstructBlip,
    device: Device,
    picture: Option<PictureFeatures>,
    /// Milliseconds the current picture took, until the first answer reports them.
    vision_ms: Option<f64>,
}

/// What [`Session::set_picture`] found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PictureInfo {
    /// Width in pixels, as a person sees the picture (EXIF orientation applied).
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Time for decoding and resizing.
    pub preprocess_ms: f64,
    /// Time for the vision tower, until the GPU was done.
    pub vision_ms: f64,
}

/// How to answer. Names and defaults are those of `transformers`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AskOptions {
    /// At most this many tokens.
    pub max_new_tokens: Option<usize>,
    /// The answer may not end before this many tokens.
    pub min_length: Option<usize>,
}

/// One decoded token.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenEvent {
    /// The token's id.
    pub id: u32,
    /// Text that cannot change any more; may be empty.
    pub text: String,
    /// Milliseconds since the question.
    pub milliseconds: f64,
}

/// A finished answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The answer's text, special tokens left out.
    pub text: String,
    /// The generated ids, the end token included.
    pub ids: Vec<u32>,
    /// The question was longer than the model takes and lost its beginning.
    pub truncated_question: bool,
    /// The caller stopped it, or the limit of tokens did: the answer may be unfinished.
    pub stopped: bool,
    /// Where the time went.
    pub statistics: Statistics,
}

/// Where the time of an answer went.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// From the question to its first token.
    pub time_to_first_token_ms: f64,
    /// Tokens after the first, over their time; 0 for a single token.
    pub tokens_per_second: f64,
    /// Generated tokens, the end token included.
    pub tokens: usize,
    /// Time of the vision tower; 0 when it was cached.
    pub vision_ms: f64,
    /// Time of the Q-Former and projection.
    pub qformer_ms: f64,
    /// Time of the encoder.
    pub encoder_ms: f64,
    /// The picture's features were there from an earlier question.
    pub vision_cached: bool,
}

impl Session {
    /// Builds the model from a complete store.
    ///
    /// # Errors
    /// A file is malformed, the tokenizers do not fit, or a tensor is missing or misshapen.
    pub fn new(files: &ModelFiles, mut weights: WeightStore) -> Result<Self> {
        let config = ModelConfig::parse(&files.config)?;
        let preprocessor = PreprocessorConfig::parse(&files.preprocessor)?;
        preprocessor.check_fits(&config)?;
        let generation = match &files.generation {
            Some(bytes) => GenerationConfig::parse(bytes)?,
            None => GenerationConfig::default(),
        };
        let tokenizers =
            Tokenizers::new(&files.t5_tokenizer, files.qformer_tokenizer.as_deref(), &config)?;
        let model = InstructBlip::load(&mut weights, &config)?;
        Ok(Self {
            device: weights.device().clone(),
            config,
            preprocessor,
            generation,
            tokenizers,
            model,
            picture: None,
            vision_ms: None,
        })
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

    /// Decodes a picture and computes its features, replacing the current one.
    ///
    /// # Errors
    /// The bytes are no picture, or the GPU failed; the current picture then stays.
    pub async fn set_picture(&mut self, bytes: &[u8]) -> Result<PictureInfo> {
        let start = Instant::now();
        let rgb = image::decode(bytes)?;
        let pixels = image::preprocess(&rgb, &self.preprocessor);
        let preprocess_ms = milliseconds(start);
        let start = Instant::now();
        let features = self.model.see(&pixels.data, &self.device);
        wait(&features.vision).await?;
        let vision_ms = milliseconds(start);
        self.picture = Some(features);
        self.vision_ms = Some(vision_ms);
        Ok(PictureInfo { width: rgb.width(), height: rgb.height(), preprocess_ms, vision_ms })
    }

    /// Answers a question about the current picture; `on_token` may break to stop early.
    ///
    /// # Errors
    /// There is no picture, the question is empty, an option is out of range, or the GPU failed.
    pub async fn ask(
        &mut self,
        question: &str,
        options: &AskOptions,
        on_token: &mut dyn FnMut(&TokenEvent) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let start = Instant::now();
        let options = self.greedy_options(options)?;
        let picture = self.picture.as_ref().ok_or(Error::PictureMissing)?;
        let encoded = self.tokenizers.encode(question)?;
        let cached = self.vision_ms.is_none();
        let mut statistics = Statistics {
            vision_cached: cached,
            vision_ms: self.vision_ms.take().unwrap_or(0.0),
            ..Statistics::default()
        };

        let stage = Instant::now();
        let queries = self.model.query(picture, &encoded.qformer.0);
        let projected = self.model.project(&queries);
        wait(&projected).await?;
        statistics.qformer_ms = milliseconds(stage);
        let stage = Instant::now();
        let hidden = self.model.encode(&projected, &encoded.t5.0);
        wait(&hidden).await?;
        statistics.encoder_ms = milliseconds(stage);

        let mut text = self.tokenizers.stream();
        let mut first = None;
        let mut failed = None;
        let (ids, stop) = greedy(&self.model, &hidden, &options, |id| {
            first.get_or_insert_with(|| milliseconds(start));
            let piece = if id == options.end {
                text.finish(&self.tokenizers)
            } else {
                text.push(&self.tokenizers, id)
            };
            match piece {
                Ok(text) => on_token(&TokenEvent { id, text, milliseconds: milliseconds(start) }),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })
        .await?;
        if let Some(error) = failed {
            return Err(error);
        }
        let first = first.unwrap_or_else(|| milliseconds(start));
        statistics.time_to_first_token_ms = first;
        statistics.tokens = ids.len();
        let rest = milliseconds(start) - first;
        if ids.len() > 1 && rest > 0.0 {
            statistics.tokens_per_second = (ids.len() - 1) as f64 / rest * 1e3;
        }
        Ok(Answer {
            text: self.tokenizers.decode(&ids)?,
            ids,
            truncated_question: encoded.truncated,
            stopped: stop != Stop::End,
            statistics,
        })
    }

    fn greedy_options(&self, options: &AskOptions) -> Result<GreedyOptions> {
        let max_new_tokens = options
            .max_new_tokens
            .or(self.generation.max_new_tokens)
            .unwrap_or(DEFAULT_MAX_NEW_TOKENS);
        if max_new_tokens == 0 || max_new_tokens > LIMIT_MAX_NEW_TOKENS {
            return Err(Error::OptionInvalid {
                option: "maxNewTokens".into(),
                reason: format!("{max_new_tokens} is not between 1 and {LIMIT_MAX_NEW_TOKENS}"),
            });
        }
        let min_length = options.min_length.unwrap_or(0);
        if min_length > max_new_tokens {
            return Err(Error::OptionInvalid {
                option: "minLength".into(),
                reason: format!("{min_length} is more than maxNewTokens, {max_new_tokens}"),
            });
        }
        let text = &self.config.text_config;
        Ok(GreedyOptions {
            max_new_tokens,
            min_length,
            start: text.decoder_start_token_id,
            end: text.eos_token_id,
        })
    }
}

/// Waits until the device has computed `tensor`, by reading one value of it.
async fn wait(tensor: &Tensor<3>) -> Result<()> {
    readback::floats(&tensor.clone().slice([0..1, 0..1, 0..1])).await?;
    Ok(())
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
