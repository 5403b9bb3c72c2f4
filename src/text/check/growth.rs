//! The parts of a tokenizer that rewrite texts, and by how much all of them make a text longer.
//!
//! In: the JSON of its normalizer, pre-tokenizer or decoder. Out: nothing, or the reason to
//! refuse it. One replacement of a byte by 128 is harmless, and four in a row are 268 million
//! bytes: what is bounded is the product over all parts of a chain.
//!
//! Each part is taken at its worst, in bytes of UTF-8: a replacement by its length over the
//! shortest match of its pattern, a form of Unicode by the character that it makes longest.
//! An ordinary chain can make a text 66 times as long (`ﷺ` becomes 33 bytes, two spaces a `▁`,
//! and a word gets another before it), BERT's 7.5 times.

use super::{Check, charsmap};
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::Value;

/// Most parts of a chain.
const MAX_PARTS: usize = 16;
/// Most bytes of a pattern, and of what it is replaced by.
const MAX_PATTERN_BYTES: usize = 128;
/// Most bytes that are put before a text.
const MAX_PREFIX_BYTES: usize = 16;
/// Most states of a pattern, where a range of characters counts as one: `\w` has 800. The time
/// that a search takes is this times the text, at worst.
const MAX_PATTERN_STATES: u64 = 4096;

// What Unicode's forms make of their worst characters (https://unicode.org/faq/normalization.html);
// a test goes through all characters.
const COMPATIBILITY: f64 = 11.0; // NFKC and NFKD, U+FDFA
const CANONICAL: f64 = 3.0; // NFC and NFD, U+0390
const LOWERCASE: f64 = 1.5; // U+0130
const SPACED: f64 = 5.0 / 3.0; // a Chinese character between two spaces

/// Parts of one kind, that follow each other.
pub(super) struct Chain {
    /// The types that are let through.
    allowed: &'static [&'static str],
    /// What holds the parts of a `Sequence`.
    children: &'static str,
    parts: usize,
    growth: f64,
}

impl Chain {
    pub(super) fn normalizers() -> Self {
        let allowed = &[
            "BertNormalizer",
            "Lowercase",
            "NFC",
            "NFD",
            "NFKC",
            "NFKD",
            "Nmt",
            "Precompiled",
            "Prepend",
            "Replace",
            "Sequence",
            "Strip",
            "StripAccents",
        ];
        Self::new(allowed, "normalizers")
    }

    pub(super) fn pre_tokenizers() -> Self {
        let allowed = &[
            "BertPreTokenizer",
            "Digits",
            "Metaspace",
            "Punctuation",
            "Sequence",
            "Whitespace",
            "WhitespaceSplit",
        ];
        Self::new(allowed, "pretokenizers")
    }

    pub(super) fn decoders() -> Self {
        let allowed = &["ByteFallback", "Fuse", "Metaspace", "Replace", "Sequence", "WordPiece"];
        Self::new(allowed, "decoders")
    }

    fn new(allowed: &'static [&'static str], children: &'static str) -> Self {
        Self { allowed, children, parts: 0, growth: 1.0 }
    }

    /// The most bytes that become of one.
    pub(super) fn growth(&self) -> f64 {
        self.growth
    }

    /// Takes a part, and those within it, into account.
    pub(super) fn add(&mut self, part: &Value) -> Check {
        let kind = part["type"].as_str().unwrap_or_default();
        let children = self.children;
        if !self.allowed.contains(&kind) {
            return Err(format!("a part of type {kind:?} is not supported among its {children}"));
        }
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(format!("it has more than {MAX_PARTS} {children}"));
        }
        self.growth *= match kind {
            "Sequence" => {
                let parts = part[children].as_array();
                let parts = parts.ok_or_else(|| format!("its {children} are no list"))?;
                return parts.iter().try_for_each(|part| self.add(part));
            }
            "Replace" => replacement(part)?,
            // Once for every piece, and a piece may be one byte.
            "Prepend" => match part["prepend"].as_str() {
                Some(text) if text.len() <= MAX_PREFIX_BYTES => 1.0 + text.len() as f64,
                _ => return Err("a prepended text is too long".into()),
            },
            // A character for every space, and one more before a piece. Its decoder shortens.
            "Metaspace" if children == "pretokenizers" => {
                1.0 + part["replacement"].as_str().map_or(1, str::len) as f64
            }
            // A space before a piece, which may be empty.
            "WordPiece" => 2.0,
            "NFKC" | "NFKD" => COMPATIBILITY,
            "NFC" | "NFD" => CANONICAL,
            "Lowercase" => LOWERCASE,
            "BertNormalizer" => SPACED * CANONICAL * LOWERCASE,
            "Precompiled" => {
                let map = part["precompiled_charsmap"].as_str().unwrap_or_default();
                charsmap::growth(map).ok_or("its character map is damaged")?
            }
            // The rest splits, joins or takes away.
            _ => 1.0,
        };
        Ok(())
    }
}

/// How much longer a `Replace` makes a text.
fn replacement(part: &Value) -> Result<f64, String> {
    let text = part["pattern"]["String"].as_str();
    let regex = part["pattern"]["Regex"].as_str();
    let pattern = text.or(regex).unwrap_or_default();
    let content = part["content"].as_str();
    let Some(content) = content.filter(|content| {
        !pattern.is_empty() && pattern.len().max(content.len()) <= MAX_PATTERN_BYTES
    }) else {
        return Err("a replacement has no pattern, or too long a one".into());
    };
    let shortest = if text.is_some() { pattern.len() } else { shortest_match(pattern)? };
    Ok((content.len() as f64 / shortest as f64).max(1.0))
}

/// The bytes of a pattern's shortest match. The pattern must be one for which the time of a
/// search grows with the text alone: without what needs backtracking, and with few states. It
/// must not match where there is nothing: the crate then loses count of the text's characters,
/// and panics in a later part.
fn shortest_match(pattern: &str) -> Result<usize, String> {
    let unsupported = |why: String| format!("the pattern {pattern:?} is not supported ({why})");
    // The crate's dialect knows possessive repetitions, which `regex_syntax` reads otherwise.
    if ["*+", "++", "?+", "}+"].iter().any(|possessive| pattern.contains(possessive)) {
        return Err(unsupported("it has a possessive repetition".into()));
    }
    let parsed = regex_syntax::parse(pattern).map_err(|e| {
        let text = e.to_string();
        unsupported(text.lines().last().unwrap_or_default().trim().to_owned())
    })?;
    let states = states(&parsed);
    if states > MAX_PATTERN_STATES {
        return Err(unsupported(format!("it has {states} states, more than {MAX_PATTERN_STATES}")));
    }
    match parsed.properties().minimum_len() {
        Some(0) => Err(unsupported("it matches where there is nothing".into())),
        // A pattern that never matches has no shortest match.
        bytes => Ok(bytes.unwrap_or(1)),
    }
}

fn states(pattern: &Hir) -> u64 {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(Class::Unicode(class)) => class.ranges().len() as u64,
        HirKind::Class(Class::Bytes(class)) => class.ranges().len() as u64,
        HirKind::Repetition(part) => {
            let times = part.max.unwrap_or(part.min.saturating_add(1)).max(1);
            states(&part.sub).saturating_mul(times.into())
        }
        HirKind::Capture(part) => states(&part.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(states).fold(1, u64::saturating_add)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;
    use tokenizers::NormalizedString;

    fn growth(mut chain: Chain, part: &Value) -> Result<f64, String> {
        chain.add(part).map(|()| chain.growth())
    }

    fn replace(pattern: Value, content: &str) -> Value {
        json!({"type": "Replace", "pattern": pattern, "content": content})
    }

    #[test]
    fn no_character_grows_by_more_than_its_form_says() {
        let (mut compatibility, mut canonical, mut lowercase) = (0.0_f64, 0.0_f64, 0.0_f64);
        let of = |c: char, form: fn(&mut NormalizedString) -> &mut NormalizedString| {
            let mut text = NormalizedString::from(c.to_string());
            form(&mut text).get().len() as f64 / c.len_utf8() as f64
        };
        for c in '\u{80}'..=char::MAX {
            compatibility = compatibility.max(of(c, NormalizedString::nfkc));
            compatibility = compatibility.max(of(c, NormalizedString::nfkd));
            canonical = canonical.max(of(c, NormalizedString::nfc));
            canonical = canonical.max(of(c, NormalizedString::nfd));
            lowercase = lowercase.max(of(c, NormalizedString::lowercase));
        }
        assert_eq!((compatibility, canonical, lowercase), (COMPATIBILITY, CANONICAL, LOWERCASE));
    }

    #[test]
    fn the_parts_of_a_sequence_multiply() {
        let a = replace(json!({"String": "a"}), &"a".repeat(3));
        let sequence = |parts: &[&Value]| json!({"type": "Sequence", "normalizers": parts});
        let nested = sequence(&[&a, &sequence(&[&a, &json!({"type": "NFKC"})])]);
        assert_eq!(growth(Chain::normalizers(), &nested), Ok(99.0));
        let many = sequence(&[&json!({"type": "Nmt"}); 16]);
        assert!(growth(Chain::normalizers(), &many).unwrap_err().contains("more than 16"));
        let one = json!({"type": "Metaspace", "replacement": "▁"});
        assert_eq!(growth(Chain::pre_tokenizers(), &one), Ok(4.0));
        assert_eq!(growth(Chain::decoders(), &one), Ok(1.0));
        let prepend = json!({"type": "Prepend", "prepend": "▁"});
        assert_eq!(growth(Chain::normalizers(), &prepend), Ok(4.0));
    }

    #[test]
    fn a_replacement_counts_by_its_shortest_match() {
        let of = |pattern: Value| growth(Chain::normalizers(), &replace(pattern, "123456"));
        assert_eq!(of(json!({"String": "ab"})), Ok(3.0));
        assert_eq!(of(json!({"String": "abcdefgh"})), Ok(1.0));
        assert_eq!(of(json!({"Regex": " {2,}"})), Ok(3.0));
        assert_eq!(of(json!({"Regex": "(?:a|bcd)[é東]"})), Ok(2.0));
        assert_eq!(of(json!({"Regex": "[^\\x00-\\u{10FFFF}]"})), Ok(6.0));
        for empty in ["a*", "^", "$", r"\b", "(?:)", "(a|)", "a?b?", "a{0,3}"] {
            let error = of(json!({"Regex": empty})).unwrap_err();
            assert!(error.contains("where there is nothing"), "{empty}: {error}");
        }
    }

    #[test]
    fn patterns_that_can_take_for_ever_are_refused() {
        for pattern in [
            "a++b",
            "(a*+)b",
            "a?+",
            "a{2,}+b",
            "(?=a)b",
            "(?!a)b",
            "(?<=a)b",
            "(?>a*)b",
            r"(a)\1",
            r"(?<x>a)\k<x>",
            "(a)(?(1)b|c)",
            r"a\Kb",
            r"\Ga",
            r"(?:.{0,30}){4}(?!)|.",
            r"\w{1000}",
            r"(?:(?:a{99}){99}){99}",
            "a{4294967295}{4294967295}",
            "(",
            "[",
        ] {
            let part = replace(json!({"Regex": pattern}), "x");
            let error = growth(Chain::normalizers(), &part).unwrap_err();
            assert!(error.contains("is not supported"), "{pattern}: {error}");
        }
    }
}
