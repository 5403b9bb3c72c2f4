//! Which tensor of a checkpoint is stored in which format: the one place that decides.
//!
//! In: a tensor's name and shape. Out: [`Storage`]. Vectors, tokens and positions stay f32;
//! the matrices of products and embeddings take the format that was asked for, or another one
//! where a rule says so; rows that cannot be packed become f16. Which matrices are worth more
//! than four bits was measured: see `docs/recipe.md`.

use super::layout::as_matrix;
use crate::error::{Error, Result};
use crate::quant::Format;

/// The matrices that [`Recipe::standard`] keeps in 8 bits in a 4-bit set.
const STANDARD_Q8: [&str; 2] = ["qformer.*", "vision_model.encoder.layers.0.*"];

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// As f32 in its own shape.
    Plain,
    /// As a matrix `[n, k]`.
    Matrix {
        /// The format of its weights.
        format: Format,
        /// Rows (outputs).
        n: usize,
        /// Weights in a row (inputs).
        k: usize,
    },
}

/// A format for the matrices, and rules for those that are stored otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    format: Format,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: String,
    format: Format,
    /// Whether the user asked for it, and is told where it matches nothing.
    asked: bool,
}

impl Recipe {
    /// All matrices in `format`.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, rules: Vec::new() }
    }

    /// All matrices in `format`; for [`Format::Q4`] without those where four bits cost the most.
    #[must_use]
    pub fn standard(format: Format) -> Self {
        let rule =
            |pattern: &str| Rule { pattern: pattern.into(), format: Format::Q8, asked: false };
        let rules = match format {
            Format::Q4 => STANDARD_Q8.into_iter().map(rule).collect(),
            _ => Vec::new(),
        };
        Self { format, rules }
    }

    /// The format of the matrices without a rule of their own.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Adds a rule `PATTERN=FORMAT`, such as `*.lm_head.weight=q8`; `*` stands for any run of
    /// characters. Of several rules that match, the last one added counts.
    ///
    /// # Errors
    /// [`Error::OptionInvalid`] where the text is no rule.
    pub fn with_rule(mut self, text: &str) -> Result<Self> {
        let rule = text.split_once('=').filter(|(pattern, _)| !pattern.is_empty());
        let (pattern, format) = rule.ok_or_else(|| Error::OptionInvalid {
            option: "keep".into(),
            reason: format!("{text:?} is not of the form PATTERN=FORMAT"),
        })?;
        self.rules.push(Rule { pattern: pattern.into(), format: format.parse()?, asked: true });
        Ok(self)
    }

    /// The patterns that match none of `matrices`: most likely a slip of the pen.
    pub fn idle_rules<'a>(&'a self, matrices: &'a [&str]) -> impl Iterator<Item = &'a str> {
        let idle =
            |rule: &&Rule| rule.asked && !matrices.iter().any(|name| glob(&rule.pattern, name));
        self.rules.iter().filter(idle).map(|rule| rule.pattern.as_str())
    }

    /// How the tensor `name` of this shape is stored.
    #[must_use]
    pub fn storage(&self, name: &str, shape: &[usize]) -> Storage {
        let Some((n, k)) = as_matrix(name, shape) else {
            return Storage::Plain;
        };
        let rule = self.rules.iter().rev().find(|rule| glob(&rule.pattern, name));
        let format = rule.map_or(self.format, |rule| rule.format).or_f16(k);
        Storage::Matrix { format, n, k }
    }
}

/// Whether `text` is of the form of `pattern`, where `*` stands for any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut rest) = text.strip_prefix(head) else {
        return false;
    };
    // Every piece between two stars is taken at its first place, the last one at the end.
    let mut pieces = tail.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::checkpoint::names::PATCH;

    #[test]
    fn matrices_and_the_rest() {
        let recipe = Recipe::new(Format::Q4);
        let matrix = |format, n, k| Storage::Matrix { format, n, k };
        for (name, shape, storage) in [
            ("language_model.shared.weight", &[32128, 32][..], matrix(Format::Q4, 32128, 32)),
            ("qformer.embeddings.word_embeddings.weight", &[9, 64], matrix(Format::Q4, 9, 64)),
            (
                "language_model.encoder.block.0.layer.0.SelfAttention.o.weight",
                &[32, 48],
                matrix(Format::F16, 32, 48),
            ),
            (PATCH, &[32, 3, 14, 14], matrix(Format::F16, 32, 588)),
            (PATCH, &[32, 3, 16, 16], matrix(Format::Q4, 32, 768)),
            ("qformer.embeddings.position_embeddings.weight", &[512, 32], Storage::Plain),
            ("vision_model.embeddings.position_embedding", &[1, 17, 32], Storage::Plain),
            ("vision_model.embeddings.class_embedding", &[1, 1, 32], Storage::Plain),
            ("query_tokens", &[1, 8, 32], Storage::Plain),
            ("x.SelfAttention.relative_attention_bias.weight", &[32, 32], Storage::Plain),
            ("x.layer_norm.weight", &[32], Storage::Plain),
            ("x.weight", &[0, 32], Storage::Plain),
            ("x.weight", &[32, 2, 2], Storage::Plain),
        ] {
            assert_eq!(recipe.storage(name, shape), storage, "{name}");
        }
    }

    #[test]
    fn the_last_rule_counts() {
        let recipe = Recipe::new(Format::Q4)
            .with_rule("*.wo.weight=q8")
            .unwrap()
            .with_rule("a.*=f32")
            .unwrap();
        let format = |name| match recipe.storage(name, &[4, 64]) {
            Storage::Matrix { format, .. } => format,
            Storage::Plain => panic!("{name}"),
        };
        assert_eq!(format("a.wo.weight"), Format::F32);
        assert_eq!(format("b.wo.weight"), Format::Q8);
        assert_eq!(format("b.wi.weight"), Format::Q4);
        assert_eq!(recipe.idle_rules(&["b.wo.weight"]).collect::<Vec<_>>(), ["a.*"]);
        for bad in ["", "q8", "=q8", "x=q5", "x="] {
            assert_eq!(
                Recipe::new(Format::Q4).with_rule(bad).unwrap_err().code(),
                "option-invalid"
            );
        }
    }

    #[test]
    fn the_standard_recipe_can_be_taken_back() {
        let name = "qformer.encoder.layer.0.attention.attention.query.weight";
        let standard = Recipe::standard(Format::Q4);
        let q = |recipe: &Recipe| match recipe.storage(name, &[4, 64]) {
            Storage::Matrix { format, .. } => format,
            Storage::Plain => panic!("{name}"),
        };
        assert_eq!(q(&standard), Format::Q8);
        assert_eq!(standard.idle_rules(&[]).count(), 0);
        assert_eq!(q(&standard.with_rule("*=q4").unwrap()), Format::Q4);
        for format in [Format::Q8, Format::F16, Format::F32] {
            assert_eq!(Recipe::standard(format), Recipe::new(format));
        }
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, fits) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("ab*bc", "abc", false),
            ("*b*", "abc", true),
            ("*b*b*", "abc", false),
            ("a**c", "abc", true),
            ("*.é*", "x.éy", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
