//! Looks at a `tokenizer.json` from anywhere before the `tokenizers` crate reads it.
//!
//! In: the file's bytes and the rows of the model's embedding. Out: nothing, or the reason to
//! refuse it. The crate panics, or recurses without bound, on files that are well-formed
//! JSON but lie: a character map that points outside itself, a template that asks for a second
//! sequence, a vocabulary piece of a million bytes. Only the parts that T5 and BERT tokenizers
//! are made of are let through, each within bounds.

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;

const MAX_FILE_BYTES: usize = 64 << 20;
const MAX_PIECE_BYTES: usize = 512;
const MAX_ADDED_TOKENS: usize = 2048;
const MAX_PATTERN_BYTES: usize = 128;
const MAX_TEMPLATE: usize = 16;

const NORMALIZERS: &[&str] = &[
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
const PRE_TOKENIZERS: &[&str] = &[
    "BertPreTokenizer",
    "Digits",
    "Metaspace",
    "Punctuation",
    "Sequence",
    "Whitespace",
    "WhitespaceSplit",
];
const DECODERS: &[&str] =
    &["ByteFallback", "Fuse", "Metaspace", "Replace", "Sequence", "WordPiece"];

type Check = Result<(), String>;

#[derive(Deserialize)]
struct File {
    added_tokens: Option<Vec<AddedToken>>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    vocab: Vocabulary,
    max_input_chars_per_word: Option<usize>,
    continuing_subword_prefix: Option<String>,
}

/// What matters of a vocabulary, found while passing over it.
struct Vocabulary {
    /// The highest id and one; a list's pieces are numbered.
    ids: u64,
}

/// Why the file must not be used, if so.
pub(super) fn check(json: &[u8], vocab_size: usize) -> Check {
    if json.len() > MAX_FILE_BYTES {
        return Err(format!("it has {} bytes; at most {MAX_FILE_BYTES} are read", json.len()));
    }
    let file: File =
        serde_json::from_slice(json).map_err(|e| format!("it cannot be read ({e})"))?;
    let model = &file.model;
    if !matches!(model.kind.as_str(), "Unigram" | "WordPiece") {
        return Err(format!(
            "the model type {:?} is not supported; Unigram (T5) and WordPiece (BERT) are",
            model.kind
        ));
    }
    if model.max_input_chars_per_word.is_some_and(|n| n > 1000)
        || model.continuing_subword_prefix.as_ref().is_some_and(|p| p.len() > 16)
    {
        return Err("max_input_chars_per_word or continuing_subword_prefix is too long".into());
    }
    let added = file.added_tokens.unwrap_or_default();
    if added.len() > MAX_ADDED_TOKENS {
        return Err(format!(
            "it has {} added tokens; at most {MAX_ADDED_TOKENS} are read",
            added.len()
        ));
    }
    if let Some(token) = added.iter().find(|t| t.content.len() > MAX_PIECE_BYTES) {
        return Err(format!("the added token {} is longer than {MAX_PIECE_BYTES} bytes", token.id));
    }
    let ids = added.iter().map(|t| u64::from(t.id) + 1).fold(model.vocab.ids, u64::max);
    if ids > vocab_size as u64 {
        return Err(format!(
            "it has ids up to {}, but the model's embedding has {vocab_size} rows",
            ids - 1
        ));
    }
    component(file.normalizer.as_ref(), NORMALIZERS, "normalizers")?;
    component(file.pre_tokenizer.as_ref(), PRE_TOKENIZERS, "pretokenizers")?;
    component(file.decoder.as_ref(), DECODERS, "decoders")?;
    post_processor(file.post_processor.as_ref())
}

/// Checks a normalizer, pre-tokenizer or decoder; a `Sequence` holds others under `children`.
fn component(value: Option<&Value>, allowed: &[&str], children: &str) -> Check {
    let Some(value) = value else { return Ok(()) };
    let kind = value["type"].as_str().unwrap_or_default();
    if !allowed.contains(&kind) {
        return Err(format!("a part of type {kind:?} is not supported among its {children}"));
    }
    match kind {
        "Sequence" => {
            let parts =
                value[children].as_array().ok_or_else(|| format!("its {children} are no list"))?;
            parts.iter().try_for_each(|part| component(Some(part), allowed, children))
        }
        "Precompiled" => precompiled(value["precompiled_charsmap"].as_str().unwrap_or_default()),
        "Replace" => {
            let pattern = value["pattern"]["String"]
                .as_str()
                .or(value["pattern"]["Regex"].as_str())
                .unwrap_or_default();
            if pattern.is_empty()
                || pattern.len() > MAX_PATTERN_BYTES
                || value["content"].as_str().is_none_or(|c| c.len() > MAX_PATTERN_BYTES)
            {
                return Err("a replacement has no pattern, or too long a one".into());
            }
            Ok(())
        }
        "Prepend" if value["prepend"].as_str().is_none_or(|p| p.len() > 16) => {
            Err("a prepended text is too long".into())
        }
        _ => Ok(()),
    }
}

/// One sequence and special tokens that are declared, or BERT's fixed form of the same.
fn post_processor(value: Option<&Value>) -> Check {
    let Some(value) = value else { return Ok(()) };
    match value["type"].as_str().unwrap_or_default() {
        "BertProcessing" => Ok(()),
        "TemplateProcessing" => {
            let pieces = value["single"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut sequences = 0;
            for piece in pieces {
                if piece["Sequence"]["id"] == "A" {
                    sequences += 1;
                    continue;
                }
                let declared = piece["SpecialToken"]["id"]
                    .as_str()
                    .map(|name| &value["special_tokens"][name]["ids"]);
                let ids = declared.and_then(Value::as_array).map_or(0, Vec::len);
                if !(1..=MAX_TEMPLATE).contains(&ids) {
                    return Err("its template has a special token that is not declared".into());
                }
            }
            if sequences != 1 || pieces.len() > MAX_TEMPLATE {
                return Err("its template does not hold the text once".into());
            }
            Ok(())
        }
        other => Err(format!("the post-processor {other:?} is not supported")),
    }
}

/// SentencePiece's character map: a base64 text of a trie's length in bytes, its 32-bit units
/// (a double array), and the replacements, each ended by a zero byte. Every unit that a search
/// can reach must lie inside, and every value must be the beginning of a character.
fn precompiled(text: &str) -> Check {
    let broken = || String::from("its character map is damaged");
    let bytes = base64(text).ok_or_else(broken)?;
    let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
    let units = u32::from_le_bytes(*size) as usize / 4;
    let (trie, replacements) =
        rest.split_at_checked(units.checked_mul(4).ok_or_else(broken)?).ok_or_else(broken)?;
    let replacements = std::str::from_utf8(replacements).map_err(|_| broken())?;
    let trie: Vec<u32> =
        trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    let offset = |unit: u32| ((unit >> 10) as usize) << ((unit & (1 << 9)) >> 6);

    let mut seen = vec![false; trie.len()];
    let mut bases = vec![offset(*trie.first().ok_or_else(broken)?)];
    while let Some(base) = bases.pop() {
        if std::mem::replace(seen.get_mut(base).ok_or_else(broken)?, true) {
            continue;
        }
        for byte in 1..=0xFF {
            let at = base ^ byte as usize;
            let unit = *trie.get(at).ok_or_else(broken)?;
            if unit & (1 << 31 | 0xFF) != byte {
                continue;
            }
            let next = at ^ offset(unit);
            if unit >> 8 & 1 == 1 {
                let value = trie.get(next).ok_or_else(broken)? & !(1 << 31);
                if !replacements.is_char_boundary(value as usize) {
                    return Err(broken());
                }
            }
            bases.push(next);
        }
    }
    Ok(())
}

/// Standard base64, padded, without spaces and with zeros in the unused bits.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(out)
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pass;
        impl<'de> Visitor<'de> for Pass {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary: a list of [piece, score] or a map from pieces to ids")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pieces: A) -> Result<Vocabulary, A::Error> {
                let mut ids = 0;
                while let Some((piece, _score)) = pieces.next_element::<(String, f64)>()? {
                    within_bounds(&piece).map_err(A::Error::custom)?;
                    ids += 1;
                }
                Ok(Vocabulary { ids })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pieces: A) -> Result<Vocabulary, A::Error> {
                let mut ids = 0;
                while let Some((piece, id)) = pieces.next_entry::<String, u32>()? {
                    within_bounds(&piece).map_err(A::Error::custom)?;
                    ids = ids.max(u64::from(id) + 1);
                }
                Ok(Vocabulary { ids })
            }
        }
        deserializer.deserialize_any(Pass)
    }
}

fn within_bounds(piece: &str) -> Check {
    if piece.len() <= MAX_PIECE_BYTES {
        return Ok(());
    }
    Err(format!("a piece has {} bytes; at most {MAX_PIECE_BYTES} are read", piece.len()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn base64_is_strict() {
        assert_eq!(base64("").unwrap(), b"");
        assert_eq!(base64("TWFu").unwrap(), b"Man");
        assert_eq!(base64("TWE=").unwrap(), b"Ma");
        assert_eq!(base64("TQ==").unwrap(), b"M");
        assert_eq!(base64("+/+/").unwrap(), [0xFB, 0xFF, 0xBF]);
        for bad in
            ["T", "TQ", "TQ=", "TR==", "T===", "====", "TW Fu", "TWF\n", "T=Fu", "-_-_", "TWFué"]
        {
            assert!(base64(bad).is_none(), "{bad}");
        }
    }
}
