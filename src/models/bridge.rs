//! The bridges: what a picture's features become for the language model.
//!
//! A bridge is one file: its sizes, how it loads, how it computes ([`Connector`]). Here is the one
//! place that knows them all, in the list at the end.

mod qformer;

pub use qformer::{QFormer, QFormerConfig};

use burn::tensor::Tensor;

use super::Probe;
use super::enums::enums;
use crate::config::check::Section;
use crate::error::Result;
use crate::pace::Pace;
use crate::weights::Weights;

/// What a bridge is to the rest of the crate.
pub trait Connector: Sized {
    /// Its sizes.
    type Config: ConnectorSizes;
    /// What it keeps of a picture: computed once, used by every question about it.
    type Kept;

    /// Reads the sizes from `config.json`: of a model of this type, between a vision tower and a
    /// language model of these widths.
    ///
    /// # Errors
    /// A section is malformed, or a size cannot be.
    fn config(bytes: &[u8], model_type: &str, widths: [usize; 2]) -> Result<Self::Config>;

    /// Takes the bridge's tensors; `width` is the language model's.
    ///
    /// # Errors
    /// A tensor is missing.
    fn load(weights: &Weights<'_>, config: &Self::Config, width: usize) -> Result<Self>;

    /// What is kept of a picture, from its features `[1, tokens, hidden]`.
    ///
    /// # Errors
    /// The GPU failed, or `pace` was told to stop.
    fn keep(&self, vision: &Tensor<3>, pace: &Pace) -> impl Future<Output = Result<Self::Kept>>;

    /// Bytes of that.
    fn bytes(kept: &Self::Kept) -> u64;

    /// Pictures and the instruction's ids, of which there may be none, to what the language model
    /// reads, `[1, pictures * tokens, width]`.
    ///
    /// # Errors
    /// As [`Connector::keep`].
    fn look(
        &self,
        pictures: &[&Self::Kept],
        instruction: &[u32],
        pace: &Pace,
        probe: &mut Probe<'_>,
    ) -> impl Future<Output = Result<Tensor<3>>>;

    /// Where it looks in a picture: a map `[queries, image tokens]` for each of the
    /// [`ConnectorSizes::looking_layers`].
    ///
    /// # Errors
    /// As [`Connector::keep`].
    fn maps(
        &self,
        picture: &Self::Kept,
        instruction: &[u32],
        pace: &Pace,
    ) -> impl Future<Output = Result<Vec<Tensor<2>>>>;
}

/// What the sizes of any bridge tell.
pub trait ConnectorSizes {
    /// Tokens that the language model reads of a picture.
    fn tokens(&self) -> usize;
    /// How it reads the instruction; `None` where it looks on its own.
    fn instruction(&self) -> Option<Instruction>;
    /// The layers that look at the picture; empty where there are no maps of that.
    fn looking_layers(&self) -> Vec<usize>;
    /// Bytes of intermediate values for an instruction of `tokens`.
    fn stage_bytes(&self, tokens: usize) -> u64;
    /// Leaves at most this many layers.
    fn shorten(&mut self, layers: usize);
}

/// How a bridge reads the instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Ids are below this.
    pub vocab_size: usize,
    /// The longest instruction.
    pub max_tokens: usize,
}

/// Makes the enums of a list of bridges: `"model_type", …: Connector`, by the type of the whole
/// model.
macro_rules! bridges {
    ($($($kind:literal),+: $Bridge:ident;)+) => {
        enums! {
            [$($Bridge),+] as Connector;
            /// The sizes of a bridge.
            BridgeConfig: ConnectorSizes;
            /// A bridge: each method is that of [`Connector`].
            Bridge;
            /// What a bridge keeps of a picture.
            #[derive(Clone, Debug)]
            pub Kept: Kept;
        }

        impl BridgeConfig {
            /// As [`Connector::config`].
            ///
            /// # Errors
            /// There is no bridge of that type, or as [`Connector::config`].
            pub(super) fn parse(bytes: &[u8], model_type: &str, widths: [usize; 2]) -> Result<Self> {
                match model_type {
                    $($($kind)|+ => Ok(Self::$Bridge($Bridge::config(bytes, model_type, widths)?)),)+
                    other => {
                        let known = [$($($kind),+),+].join(", ");
                        let reason = format!("model_type {other:?} is not supported, only {known}");
                        Err(Section("").error(&reason))
                    }
                }
            }
        }

        impl Kept {
            /// Bytes that it takes on the device.
            #[must_use]
            pub fn bytes(&self) -> u64 {
                match self { $(Self::$Bridge(kept) => $Bridge::bytes(kept)),+ }
            }
        }

        // What was kept is of the bridge that looks; nobody holds two models' at once.
        #[allow(unreachable_patterns, missing_docs, clippy::missing_errors_doc)]
        impl Bridge {
            pub fn load(weights: &Weights<'_>, config: &BridgeConfig, width: usize) -> Result<Self> {
                Ok(match config {
                    $(BridgeConfig::$Bridge(config) => {
                        Self::$Bridge($Bridge::load(weights, config, width)?)
                    })+
                })
            }

            pub async fn keep(&self, vision: &Tensor<3>, pace: &Pace) -> Result<Kept> {
                Ok(match self {
                    $(Self::$Bridge(bridge) => Kept::$Bridge(bridge.keep(vision, pace).await?)),+
                })
            }

            pub async fn look(
                &self,
                pictures: &[&Kept],
                instruction: &[u32],
                pace: &Pace,
                probe: &mut Probe<'_>,
            ) -> Result<Tensor<3>> {
                match self {
                    $(Self::$Bridge(bridge) => {
                        let own = pictures.iter().filter_map(|kept| match kept {
                            Kept::$Bridge(kept) => Some(kept),
                            _ => None,
                        });
                        bridge.look(&own.collect::<Vec<_>>(), instruction, pace, probe).await
                    })+
                }
            }

            pub async fn maps(
                &self,
                picture: &Kept,
                instruction: &[u32],
                pace: &Pace,
            ) -> Result<Vec<Tensor<2>>> {
                match (self, picture) {
                    $((Self::$Bridge(bridge), Kept::$Bridge(kept)) => {
                        bridge.maps(kept, instruction, pace).await
                    })+
                    _ => unreachable!("kept by another bridge"),
                }
            }
        }
    };
}

bridges! {
    "instructblip", "blip-2": QFormer;
}
