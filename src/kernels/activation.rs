//! The activation functions: a row each, from which follow the names in configuration files, the
//! shaders' `activate()` and the oracle.

use serde::Deserialize;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

/// Makes the table: names as in `transformers`, the first being ours; the function of `x` in WGSL,
/// over `erf()` and `sigmoid()` of `shaders/parts/activation.wgsl`; the function in f64.
macro_rules! activations {
    ($($(#[$doc:meta])* $Name:ident: [$($name:literal),+], $wgsl:literal, $function:expr;)+) => {
        /// An activation function, as `hidden_act` and its like name it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub enum Activation {
            $($(#[$doc])* $Name),+
        }

        impl Activation {
            /// Every function.
            pub const ALL: &[Self] = &[$(Self::$Name),+];

            /// Its names in configuration files.
            #[must_use]
            pub const fn names(self) -> &'static [&'static str] {
                match self { $(Self::$Name => &[$($name),+]),+ }
            }

            /// The WGSL function `activate`, which goes before `shaders/parts/activation.wgsl`.
            pub(super) const fn wgsl(activation: Option<Self>) -> &'static str {
                match activation {
                    None => "fn activate(x: f32) -> f32 { return x; }",
                    $(Some(Self::$Name) => {
                        concat!("fn activate(x: f32) -> f32 { return ", $wgsl, "; }")
                    }),+
                }
            }

            /// The function in f64.
            #[must_use]
            pub fn apply(self, x: f64) -> f64 {
                let function: fn(f64) -> f64 = match self { $(Self::$Name => $function),+ };
                function(x)
            }
        }
    };
}

activations! {
    /// x times the probability that a normal deviate is below it.
    Gelu: ["gelu", "gelu_python"],
        "0.5 * x * (1.0 + erf(x * 0.7071067811865476))",
        |x| 0.5 * x * (1.0 + libm::erf(x * FRAC_1_SQRT_2));
    /// GELU's approximation by tanh: `(1 + tanh(u)) / 2` is the sigmoid of `2 u`.
    GeluNew: ["gelu_new", "gelu_pytorch_tanh", "gelu_fast"],
        "x * sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))",
        |x| 0.5 * x * (1.0 + (FRAC_2_PI.sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
    /// GELU's approximation by the sigmoid.
    QuickGelu: ["quick_gelu"],
        "x * sigmoid(1.702 * x)",
        |x| x / (1.0 + (-1.702 * x).exp());
    /// x above zero.
    Relu: ["relu"],
        "max(x, 0.0)",
        |x| x.max(0.0);
    /// x times its sigmoid.
    Silu: ["silu", "swish"],
        "x * sigmoid(x)",
        |x| x / (1.0 + (-x).exp());
}

impl TryFrom<String> for Activation {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = |activation: &&Self| activation.names().contains(&name.as_str());
        Self::ALL.iter().find(known).copied().ok_or_else(|| {
            let names: Vec<&str> =
                Self::ALL.iter().flat_map(|known| known.names()).copied().collect();
            format!("the activation {name:?} is not supported; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Activation;

    /// `ACT2FN[name](torch.tensor(X, dtype=torch.float64)).tolist()`, transformers 4.57.6, torch 2.8.0.
    const X: [f64; 6] = [-20.0, -3.0, -0.75, 0.5, 2.0, 30.0];
    #[rustfmt::skip]
    const KNOWN: [(&str, [f64; 6]); 9] = [
        ("gelu", [-0.0, -0.00404969409489031, -0.16997051428265111, 0.34573123063700656, 1.9544997361036416, 30.0]),
        ("gelu_python", [-0.0, -0.00404969409489031, -0.16997051428265114, 0.34573123063700656, 1.9544997361036416, 30.0]),
        ("gelu_new", [-0.0, -0.0036373920817729943, -0.17003944483437966, 0.34571400982514394, 1.954597694087775, 30.0]),
        ("gelu_pytorch_tanh", [-0.0, -0.0036373920817729943, -0.17003944483437966, 0.34571400982514394, 1.954597694087775, 30.0]),
        ("gelu_fast", [-0.0, -0.003637392081860591, -0.17003944483495903, 0.34571400982483486, 1.9545976940871754, 30.0]),
        ("quick_gelu", [-3.2934102413993747e-14, -0.01807130970778597, -0.1636099424653622, 0.35038843660638014, 1.9356586231442083, 30.0]),
        ("relu", [0.0, 0.0, 0.0, 0.5, 2.0, 30.0]),
        ("silu", [-4.122307236380407e-08, -0.14227761953270035, -0.24061597561845527, 0.3112296656009273, 1.7615941559557646, 29.999999999997197]),
        ("swish", [-4.122307236380407e-08, -0.14227761953270035, -0.24061597561845527, 0.3112296656009273, 1.7615941559557646, 29.999999999997197]),
    ];

    #[test]
    fn every_name_is_the_reference_s_function() {
        let names: Vec<_> =
            Activation::ALL.iter().flat_map(|known| known.names()).copied().collect();
        assert_eq!(names, KNOWN.map(|(name, _)| name));
        for (name, values) in KNOWN {
            let activation = Activation::try_from(name.to_owned()).unwrap();
            for (x, value) in X.into_iter().zip(values) {
                let got = activation.apply(x);
                // gelu_fast writes its constant with ten digits.
                assert!((got - value).abs() < 1e-11, "{name}({x}) is {value}, not {got}");
            }
        }
        let refused = Activation::try_from("mish".to_owned()).unwrap_err();
        assert!(names.iter().all(|name| refused.contains(*name)), "{refused}");
    }
}
