//! Instruction templates.
//!
//! In: what a person typed, or nothing. Out: the prompt that goes to both tokenizers. The
//! wordings are those the InstructBLIP paper (arXiv 2305.06500, appendix) trained and
//! evaluated with; the model answers best to sentences it has seen. [`Preset::Free`] passes
//! the text unchanged.

use serde::{Deserialize, Serialize};

/// A kind of request with its template.
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
    /// All presets, in the order the page shows them.
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
                ("Given an image, generate a question whose answer is: ", Some(". Question:"))
            }
        }
    }

    /// Whether the template has a place for text.
    #[must_use]
    pub const fn takes_text(self) -> bool {
        self.parts().1.is_some()
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
pub fn dialogue(turns: &[(String, String)], question: &str) -> String {
    if turns.is_empty() {
        return Preset::ShortAnswer.prompt(question);
    }
    let history: Vec<String> = turns.iter().map(|(q, a)| format!("{q} {a}")).collect();
    format!("Dialog history: {}\n Question: {question} Short answer:", history.join(" "))
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
            assert_eq!(prompt.contains(text), preset.takes_text(), "{preset:?}");
        }
        assert_eq!(Preset::Free.prompt(text), text);
    }

    #[test]
    fn the_paper_s_forms() {
        assert_eq!(
            Preset::ShortAnswer.prompt("How many cats?"),
            "Question: How many cats? Short answer:"
        );
        assert_eq!(
            Preset::QuestionForAnswer.prompt("two"),
            "Given an image, generate a question whose answer is: two. Question:"
        );
        assert_eq!(dialogue(&[], "why?"), "Question: why? Short answer:");
        assert_eq!(
            dialogue(&[("is it a cat?".into(), "yes".into())], "what colour?"),
            "Dialog history: is it a cat? yes\n Question: what colour? Short answer:"
        );
    }

    #[test]
    fn an_empty_text_stays_empty_where_text_is_wanted() {
        for preset in Preset::ALL {
            assert_eq!(preset.prompt(" \n").is_empty(), preset.takes_text());
        }
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
