//! The knobs: every option of generation, once.
//!
//! From the table at the end follow what a caller may ask ([`AskOptions`]), what a checkpoint says
//! ([`GenerationConfig`]), what holds when both were heard ([`Settings`]), the flags of the command
//! line, what the page shows and the types of its JavaScript (`www/engine/knobs.d.ts`). Names,
//! meaning and defaults are those of `transformers`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::check::{invalid, parse_json};
use crate::error::{Error, Result};

#[cfg(test)]
mod tests;

const GENERATION: &str = "generation_config.json";
/// More new tokens are refused: the key-value cache grows with them.
pub const LIMIT_MAX_NEW_TOKENS: usize = 1024;
/// Most beams, and most texts returned: the range of the official demo.
const LIMIT_NUM_BEAMS: f64 = 10.0;

/// An option of generation. What is serialised of it is for the page.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Knob {
    /// In Rust and in files; with hyphens, the flag.
    pub name: &'static str,
    /// What it does.
    #[serde(skip)]
    pub doc: &'static str,
    /// What its values are.
    #[serde(flatten)]
    pub kind: Kind,
    /// Which of them are taken.
    #[serde(skip)]
    pub range: Range,
    /// Which of them a file may have: a caller can still overrule what goes beyond `range`.
    #[serde(skip)]
    pub file: Range,
    /// What the command line calls a value.
    #[serde(skip)]
    pub unit: &'static str,
    /// Where the page shows it.
    pub group: Group,
    /// What it does, for a visitor.
    pub hint: &'static str,
    /// Least value, largest and step on the page; without, those of `range`, in whole steps.
    pub slider: Option<[f64; 3]>,
    /// Without which it does nothing.
    pub needs: Option<Needs>,
}

/// What values a knob has, and which unless told otherwise.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "kind", content = "default", rename_all = "kebab-case")]
pub enum Kind {
    /// A whole number.
    Count(usize),
    /// Any number.
    Number(f32),
    /// On or off.
    Flag(bool),
    /// A whole number, each time a new one unless told otherwise.
    Seed,
    /// Texts, none unless told otherwise.
    Texts,
}

type Count = usize;
type Number = f32;
type Flag = bool;
type Seed = Option<u32>;
type Texts = Vec<String>;

/// Values that a knob may have. What is no number, or has no end, is in none.
#[derive(Clone, Copy, Debug)]
pub enum Range {
    /// All.
    Any,
    /// From here on.
    From(f64),
    /// Beyond this.
    Above(f64),
    /// Up to this.
    AtMost(f64),
    /// From one to the other.
    Between(f64, f64),
}

impl Range {
    fn holds(self, value: f64) -> bool {
        let inside = match self {
            Self::Any => true,
            Self::From(low) => value >= low,
            // A GPU may take smaller differences for none.
            Self::Above(low) => value - low >= f64::from(f32::MIN_POSITIVE),
            Self::AtMost(high) => value <= high,
            Self::Between(low, high) => (low..=high).contains(&value),
        };
        inside && value.is_finite()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => write!(f, "a number"),
            Self::From(low) => write!(f, "at least {low}"),
            Self::Above(low) => write!(f, "above {low}"),
            Self::AtMost(high) => write!(f, "at most {high}"),
            Self::Between(low, high) => write!(f, "between {low} and {high}"),
        }
    }
}

/// The page's groups, in their order there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Group {
    /// Of the most likely text.
    Search,
    /// Of drawing tokens.
    Chance,
    /// Of what was said.
    Repetition,
    /// Of answers.
    Length,
}

/// What a knob does nothing without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Needs {
    /// Tokens are drawn.
    Sampling,
    /// They are not.
    Search,
    /// There are several beams.
    Beams,
}

impl Knob {
    const PLAIN: Self = Self {
        name: "",
        doc: "",
        kind: Kind::Texts,
        range: Range::Any,
        file: Range::Any,
        unit: "",
        group: Group::Search,
        hint: "",
        slider: None,
        needs: None,
    };

    const fn with_slider(mut self) -> Self {
        if let (None, Range::Between(low, high)) = (self.slider, self.range) {
            self.slider = Some([low, high, 1.0]);
        }
        self
    }

    /// Its name in JavaScript: `numBeams` for `num_beams`.
    #[must_use]
    pub fn option(&self) -> String {
        let mut words = self.name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| {
            let (letter, rest) = word.split_at(word.len().min(1));
            name + &letter.to_ascii_uppercase() + rest
        })
    }

    /// What it does, its range and its default, without a full stop.
    #[must_use]
    pub fn help(&self) -> String {
        let doc = self.doc.trim_end_matches('.');
        let range = match self.range {
            Range::Between(low, high) => format!(", {low} to {high}"),
            _ => String::new(),
        };
        let default = match self.kind {
            Kind::Count(value) => format!(" [default: {value}]"),
            Kind::Number(value) => format!(" [default: {value}]"),
            Kind::Seed => " [default: a new one]".into(),
            Kind::Flag(_) | Kind::Texts => String::new(),
        };
        format!("{doc}{range}{default}")
    }

    fn check(&self, value: impl Value) -> Result<()> {
        if self.range.holds(value.number()) {
            return Ok(());
        }
        let reason = format!("{value} is not {}", self.range);
        Err(Error::OptionInvalid { option: self.option(), reason })
    }

    fn check_file(&self, value: impl Value) -> Result<()> {
        if self.file.holds(value.number()) {
            return Ok(());
        }
        Err(invalid(GENERATION, format!("{} must be {}", self.name, self.file)))
    }
}

/// What has a range.
trait Value: Copy + fmt::Display {
    fn number(self) -> f64;
}

impl Value for Count {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Value for Number {
    fn number(self) -> f64 {
        self.into()
    }
}

impl Value for Flag {
    fn number(self) -> f64 {
        u8::from(self).into()
    }
}

/// `checkpoint` are knobs that `generation_config.json` may set too, `caller` those it may not.
macro_rules! knobs {
    ($(
        checkpoint { $(
            $(#[doc = $doc:literal])+
            $name:ident: $kind:ident = $default:literal { $($field:ident: $value:expr,)* }
        )* }
        caller { $(
            $(#[doc = $own_doc:literal])+
            $own:ident: $own_kind:ident { $($own_field:ident: $own_value:expr,)* }
        )* }
    )*) => {
        /// All knobs.
        pub static KNOBS: &[Knob] = &[$( $(row::$name,)* $(row::$own,)* )*];

        #[allow(non_upper_case_globals, clippy::needless_update)]
        mod row {
            use super::*;
            $(
                $(pub const $name: Knob = Knob {
                    name: stringify!($name),
                    doc: concat!($($doc),+).trim_ascii(),
                    kind: Kind::$kind($default),
                    $($field: $value,)*
                    ..Knob::PLAIN
                }.with_slider();)*
                $(pub const $own: Knob = Knob {
                    name: stringify!($own),
                    doc: concat!($($own_doc),+).trim_ascii(),
                    kind: Kind::$own_kind,
                    $($own_field: $own_value,)*
                    ..Knob::PLAIN
                }.with_slider();)*
            )*
        }

        /// How to answer. What is not set here comes from the checkpoint's
        /// `generation_config.json`, and what is not there either has the default of
        /// `transformers`, which is greedy decoding.
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct AskOptions {
            $(
                $(
                    $(#[doc = $doc])+
                    #[doc = concat!("\n\nUnless told otherwise ", stringify!($default), ".")]
                    pub $name: Option<$kind>,
                )*
                $( $(#[doc = $own_doc])+ pub $own: $own_kind, )*
            )*
            /// No knob of decoding: whether the Q-Former reads the question. Without it, its queries
            /// look at the picture alone, and only the language model knows what was asked.
            ///
            /// Unless told otherwise true.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub instruction_aware: Option<bool>,
        }

        /// Defaults of decoding; every field may be absent. Others of the file are passed over:
        /// the ids of start, end and padding are those of `config.json`, and the length is
        /// `max_new_tokens` alone.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct GenerationConfig {
            $( $( $(#[doc = $doc])+ pub $name: Option<$kind>, )* )*
        }

        /// How to answer, when the caller and the checkpoint were heard.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $(
                $( $(#[doc = $doc])+ pub $name: $kind, )*
                $( $(#[doc = $own_doc])+ pub $own: $own_kind, )*
            )*
        }

        impl Default for Settings {
            fn default() -> Self {
                AskOptions::default().over(&GenerationConfig::default())
            }
        }

        impl AskOptions {
            /// Fills in what is not set.
            #[must_use]
            pub fn over(&self, file: &GenerationConfig) -> Settings {
                Settings {
                    $(
                        $( $name: self.$name.or(file.$name).unwrap_or($default), )*
                        $( $own: self.$own.clone(), )*
                    )*
                }
            }
        }

        impl Settings {
            /// Compares each with its range, but for what matters only when tokens are drawn and
            /// they are not.
            ///
            /// # Errors
            /// [`Error::OptionInvalid`].
            pub fn check(&self) -> Result<()> {
                $($(
                    if self.do_sample || row::$name.needs != Some(Needs::Sampling) {
                        row::$name.check(self.$name)?;
                    }
                )*)*
                Ok(())
            }
        }

        impl GenerationConfig {
            /// Parses and checks `generation_config.json`.
            ///
            /// # Errors
            /// [`Error::ConfigInvalid`] where it is malformed or a number is out of its range.
            pub fn parse(bytes: &[u8]) -> Result<Self> {
                let config: Self = parse_json(GENERATION, bytes)?;
                $($( config.$name.map_or(Ok(()), |value| row::$name.check_file(value))?; )*)*
                Ok(config)
            }
        }
    };
}

knobs! {
    checkpoint {
        /// At most this many tokens.
        max_new_tokens: Count = 256 {
            range: Range::Between(1.0, LIMIT_MAX_NEW_TOKENS as f64),
            file: Range::AtMost(65536.0),
            unit: "TOKENS",
            group: Group::Length,
            hint: "Tokens after which it is cut.",
            slider: Some([1.0, 500.0, 1.0]),
        }
        /// No end before this many tokens, the start token counted.
        min_length: Count = 0 {
            file: Range::AtMost(65536.0),
            unit: "TOKENS",
            group: Group::Length,
            hint: "Tokens before the answer may end, the start token counted.",
            slider: Some([0.0, 50.0, 1.0]),
        }
        /// Beam search with this many beams.
        num_beams: Count = 1 {
            range: Range::Between(1.0, LIMIT_NUM_BEAMS),
            file: Range::Between(1.0, 64.0),
            unit: "BEAMS",
            group: Group::Search,
            hint: "Answers followed side by side. 1 takes the likeliest token each time. \
                   Not with do_sample.",
            needs: Some(Needs::Search),
        }
        /// Draw tokens in place of taking the most likely.
        do_sample: Flag = false {
            group: Group::Chance,
            hint: "Draw each token instead of taking the likeliest.",
        }
        /// Divides the logits of a draw.
        temperature: Number = 1.0 {
            range: Range::Above(0.0),
            file: Range::From(0.0),
            unit: "TEMPERATURE",
            group: Group::Chance,
            hint: "Below 1 is more careful, above 1 more daring.",
            slider: Some([0.1, 2.0, 0.1]),
            needs: Some(Needs::Sampling),
        }
        /// Draw among this many of the most likely tokens, 0 for all.
        top_k: Count = 50 {
            unit: "TOKENS",
            group: Group::Chance,
            hint: "Draw among this many tokens; 0 is all.",
            slider: Some([0.0, 200.0, 1.0]),
            needs: Some(Needs::Sampling),
        }
        /// Draw among the most likely tokens whose probabilities reach this sum.
        top_p: Number = 1.0 {
            range: Range::Between(0.0, 1.0),
            file: Range::Between(0.0, 1.0),
            unit: "SUM",
            group: Group::Chance,
            hint: "Draw among the likeliest tokens that hold this share.",
            slider: Some([0.5, 1.0, 0.01]),
            needs: Some(Needs::Sampling),
        }
    }
    caller {
        /// The same seed draws the same tokens.
        seed: Seed {
            unit: "SEED",
            group: Group::Chance,
            hint: "The same seed draws the same answer. Empty is a new one each time.",
            slider: Some([0.0, u32::MAX as f64, 1.0]),
            needs: Some(Needs::Sampling),
        }
    }
    checkpoint {
        /// Of beams: above 0 favours long answers, below 0 short ones.
        length_penalty: Number = 1.0 {
            range: Range::Between(-10.0, 10.0),
            unit: "EXPONENT",
            group: Group::Search,
            hint: "Above 0 favours long beams, below 0 short ones.",
            slider: Some([-1.0, 2.0, 0.1]),
            needs: Some(Needs::Beams),
        }
        /// Above 1 discourages what was said.
        repetition_penalty: Number = 1.0 {
            range: Range::Above(0.0),
            unit: "FACTOR",
            group: Group::Repetition,
            hint: "Above 1 avoids tokens that were said.",
            slider: Some([0.1, 3.0, 0.1]),
        }
        /// No run of this many tokens comes twice; 0 for no such rule.
        no_repeat_ngram_size: Count = 0 {
            unit: "TOKENS",
            group: Group::Repetition,
            hint: "No run of this many tokens twice; 0 is off.",
            slider: Some([0.0, 10.0, 1.0]),
        }
        /// Return this many answers: at most as many as beams, or drawn.
        num_return_sequences: Count = 1 {
            range: Range::Between(1.0, LIMIT_NUM_BEAMS),
            unit: "ANSWERS",
            group: Group::Search,
            hint: "Answers shown: at most num_beams, or drawn one by one.",
        }
    }
    caller {
        /// End the answer with the token that completes one of these.
        stop_strings: Texts {
            unit: "TEXT",
            group: Group::Length,
            hint: "The answer ends with any of these, one a line.",
        }
    }
}
