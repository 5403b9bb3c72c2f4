//! The language models: pictures and a prompt to the next token's logits, step by step.
//!
//! A model is one file: its sizes, how it loads, how it computes ([`Language`]). Here is the one
//! place that knows them all, in the list at the end. To whoever generates text they are alike:
//! reading a prompt gives the [`Context`] that every answer to it shares, from which texts go on
//! side by side, each from the token [`Context::first`], one step at a time.

pub mod t5;

pub use t5::{T5, T5Config};

use burn::tensor::{Device, Int, Tensor};

use super::Probe;
use super::enums::enums;
use crate::config::check::{FILE, Section, invalid, kind, section};
use crate::error::Result;
use crate::kernels::TokenHistory;
use crate::pace::Pace;
use crate::weights::Weights;

/// The section of `config.json`.
const SECTION: &str = "text_config";

/// What a language model is to the rest of the crate.
pub trait Language: Sized {
    /// Its sizes: the section as its file has it.
    type Config: LanguageSizes;
    /// A prompt as far as answers need it.
    type Context;
    /// What texts keep between steps.
    type State;

    /// Takes the tensors of `language_model`.
    ///
    /// # Errors
    /// A tensor is missing.
    fn load(weights: &Weights<'_>, config: &Self::Config) -> Result<Self>;

    /// Width of the logits.
    fn vocab_size(&self) -> usize;

    /// Bytes that texts keep of a token.
    fn cache_bytes(&self) -> usize;

    /// Reads a prompt: what the bridge found, `[1, tokens, width]`, then the text's ids. Gives
    /// the token from which texts go on, too.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    fn read(
        &self,
        queries: &Tensor<3>,
        ids: &[u32],
        pace: &Pace,
        probe: &mut Probe<'_>,
    ) -> impl Future<Output = Result<(u32, Self::Context)>>;

    /// What of a context is computed last.
    fn last(context: &Self::Context) -> Option<&Tensor<3>>;

    /// Starts `rows` texts side by side, with room for `capacity` tokens.
    fn start(&self, context: &Self::Context, rows: usize, capacity: usize) -> Self::State;

    /// Tokens there is room for.
    fn capacity(state: &Self::State) -> usize;

    /// One step: the tokens `at` a position, which is below the capacity, to the next tokens'
    /// logits `[rows, vocab_size]`. Only kernels of this crate run, so that it can be recorded.
    fn step(&self, at: At<'_>, state: &mut Self::State) -> Tensor<2>;

    /// Doubles the room.
    fn grow(&self, state: &mut Self::State);

    /// Logits after every token of `rows` texts of equal length, `ids` `[rows * length]` with the
    /// first token first: `[rows * length, vocab_size]`. Padding at the end changes nothing
    /// before it.
    fn score(&self, context: &Self::Context, ids: &Tensor<1, Int>, rows: usize) -> Tensor<2>;
}

/// What the sizes of any language model tell.
pub trait LanguageSizes {
    /// # Errors
    /// A size cannot be.
    fn check(&self) -> Result<()>;
    /// Ids are below this.
    fn vocab_size(&self) -> usize;
    /// Width of a token.
    fn width(&self) -> usize;
    /// The ids that end an answer.
    fn ends(&self) -> Vec<u32>;
    /// The most tokens of a prompt that are read.
    fn max_prompt_tokens(&self) -> usize;
    /// The id that a tokenised prompt must end with, where the model was trained so.
    fn prompt_end(&self) -> Option<u32>;
    /// Layers that a step runs through.
    fn decoder_layers(&self) -> usize;
    /// Bytes of intermediate values while a prompt of `tokens` is read.
    fn stage_bytes(&self, tokens: usize) -> u64;
    /// Bytes that are kept of every token, prompt or answer: keys and values of all layers.
    fn cache_bytes(&self) -> u64;
    /// Leaves at most this many layers.
    fn shorten(&mut self, layers: usize);
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

/// A prompt that was read: computed once, shared by all beams, draws and candidates.
#[derive(Clone, Debug)]
pub struct Context {
    first: u32,
    device: Device,
    kind: Kind,
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
}

/// Makes the enums of a list of models: `"model_type": Model`.
macro_rules! language_models {
    ($($kind:literal: $Model:ident;)+) => {
        enums! {
            [$($Model),+] as Language;
            /// The sizes of a language model: `text_config`.
            LanguageConfig: LanguageSizes;
            /// A language model: each method is that of [`Language`].
            LanguageModel;
            #[derive(Clone, Debug)]
            Kind: Context;
            /// What texts keep between steps.
            #[derive(Debug)]
            pub State: State;
        }

        impl LanguageConfig {
            /// Reads the section of `config.json`.
            ///
            /// # Errors
            /// It is missing or malformed, names a model that is not here, or a size cannot be.
            pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
                let missing = || invalid(FILE, format!("it has no {SECTION}"));
                // The reference takes an absent type for OPT.
                let kind = kind(bytes, SECTION)?.ok_or_else(missing)?;
                let config = match kind.as_deref().unwrap_or("opt") {
                    $($kind => Self::$Model(section(bytes, SECTION)?.ok_or_else(missing)?),)+
                    other => {
                        let known = [$($kind),+].join(", ");
                        let reason = format!("the language model {other:?} is not supported, only {known}");
                        return Err(Section(SECTION).error(&reason));
                    }
                };
                config.check()?;
                Ok(config)
            }
        }

        impl State {
            /// Tokens there is room for.
            #[must_use]
            pub fn capacity(&self) -> usize {
                match self { $(Self::$Model(state) => $Model::capacity(state)),+ }
            }
        }

        impl Context {
            /// What of it is computed last.
            #[must_use]
            pub fn last(&self) -> Option<&Tensor<3>> {
                match &self.kind { $(Kind::$Model(context) => $Model::last(context)),+ }
            }
        }

        // A context and a state are of the model that made them; nobody holds two models' at once.
        #[allow(unreachable_patterns, missing_docs, clippy::missing_errors_doc)]
        impl LanguageModel {
            pub fn load(weights: &Weights<'_>, config: &LanguageConfig) -> Result<Self> {
                let weights = weights.at("language_model");
                Ok(match config {
                    $(LanguageConfig::$Model(config) => Self::$Model($Model::load(&weights, config)?)),+
                })
            }

            #[must_use]
            pub fn vocab_size(&self) -> usize {
                match self { $(Self::$Model(model) => model.vocab_size()),+ }
            }

            #[must_use]
            pub fn cache_bytes(&self) -> usize {
                match self { $(Self::$Model(model) => model.cache_bytes()),+ }
            }

            pub async fn read(
                &self,
                queries: &Tensor<3>,
                ids: &[u32],
                pace: &Pace,
                probe: &mut Probe<'_>,
            ) -> Result<Context> {
                let device = queries.device();
                Ok(match self {
                    $(Self::$Model(model) => {
                        let (first, context) = model.read(queries, ids, pace, probe).await?;
                        Context { first, device, kind: Kind::$Model(context) }
                    }),+
                })
            }

            #[must_use]
            pub fn start(&self, context: &Context, rows: usize, capacity: usize) -> State {
                match (self, &context.kind) {
                    $((Self::$Model(model), Kind::$Model(context)) => {
                        State::$Model(model.start(context, rows, capacity))
                    })+
                    _ => unreachable!("a context of another model"),
                }
            }

            #[must_use]
            pub fn step(&self, at: At<'_>, state: &mut State) -> Tensor<2> {
                match (self, state) {
                    $((Self::$Model(model), State::$Model(state)) => model.step(at, state),)+
                    _ => unreachable!("a state of another model"),
                }
            }

            pub fn grow(&self, state: &mut State) {
                match (self, state) {
                    $((Self::$Model(model), State::$Model(state)) => model.grow(state),)+
                    _ => unreachable!("a state of another model"),
                }
            }

            #[must_use]
            pub fn score(&self, context: &Context, ids: &Tensor<1, Int>, rows: usize) -> Tensor<2> {
                match (self, &context.kind) {
                    $((Self::$Model(model), Kind::$Model(context)) => model.score(context, ids, rows),)+
                    _ => unreachable!("a context of another model"),
                }
            }
        }
    };
}

language_models! {
    "t5": T5;
}
