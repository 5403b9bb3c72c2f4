//! The activation functions that `transformers` names in `hidden_act` and `dense_act_fn`.

use serde::{Deserialize, Serialize};

/// An activation function. The names are those of `transformers`; several of its names mean
/// the same function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
pub enum Activation {
    /// `0.5 x (1 + erf(x / √2))`, exact.
    Gelu,
    /// The tanh approximation of GELU.
    GeluNew,
    /// `max(x, 0)`.
    Relu,
    /// `x / (1 + e^-x)`.
    Silu,
}

impl Activation {
    /// The name in a configuration file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluNew => "gelu_new",
            Self::Relu => "relu",
            Self::Silu => "silu",
        }
    }
}

impl TryFrom<String> for Activation {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "gelu" | "gelu_python" => Ok(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Self::GeluNew),
            "relu" => Ok(Self::Relu),
            "silu" | "swish" => Ok(Self::Silu),
            _ => Err(format!(
                "the activation {name:?} is not supported; gelu, gelu_new, relu and silu are"
            )),
        }
    }
}
