//! What every configuration file goes through: bounded JSON, and sizes within sane limits.

use crate::error::{Error, Result};
use crate::limits;
use serde::Deserialize;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor,
};
use std::fmt;

/// Widths (hidden, feed-forward, vocabulary) beyond this are a mistake or an attack.
pub(crate) const MAX_WIDTH: usize = 1 << 22;
pub(crate) const MAX_LAYERS: usize = 1024;
pub(crate) const MAX_HEADS: usize = 4096;
/// The widest head that the attention kernel takes.
pub const MAX_HEAD_WIDTH: usize = 256;
pub(crate) const MAX_IMAGE_SIZE: usize = 2048;
pub(crate) const MAX_PATCHES: usize = 1 << 16;
pub(crate) const MAX_POSITIONS: usize = 1 << 16;
/// Elements of one matrix: its f32 bytes must stay below 2^32.
const MAX_MATRIX: usize = (1 << 30) - 1;

/// The main file's name, for complaints.
pub(crate) const FILE: &str = "config.json";

/// Parses a JSON object of a bounded length.
pub(crate) fn parse_json<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T> {
    limits::check(file, bytes.len() as u64)?;
    serde_json::from_slice(bytes).map_err(|e| invalid(file, format!("it cannot be read ({e})")))
}

/// A section of `config.json`; `None` where there is none, and an error where it is no object of
/// that kind. Everything else in the file is passed over.
pub(crate) fn section<T: DeserializeOwned>(bytes: &[u8], name: &'static str) -> Result<Option<T>> {
    limits::check(FILE, bytes.len() as u64)?;
    let seed = One { name, of: std::marker::PhantomData };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let found = seed.deserialize(&mut deserializer).and_then(|found| {
        deserializer.end()?;
        Ok(found)
    });
    found.map_err(|e| invalid(FILE, format!("{name} cannot be read ({e})")))
}

/// The `model_type` of a section; `None` where there is no such section.
pub(crate) fn kind(bytes: &[u8], name: &'static str) -> Result<Option<Option<String>>> {
    #[derive(Deserialize)]
    struct Kind {
        model_type: Option<String>,
    }
    Ok(section::<Kind>(bytes, name)?.map(|kind| kind.model_type))
}

/// One field of an object.
struct One<T> {
    name: &'static str,
    of: std::marker::PhantomData<T>,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for One<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for One<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with a {}", self.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<T>, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == self.name {
                if found.replace(map.next_value()?).is_some() {
                    return Err(A::Error::duplicate_field(self.name));
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

pub(crate) fn invalid(file: &str, reason: impl Into<String>) -> Error {
    Error::ConfigInvalid { file: file.into(), reason: reason.into() }
}

/// Checks on the fields of one section of `config.json`, named in every complaint.
pub(crate) struct Section(pub &'static str);

impl Section {
    pub(crate) fn error(&self, reason: &str) -> Error {
        let Self(name) = self;
        let dot = if name.is_empty() { "" } else { ": " };
        invalid(FILE, format!("{name}{dot}{reason}"))
    }

    pub(crate) fn fail(&self, reason: &str) -> Result<()> {
        Err(self.error(reason))
    }

    pub(crate) fn size(&self, field: &str, value: usize, most: usize) -> Result<()> {
        if (1..=most).contains(&value) {
            return Ok(());
        }
        self.fail(&format!("{field} is {value}; it must be from 1 to {most}"))
    }

    pub(crate) fn divides(&self, part: &str, by: usize, field: &str, value: usize) -> Result<()> {
        if by != 0 && value.is_multiple_of(by) {
            return Ok(());
        }
        self.fail(&format!("{part} {by} does not divide {field} {value}"))
    }

    /// Heads divide the width into parts that the attention kernel takes.
    pub(crate) fn heads(&self, heads: usize, width: usize) -> Result<()> {
        self.size("num_attention_heads", heads, MAX_HEADS)?;
        self.divides("num_attention_heads", heads, "hidden_size", width)?;
        self.size("width of a head", width / heads, MAX_HEAD_WIDTH)
    }

    pub(crate) fn epsilon(&self, field: &str, value: f32) -> Result<()> {
        if value.is_finite() && (0.0..1.0).contains(&value) {
            return Ok(());
        }
        self.fail(&format!("{field} is {value}; it must be from 0 and below 1"))
    }

    pub(crate) fn matrix(&self, what: &str, shape: &[usize]) -> Result<()> {
        let elements = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if elements.is_some_and(|n| n <= MAX_MATRIX) {
            return Ok(());
        }
        self.fail(&format!("the {what} of shape {shape:?} is too large"))
    }
}
