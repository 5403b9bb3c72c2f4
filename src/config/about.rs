//! What a shard set says of itself: what its model was trained on, and how to take its answers.
//!
//! A section of `config.json`, written by `instructblip convert --about`. It is for visitors and
//! changes no computation. Whoever made the set wrote it: texts are bounded here, and shown as
//! texts only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::{FILE, invalid, parse_json, section};
use crate::error::Result;

/// Its name in `config.json`.
pub const SECTION: &str = "instructblip_web_about";

/// The fields of the section.
const FIELDS: [&str; 4] = ["knows", "language", "dialogues", "unsure_below"];
/// Most languages of [`About::knows`].
const MAX_LANGUAGES: usize = 64;
/// Most characters of a sentence.
const MAX_TEXT: usize = 300;
/// Most characters of a language's tag.
const MAX_TAG: usize = 35;

/// What a shard set says of itself; all of it may be absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// What the model was trained on, to follow the word "Knows", by language.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub knows: BTreeMap<String, String>,
    /// The language that it is asked in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Whether it was trained on dialogues: whether earlier turns help it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialogues: Option<bool>,
    /// Greedy answers of a lower [probability](crate::session::Answer::probability) are often wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsure_below: Option<f64>,
}

impl About {
    /// The section of a `config.json`, where there is one. Fields that are not known are passed
    /// over: a newer version may have written them.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::error::Error::ConfigInvalid) where a field is of another type, or a text is too
    /// long or not for a page.
    pub fn of_config(bytes: &[u8]) -> Result<Option<Self>> {
        let about: Option<Self> = section(bytes, SECTION)?;
        about.map(|about| about.checked(FILE)).transpose()
    }

    /// A file that holds the section alone. A field that is not known is a mistake there.
    ///
    /// # Errors
    /// As [`About::of_config`].
    pub fn of_file(file: &str, bytes: &[u8]) -> Result<Self> {
        let fields: BTreeMap<String, serde::de::IgnoredAny> = parse_json(file, bytes)?;
        if let Some(other) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            let known = FIELDS.join(", ");
            return Err(invalid(file, format!("it has a field {other:?}; known are {known}")));
        }
        parse_json::<Self>(file, bytes)?.checked(file)
    }

    fn checked(self, file: &str) -> Result<Self> {
        let fail = |reason: String| Err(invalid(file, format!("{SECTION}: {reason}")));
        if self.knows.len() > MAX_LANGUAGES {
            return fail(format!("knows has more than {MAX_LANGUAGES} languages"));
        }
        for tag in self.knows.keys().chain(&self.language) {
            if !is_tag(tag) {
                return fail(format!("{tag:?} is not the tag of a language, such as \"en\""));
            }
        }
        for (tag, text) in &self.knows {
            let length = text.chars().count();
            if text.trim().is_empty() || length > MAX_TEXT || text.chars().any(char::is_control) {
                return fail(format!(
                    "knows in {tag:?} must be one line of 1 to {MAX_TEXT} characters"
                ));
            }
        }
        match self.unsure_below {
            Some(below) if !(below > 0.0 && below < 1.0) => {
                fail(format!("unsure_below is {below}; it must be between 0 and 1"))
            }
            _ => Ok(self),
        }
    }
}

/// Whether a text has the form of BCP 47: `de`, `zh-Hant`.
fn is_tag(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let alphanumeric = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric());
    let first = parts.next().unwrap_or_default();
    tag.len() <= MAX_TAG
        && matches!(first.len(), 2 | 3)
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && parts.all(|part| matches!(part.len(), 1..=8) && alphanumeric(part))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::{Value, json};

    fn of_config(section: &Value) -> Result<Option<About>> {
        let config = json!({ "model_type": "x", SECTION: section });
        About::of_config(config.to_string().as_bytes())
    }

    #[test]
    fn a_section_is_read_and_written_again() {
        let section = json!({
            "knows": { "en": "drawn shapes", "zh-Hant": "圖形" },
            "language": "en",
            "dialogues": false,
            "unsure_below": 0.5,
        });
        let about = of_config(&section).unwrap().unwrap();
        assert_eq!((about.dialogues, about.unsure_below), (Some(false), Some(0.5)));
        assert_eq!(serde_json::to_value(&about).unwrap(), section);
        assert_eq!(About::of_file("a.json", section.to_string().as_bytes()).unwrap(), about);
        assert_eq!(About::of_config(b"{}").unwrap(), None);
        assert_eq!(of_config(&json!({ "later": 1 })).unwrap(), Some(About::default()));
        let error = About::of_file("a.json", br#"{"know": {}}"#).unwrap_err();
        assert!(error.to_string().contains("\"know\""), "{error}");
    }

    #[test]
    fn pocket_says_what_its_recipe_does() {
        let pocket = About::of_config(include_bytes!("../../www/pocket/config.json"));
        let recipe = include_bytes!("../../tools/pocket/about.json");
        assert_eq!(pocket.unwrap().unwrap(), About::of_file("about.json", recipe).unwrap());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let many: BTreeMap<String, &str> = (0..65).map(|n| (format!("en-{n:03}"), "x")).collect();
        for section in [
            json!(1),
            json!(["x"]),
            json!({ "knows": "shapes" }),
            json!({ "knows": ["shapes"] }),
            json!({ "knows": { "en": 1 } }),
            json!({ "knows": { "en": " " } }),
            json!({ "knows": { "en": "a\nb" } }),
            json!({ "knows": { "en": "x".repeat(301) } }),
            json!({ "knows": { "__proto__": "x" } }),
            json!({ "knows": { "toString": "x" } }),
            json!({ "knows": many }),
            json!({ "language": "english" }),
            json!({ "language": true }),
            json!({ "dialogues": "no" }),
            json!({ "unsure_below": "0.5" }),
            json!({ "unsure_below": 0 }),
            json!({ "unsure_below": 1 }),
            json!({ "unsure_below": 1e39 }),
        ] {
            assert_eq!(of_config(&section).unwrap_err().code(), "config-invalid", "{section}");
        }
    }
}
