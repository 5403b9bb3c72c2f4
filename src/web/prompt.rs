//! The prompts of `www/engine/prompts.js`, filled in by [`crate::prompt`].

use serde::{Deserialize, Serialize};

use crate::prompt::{Preset, dialogue, with_context};

/// A question with a template, as JavaScript names it.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Prompt {
    Caption,
    Description,
    ShortAnswer { question: String },
    Question { answer: String },
    Dialogue { turns: Vec<Turn>, question: String },
    Context { context: String, question: String },
}

/// An earlier question of a dialogue with its answer.
#[derive(Debug, Deserialize)]
pub struct Turn {
    question: String,
    answer: String,
}

/// A prompt's text.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filled {
    text: String,
    /// Turns of a dialogue that did not fit, the oldest.
    dropped_turns: usize,
}

impl Prompt {
    pub fn fill(self) -> Filled {
        let text = match self {
            Self::Caption => Preset::CaptionShort.prompt(""),
            Self::Description => Preset::CaptionLong.prompt(""),
            Self::ShortAnswer { question } => Preset::ShortAnswer.prompt(&question),
            Self::Question { answer } => Preset::QuestionForAnswer.prompt(&answer),
            Self::Dialogue { turns, question } => {
                let turns: Vec<_> = turns.into_iter().map(|t| (t.question, t.answer)).collect();
                dialogue(&turns, &question)
            }
            Self::Context { context, question } => with_context(&context, &question),
        };
        Filled { text, dropped_turns: 0 }
    }
}
