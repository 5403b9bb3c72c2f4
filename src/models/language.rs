//! The language models: pictures and a prompt to the next token's logits, step by step.
//!
//! A model is one file: its sizes, how it loads, how it computes. Here is the one place that
//! knows them all. To whoever generates text they are alike: [`LanguageModel::read`] takes a
//! prompt in and gives the [`Context`] that every answer to it shares, from which texts go on
//! side by side, each from the token [`Context::first`], one [`LanguageModel::step`] at a time.

pub mod t5;

pub use t5::{T5, T5Config};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use serde::Deserialize;

use super::{Probe, stage_bytes};
use crate::config::check::{Section, section};
use crate::error::{Error, Result};
use crate::kernels::TokenHistory;
use crate::pace::Pace;
use crate::weights::Weights;

/// The sizes of a language model: `text_config`.
#[derive(Debug, Clone, PartialEq)]
pub enum LanguageConfig {
    /// [`T5`]'s.
    T5(T5Config),
}

impl LanguageConfig {
    /// Reads the section of `config.json`.
    ///
    /// # Errors
    /// It is missing or malformed, names a model that is not here, or a size cannot be.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        const NAME: &str = "text_config";
        #[derive(Deserialize)]
        struct Kind {
            model_type: Option<String>,
        }
        let kind: Option<Kind> = section(bytes, NAME)?;
        let missing = || Error::ConfigInvalid {
            file: crate::config::check::FILE.into(),
            reason: format!("it has no {NAME}"),
        };
        // The reference takes an absent type for OPT.
        let kind = kind.ok_or_else(missing)?.model_type.unwrap_or_else(|| "opt".into());
        match kind.as_str() {
            "t5" => {
                let config: T5Config = section(bytes, NAME)?.ok_or_else(missing)?;
                config.check()?;
                Ok(Self::T5(config))
            }
            _ => Err(Section(NAME).error(&format!(
                "the language model is {kind:?}; only T5 (FlanT5) checkpoints are supported"
            ))),
        }
    }

    /// Ids are below this.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        let Self::T5(config) = self;
        config.vocab_size
    }

    /// Width of a token.
    #[must_use]
    pub fn width(&self) -> usize {
        let Self::T5(config) = self;
        config.d_model
    }

    /// The ids that end an answer.
    #[must_use]
    pub fn ends(&self) -> Vec<u32> {
        let Self::T5(config) = self;
        vec![config.eos_token_id]
    }

    /// The most tokens of a prompt that are read.
    #[must_use]
    pub fn max_prompt_tokens(&self) -> usize {
        match self {
            Self::T5(_) => 512, // what it was trained with
        }
    }

    /// The id that a tokenised prompt must end with, where the model was trained so.
    #[must_use]
    pub fn prompt_end(&self) -> Option<u32> {
        let Self::T5(config) = self;
        Some(config.eos_token_id)
    }

    /// Layers that a step of decoding runs through.
    #[must_use]
    pub fn decoder_layers(&self) -> usize {
        let Self::T5(config) = self;
        config.num_decoder_layers
    }

    /// Bytes of intermediate values while a prompt of `tokens` is read.
    #[must_use]
    pub fn stage_bytes(&self, tokens: usize) -> u64 {
        let Self::T5(config) = self;
        let width = config.d_model.max(config.inner_dim());
        stage_bytes(tokens, width, 2 * config.d_ff)
    }

    /// Bytes that are kept of every token, prompt or answer: keys and values of all layers.
    #[must_use]
    pub fn cache_bytes(&self) -> u64 {
        let Self::T5(config) = self;
        2 * (config.num_decoder_layers * config.inner_dim() * size_of::<f32>()) as u64
    }

    /// The same model with at most this many layers.
    pub(super) fn shorten(&mut self, layers: usize) {
        let Self::T5(config) = self;
        config.num_layers = config.num_layers.min(layers);
        config.num_decoder_layers = config.num_decoder_layers.min(layers);
    }
}

/// A language model.
#[derive(Module, Debug)]
pub enum LanguageModel {
    /// T5 v1.1, an encoder and a decoder.
    T5(T5),
}

/// A prompt as far as answers need it: computed once, shared by all beams, draws and candidates.
#[derive(Clone, Debug)]
pub struct Context {
    first: u32,
    device: Device,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Keys and values of the encoder's output.
    T5(t5::CrossKeys),
}

impl Context {
    /// The token from which every text goes on; it is the first one that a step reads.
    #[must_use]
    pub fn first(&self) -> u32 {
        self.first
    }

    /// The device it is on.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device.clone()
    }

    /// What of it is computed last.
    #[must_use]
    pub fn last(&self) -> Option<&Tensor<3>> {
        let Kind::T5(keys) = &self.kind;
        keys.last()
    }
}

/// What texts keep between steps.
#[derive(Debug)]
pub enum State {
    /// The decoder's keys and values.
    T5(t5::DecoderState),
}

impl State {
    /// Tokens there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let Self::T5(state) = self;
        state.capacity()
    }
}

/// The tokens of a step. All lies on the device, so that a recorded step can be replayed at
/// another position.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The texts so far.
    pub history: &'a TokenHistory,
    /// The position of the tokens that this step reads, one word.
    pub position: &'a Tensor<1, Int>,
    /// `[rows, capacity]`: the row whose cache holds each token of a text, this one included;
    /// without it every text lies in its own row.
    pub lineage: Option<&'a Tensor<1, Int>>,
}

impl LanguageModel {
    /// Takes the model's tensors.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn load(weights: &Weights<'_>, config: &LanguageConfig) -> Result<Self> {
        let weights = weights.at("language_model");
        let LanguageConfig::T5(config) = config;
        Ok(Self::T5(T5::load(&weights, config)?))
    }

    /// Width of the logits.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        let Self::T5(model) = self;
        model.vocab_size()
    }

    /// Bytes that texts keep of a token.
    #[must_use]
    pub fn cache_bytes(&self) -> usize {
        let Self::T5(model) = self;
        model.cache_bytes()
    }

    /// Reads a prompt: what the bridge found, `[1, tokens, width]`, then the text's ids.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    pub async fn read(
        &self,
        queries: &Tensor<3>,
        ids: &[u32],
        pace: &Pace,
        probe: &mut Probe<'_>,
    ) -> Result<Context> {
        let Self::T5(model) = self;
        let keys = model.read(queries, ids, pace, probe).await?;
        Ok(Context { first: model.start_token(), device: queries.device(), kind: Kind::T5(keys) })
    }

    /// Starts `rows` texts side by side, with room for `capacity` tokens.
    #[must_use]
    pub fn start(&self, context: &Context, rows: usize, capacity: usize) -> State {
        let (Self::T5(model), Kind::T5(keys)) = (self, &context.kind);
        State::T5(model.start(keys, rows, capacity))
    }

    /// One step: the tokens `at` a position, which is below the capacity, to the next tokens'
    /// logits `[rows, vocab_size]`. Only kernels of this crate run, so that it can be recorded.
    #[must_use]
    pub fn step(&self, at: At<'_>, state: &mut State) -> Tensor<2> {
        let (Self::T5(model), State::T5(state)) = (self, state);
        model.step(at, state)
    }

    /// Doubles the room.
    pub fn grow(&self, state: &mut State) {
        let (Self::T5(model), State::T5(state)) = (self, state);
        model.grow(state);
    }

    /// Logits after every token of `rows` texts of equal length, `ids` `[rows * length]` with the
    /// first token first: `[rows * length, vocab_size]`. Padding at the end changes nothing
    /// before it.
    #[must_use]
    pub fn score(&self, context: &Context, ids: &Tensor<1, Int>, rows: usize) -> Tensor<2> {
        let (Self::T5(model), Kind::T5(keys)) = (self, &context.kind);
        model.teacher_forced(ids, rows, keys)
    }
}
