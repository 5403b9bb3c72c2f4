//! Which tensor of a checkpoint is stored in which format: the one place that decides.
//!
//! In: a tensor that a model asks for. Out: its format. Vectors, tokens and positions stay f32;
//! the matrices of products and embeddings take the format that was asked for, or another one
//! where a rule says so; rows that cannot be packed become f16. Which matrices are worth more
//! than four bits was measured: see `docs/recipe.md`.

use crate::error::{Error, Result};
use crate::quant::Format;
use crate::weights::Wanted;

/// The matrices that [`Recipe::standard`] keeps in 8 bits in a 4-bit set.
const STANDARD_Q8: [&str; 2] = ["qformer.*", "vision_model.encoder.layers.0.*"];

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

    /// The format of a matrix; `None` for what is no matrix and stays as it is.
    #[must_use]
    pub fn storage(&self, wanted: &Wanted) -> Option<Format> {
        let rule = self.rules.iter().rev().find(|rule| glob(&rule.pattern, &wanted.name));
        let format = rule.map_or(self.format, |rule| rule.format);
        wanted.is_matrix().then(|| format.or_f16(wanted.rows().1))
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
    use crate::weights::{Part, Role};

    fn wanted(name: &str, role: Role, shape: &[usize]) -> Wanted {
        let (name, shape) = (name.into(), shape.to_vec());
        Wanted { name, shape, role, part: Part::Other, spread: 1.0, read: true }
    }

    fn of(recipe: &Recipe, name: &str) -> Format {
        recipe.storage(&wanted(name, Role::Product, &[4, 64])).unwrap()
    }

    #[test]
    fn matrices_and_the_rest() {
        let recipe = Recipe::new(Format::Q4);
        for (role, shape, format) in [
            (Role::Embedding, &[32128, 32][..], Some(Format::Q4)),
            (Role::Product, &[32, 48], Some(Format::F16)),
            (Role::Product, &[32, 3, 14, 14], Some(Format::F16)),
            (Role::Product, &[32, 3, 16, 16], Some(Format::Q4)),
            (Role::Learned, &[512, 32], None),
            (Role::Gain, &[32], None),
            (Role::Bias, &[32], None),
        ] {
            assert_eq!(recipe.storage(&wanted("x.weight", role, shape)), format, "{role:?}");
        }
    }

    #[test]
    fn the_last_rule_counts() {
        let recipe = Recipe::new(Format::Q4)
            .with_rule("*.wo.weight=q8")
            .unwrap()
            .with_rule("a.*=f32")
            .unwrap();
        assert_eq!(of(&recipe, "a.wo.weight"), Format::F32);
        assert_eq!(of(&recipe, "b.wo.weight"), Format::Q8);
        assert_eq!(of(&recipe, "b.wi.weight"), Format::Q4);
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
        assert_eq!(of(&standard, name), Format::Q8);
        assert_eq!(standard.idle_rules(&[]).count(), 0);
        assert_eq!(of(&standard.with_rule("*=q4").unwrap(), name), Format::Q4);
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
