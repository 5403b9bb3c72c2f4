//! Instruction templates.
//!
//! In: a [`Prompt`], what a person wants and typed. Out: the text that goes to both tokenizers.
//! The wordings are those the InstructBLIP paper (arXiv 2305.06500, appendix) trained and
//! evaluated with; the model answers best to sentences it has seen. Free text needs no prompt.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::error::Result;
use crate::text::Tokenizers;

/// A request to the model, typed. In JSON its name is in `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Prompt {
    /// One sentence about the picture.
    Caption,
    /// All there is to see.
    Description,
    /// A question, answered in a word or two.
    ShortAnswer {
        /// The question.
        question: String,
    },
    /// A question, answered at length: as in the paper's conversations, the question alone.
    LongAnswer {
        /// The question.
        question: String,
    },
    /// A question to make up, whose answer is given.
    Question {
        /// Its answer.
        answer: String,
    },
    /// A question with the answers to choose from.
    MultipleChoice {
        /// The question.
        question: String,
        /// The answers.
        options: Vec<String>,
    },
    /// The next question of a dialogue.
    Dialogue {
        /// What was said, oldest first.
        turns: Vec<Turn>,
        /// The next question.
        question: String,
    },
    /// A question about a picture with a text that belongs to it.
    Context {
        /// The text.
        context: String,
        /// The question.
        question: String,
    },
}

/// A question of a dialogue and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(rename = "DialogueTurn")]
pub struct Turn {
    /// What was asked.
    pub question: String,
    /// What was answered.
    pub answer: String,
}

/// A prompt's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(rename = "FilledPrompt")]
pub struct Filled {
    /// For both tokenizers.
    pub text: String,
    /// Turns of a dialogue, the oldest, that were left out because the model takes no more.
    pub dropped_turns: usize,
}

impl Prompt {
    /// The text, however long.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Caption => Preset::CaptionShort.prompt(""),
            Self::Description => Preset::CaptionLong.prompt(""),
            Self::ShortAnswer { question } => Preset::ShortAnswer.prompt(question),
            Self::LongAnswer { question } => Preset::Free.prompt(question),
            Self::Question { answer } => Preset::QuestionForAnswer.prompt(answer),
            Self::MultipleChoice { question, options } => multiple_choice(question, options),
            Self::Dialogue { turns, question } => dialogue(turns, question),
            Self::Context { context, question } => with_context(context, question),
        }
    }

    /// The text that the model reads whole, if any does: a dialogue loses its oldest turns until
    /// it fits both tokenizers' lengths. Other prompts lose their beginning when tokenised.
    ///
    /// # Errors
    /// A tokenizer turns out broken.
    pub fn fill(&self, tokenizers: &Tokenizers) -> Result<Filled> {
        let Self::Dialogue { turns, question } = self else {
            return Ok(Filled { text: self.text(), dropped_turns: 0 });
        };
        // The fewest turns to drop: halving, since a shorter history never has more tokens.
        let (mut few, mut enough) = (0, turns.len());
        while few < enough {
            let middle = few.midpoint(enough);
            if tokenizers.encode_any(&dialogue(&turns[middle..], question))?.truncated {
                few = middle + 1;
            } else {
                enough = middle;
            }
        }
        Ok(Filled { text: dialogue(&turns[few..], question), dropped_turns: few })
    }
}

/// A template with at most one place for text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The text as it is.
    #[default]
    Free,
    /// One sentence about the picture.
    CaptionShort,
    /// All there is to see.
    CaptionLong,
    /// A question, answered in a word or two.
    ShortAnswer,
    /// A question, answered in at most three words.
    ThreeWords,
    /// A question whose answer is given.
    QuestionForAnswer,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Free,
        Self::CaptionShort,
        Self::CaptionLong,
        Self::ShortAnswer,
        Self::ThreeWords,
        Self::QuestionForAnswer,
    ];

    /// The text before and after what the person typed; `None` where nothing is typed.
    const fn parts(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Free => ("", Some("")),
            Self::CaptionShort => ("A short image description:", None),
            Self::CaptionLong => ("Write a detailed description for the photo.", None),
            Self::ShortAnswer => ("Question: ", Some(" Short answer:")),
            Self::ThreeWords => (
                "Given the image, answer the following question with no more than three words. ",
                Some(""),
            ),
            Self::QuestionForAnswer => {
                ("Given the image, generate a question whose answer is: ", Some(". Question:"))
            }
        }
    }

    /// The prompt for `text`, which goes in unchanged; ignored where the template has no place
    /// for it. Only an empty text stays empty, so that it is refused as an empty question.
    #[must_use]
    pub fn prompt(self, text: &str) -> String {
        match self.parts() {
            (before, None) => before.to_owned(),
            _ if text.trim().is_empty() => String::new(),
            (before, Some(after)) => format!("{before}{text}{after}"),
        }
    }
}

/// The prompt of a dialogue's next question: earlier questions and answers go before it, in
/// the form of the paper's visual dialogue task.
#[must_use]
pub fn dialogue(turns: &[Turn], question: &str) -> String {
    if turns.is_empty() {
        return Preset::ShortAnswer.prompt(question);
    }
    let history: Vec<String> =
        turns.iter().map(|turn| format!("{} {}", turn.question, turn.answer)).collect();
    format!("Dialog history: {}\n Question: {question} Short answer:", history.join(" "))
}

/// A question with lettered options, in the form of the paper's multiple-choice tasks; beyond z
/// they have numbers.
#[must_use]
pub fn multiple_choice(question: &str, options: &[String]) -> String {
    format!("Question: {question} Options: {}. Short answer:", lettered(options))
}

/// `(a) blue (b) yellow`, as the paper writes options.
#[must_use]
pub fn lettered(options: &[String]) -> String {
    let letters = ('a'..='z').map(String::from).chain((27..).map(|n: usize| n.to_string()));
    let options: Vec<String> =
        letters.zip(options).map(|(letter, option)| format!("({letter}) {option}")).collect();
    options.join(" ")
}

/// A question about a picture with a text that belongs to it.
#[must_use]
pub fn with_context(context: &str, question: &str) -> String {
    format!("Context: {context} Question: {question} Answer:")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn text_passes_unchanged() {
        let text = "  What's {this}? % \n 東京 ";
        for preset in Preset::ALL {
            let prompt = preset.prompt(text);
            assert_eq!(prompt.contains(text), preset.parts().1.is_some(), "{preset:?}");
        }
        assert_eq!(Preset::Free.prompt(text), text);
    }

    fn turn(question: &str, answer: &str) -> Turn {
        Turn { question: question.into(), answer: answer.into() }
    }

    #[test]
    fn the_paper_s_forms() {
        assert_eq!(
            multiple_choice("Which colour?", &["blue".into(), "yellow".into()]),
            "Question: Which colour? Options: (a) blue (b) yellow. Short answer:"
        );
        let many: Vec<String> = (0..28).map(|i| format!("o{i}")).collect();
        assert!(lettered(&many).ends_with("(z) o25 (27) o26 (28) o27"));
        assert_eq!(
            Preset::ShortAnswer.prompt("How many cats?"),
            "Question: How many cats? Short answer:"
        );
        assert_eq!(
            Preset::QuestionForAnswer.prompt("two"),
            "Given the image, generate a question whose answer is: two. Question:"
        );
        assert_eq!(dialogue(&[], "why?"), "Question: why? Short answer:");
        assert_eq!(
            dialogue(&[turn("is it a cat?", "yes")], "what colour?"),
            "Dialog history: is it a cat? yes\n Question: what colour? Short answer:"
        );
    }

    #[test]
    fn an_empty_text_stays_empty_where_text_is_wanted() {
        for preset in Preset::ALL {
            assert_eq!(preset.prompt(" \n").is_empty(), preset.parts().1.is_some());
        }
    }

    /// Names in JSON are the JavaScript API's.
    #[test]
    fn prompts_read_json() {
        let text = |json: &str| serde_json::from_str::<Prompt>(json).unwrap().text();
        assert_eq!(text(r#"{"kind": "caption"}"#), "A short image description:");
        assert_eq!(text(r#"{"kind": "long-answer", "question": "Why?"}"#), "Why?");
        assert_eq!(
            text(r#"{"kind": "short-answer", "question": "Why?"}"#),
            "Question: Why? Short answer:"
        );
        assert_eq!(
            text(r#"{"kind": "question", "answer": "two"}"#),
            Preset::QuestionForAnswer.prompt("two")
        );
        assert_eq!(
            text(r#"{"kind": "multiple-choice", "question": "Q?", "options": ["x"]}"#),
            "Question: Q? Options: (a) x. Short answer:"
        );
        assert_eq!(
            text(
                r#"{"kind": "dialogue", "turns": [{"question": "a?", "answer": "b"}], "question": "c?"}"#
            ),
            "Dialog history: a? b\n Question: c? Short answer:"
        );
        assert_eq!(
            text(r#"{"kind": "context", "context": "C", "question": "Q?"}"#),
            with_context("C", "Q?")
        );
        assert!(text(r#"{"kind": "description"}"#).contains("detailed"));
        assert!(serde_json::from_str::<Prompt>(r#"{"kind": "shout"}"#).is_err());
    }

    #[test]
    fn names_are_stable() {
        let names: Vec<String> =
            Preset::ALL.iter().map(|p| serde_json::to_string(p).unwrap()).collect();
        assert_eq!(
            names.join(" "),
            r#""free" "caption-short" "caption-long" "short-answer" "three-words" "question-for-answer""#
        );
    }
}
