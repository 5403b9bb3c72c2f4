//! Looks at a `tokenizer.json` from anywhere before the `tokenizers` crate reads it.
//!
//! In: the file's bytes and the rows of the model's embedding. Out: nothing, or the reason to
//! refuse it. The crate panics, or recurses without bound, on files that are well-formed
//! JSON but lie: a character map that points outside itself, a template that asks for a second
//! sequence, a vocabulary piece of a million bytes. Only the parts that the models' tokenizers
//! are made of are let through, each within bounds, and so that together they cannot make a
//! text much longer ([`growth`]). The crate builds every value of the file, so all are
//! counted here, those that it does not know too.

mod charsmap;
mod growth;

use crate::json::Bounded;
use growth::Chain;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;

const MAX_PIECE_BYTES: usize = 512;
/// Most pieces of a vocabulary: twice as many as those of the largest there are.
const MAX_PIECES: u64 = 1 << 19;
const MAX_ADDED_TOKENS: usize = 2048;
/// The values in the list of that many added tokens, which have seven members each.
const MAX_ADDED_VALUES: usize = MAX_ADDED_TOKENS * 10;
/// Most bytes of all added tokens after normalising: the crate searches for them all at once.
const MAX_ADDED_BYTES: f64 = (1 << 21) as f64;
const MAX_TEMPLATE: usize = 16;
/// Most bytes that normalizers and pre-tokenizers may make of one. See [`growth`].
const MAX_GROWTH: f64 = 100.0;
/// Most bytes that decoders may make of one: WordPiece makes two, Metaspace one.
const MAX_DECODER_GROWTH: f64 = 4.0;
/// Longest word of a WordPiece model, in characters: the time it takes grows with the cube.
const MAX_WORD: u64 = 200;

type Check = Result<(), String>;
/// A part of the file.
type Part = Bounded<4096>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)] // the crate refuses them too
struct File {
    #[serde(rename = "version")]
    _version: Option<Part>,
    #[serde(rename = "truncation")]
    _truncation: Option<Part>,
    #[serde(rename = "padding")]
    _padding: Option<Part>,
    added_tokens: Option<Bounded<MAX_ADDED_VALUES>>,
    normalizer: Option<Part>,
    pre_tokenizer: Option<Part>,
    post_processor: Option<Part>,
    decoder: Option<Part>,
    model: Model,
}

/// What matters of a model, found while passing over it.
struct Model {
    kind: String,
    /// The highest id and one; a list's pieces are numbered.
    ids: u64,
}

/// Why the file must not be used, if so.
pub(super) fn check(json: &[u8], vocab_size: usize) -> Check {
    let file: File =
        serde_json::from_slice(json).map_err(|e| format!("it cannot be read ({e})"))?;
    let model = &file.model;
    if !matches!(model.kind.as_str(), "Unigram" | "WordPiece") {
        return Err(format!(
            "the model type {:?} is not supported; Unigram and WordPiece are",
            model.kind
        ));
    }
    let (mut normalizers, mut pre_tokenizers, mut decoders) =
        (Chain::normalizers(), Chain::pre_tokenizers(), Chain::decoders());
    file.normalizer.map_or(Ok(()), |part| normalizers.add(&part.0))?;
    file.pre_tokenizer.map_or(Ok(()), |part| pre_tokenizers.add(&part.0))?;
    file.decoder.map_or(Ok(()), |part| decoders.add(&part.0))?;
    within_growth(
        "normalizers and pre-tokenizers",
        normalizers.growth() * pre_tokenizers.growth(),
        MAX_GROWTH,
    )?;
    within_growth("decoders", decoders.growth(), MAX_DECODER_GROWTH)?;
    let added = file.added_tokens.as_ref().and_then(|list| list.0.as_array());
    let added = added.map(Vec::as_slice).unwrap_or_default();
    let ids = added_tokens(added, normalizers.growth())?.max(model.ids);
    if ids > vocab_size as u64 {
        return Err(format!(
            "it has ids up to {}, but the model's embedding has {vocab_size} rows",
            ids - 1
        ));
    }
    file.post_processor.map_or(Ok(()), |part| post_processor(&part.0))
}

fn within_growth(what: &str, growth: f64, most: f64) -> Check {
    if growth <= most {
        return Ok(());
    }
    Err(format!(
        "its {what} can make a text {growth:.0} times as long; at most {most} times is allowed"
    ))
}

/// The highest id of the added tokens and one, where they are within bounds.
fn added_tokens(added: &[Value], growth: f64) -> Result<u64, String> {
    if added.len() > MAX_ADDED_TOKENS {
        return Err(format!(
            "it has {} added tokens; at most {MAX_ADDED_TOKENS} are read",
            added.len()
        ));
    }
    let (mut ids, mut bytes) = (0, 0);
    for token in added {
        let id = token["id"].as_u64().ok_or("an added token has no id")?;
        let length = token["content"].as_str().map_or(0, str::len);
        if length > MAX_PIECE_BYTES {
            return Err(format!("the added token {id} is longer than {MAX_PIECE_BYTES} bytes"));
        }
        ids = ids.max(id.saturating_add(1));
        bytes += length;
    }
    if bytes as f64 * growth > MAX_ADDED_BYTES {
        return Err(format!(
            "its added tokens have {bytes} bytes, which can become more than {MAX_ADDED_BYTES}"
        ));
    }
    Ok(ids)
}

/// One sequence and special tokens that are declared, or BERT's fixed form of the same.
fn post_processor(value: &Value) -> Check {
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

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Model;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a model")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Model, A::Error> {
                let (mut kind, mut vocabulary) = (None, None);
                while let Some(name) = members.next_key::<String>()? {
                    match name.as_str() {
                        "type" if kind.is_none() => kind = Some(members.next_value()?),
                        "vocab" if vocabulary.is_none() => {
                            vocabulary = Some(members.next_value()?);
                        }
                        "type" | "vocab" => {
                            return Err(A::Error::custom(format!("{name:?} comes twice")));
                        }
                        _ => {
                            let value = members.next_value::<Bounded<64>>()?.0;
                            setting(&name, &value).map_err(A::Error::custom)?;
                        }
                    }
                }
                let Some(Vocabulary { ids }) = vocabulary else {
                    return Err(A::Error::missing_field("vocab"));
                };
                Ok(Model { kind: kind.unwrap_or_default(), ids })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The settings of a model that bound what it costs.
fn setting(name: &str, value: &Value) -> Check {
    let too_long = match name {
        "max_input_chars_per_word" => value.as_u64().is_none_or(|n| n > MAX_WORD),
        "continuing_subword_prefix" => value.as_str().is_none_or(|prefix| prefix.len() > 16),
        _ => false,
    };
    if too_long { Err(format!("{name} is too long, or none")) } else { Ok(()) }
}

/// A vocabulary: the highest id and one.
struct Vocabulary {
    ids: u64,
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
                    ids += 1;
                    within_bounds(&piece, ids).map_err(A::Error::custom)?;
                }
                Ok(Vocabulary { ids })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pieces: A) -> Result<Vocabulary, A::Error> {
                let (mut ids, mut count) = (0, 0);
                while let Some((piece, id)) = pieces.next_entry::<String, u32>()? {
                    count += 1;
                    within_bounds(&piece, count).map_err(A::Error::custom)?;
                    ids = ids.max(u64::from(id) + 1);
                }
                Ok(Vocabulary { ids })
            }
        }
        deserializer.deserialize_any(Pass)
    }
}

/// Checks a piece and how many there are with it.
fn within_bounds(piece: &str, count: u64) -> Check {
    if count > MAX_PIECES {
        return Err(format!("it has more than {MAX_PIECES} pieces"));
    }
    if piece.len() > MAX_PIECE_BYTES {
        return Err(format!(
            "a piece has {} bytes; at most {MAX_PIECE_BYTES} are read",
            piece.len()
        ));
    }
    Ok(())
}
