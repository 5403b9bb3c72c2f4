//! The header of a safetensors file.
//!
//! In: the first bytes of a file and its length. Out: its tensors, sorted by where they lie.
//! A file is eight bytes (little-endian length of the header), the header (a JSON object from
//! tensor names to `dtype`, `shape` and `data_offsets`), then the data. Files come from
//! strangers: every number is checked before it is used. Format:
//! <https://github.com/huggingface/safetensors#format>.

use crate::error::{Error, Result};
use crate::json::Few;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::collections::{BTreeMap, HashSet};
use std::{fmt, ops::Range};

/// Longest header that is read: room for 100,000 tensors. The models here have 2,000.
pub const MAX_HEADER: usize = 16 << 20;

/// Most dimensions of a tensor.
const MAX_RANK: usize = 8;

/// Prefix of the names of filler tensors, which only align their neighbours.
pub const FILLER: &str = "_pad.";

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dtype {
    Bool,
    U8,
    I8,
    U16,
    I16,
    F16,
    BF16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

impl Dtype {
    const NAMES: [(&'static str, Self); 13] = [
        ("BOOL", Self::Bool),
        ("U8", Self::U8),
        ("I8", Self::I8),
        ("U16", Self::U16),
        ("I16", Self::I16),
        ("F16", Self::F16),
        ("BF16", Self::BF16),
        ("U32", Self::U32),
        ("I32", Self::I32),
        ("F32", Self::F32),
        ("U64", Self::U64),
        ("I64", Self::I64),
        ("F64", Self::F64),
    ];

    /// Bytes of one element.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The name that headers use.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, d)| *d == self).map_or("?", |(name, _)| name)
    }

    fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(n, _)| *n == name).map(|(_, d)| *d)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes of its dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Where its bytes lie, counted from [`Header::data_start`].
    pub range: Range<usize>,
}

impl TensorInfo {
    /// Whether the tensor only fills a hole and is to be skipped.
    #[must_use]
    pub fn is_filler(&self) -> bool {
        self.name.starts_with(FILLER)
    }
}

/// A parsed header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// `__metadata__`, mostly `format: pt`.
    pub metadata: BTreeMap<String, String>,
    /// All tensors, fillers too, sorted by where they lie; without holes or overlaps.
    pub tensors: Vec<TensorInfo>,
    /// Where the data begins in the file.
    pub data_start: usize,
}

impl Header {
    /// Bytes up to the end of the header, from the first eight bytes of a file: how much a
    /// reader has to have before [`Header::parse`].
    ///
    /// # Errors
    /// [`Error::CheckpointHeader`] where there are fewer than eight bytes, or the length is
    /// absurd.
    pub fn span(file: &str, first: &[u8]) -> Result<usize> {
        let Some(length) = first.first_chunk::<8>() else {
            return Err(bad(
                file,
                format!("it ends after {} bytes, inside the header's length", first.len()),
            ));
        };
        let length = u64::from_le_bytes(*length);
        match usize::try_from(length) {
            Ok(n) if (2..=MAX_HEADER).contains(&n) => Ok(n + 8),
            _ => Err(bad(
                file,
                format!("the header claims {length} bytes; 2 to {MAX_HEADER} are possible"),
            )),
        }
    }

    /// Parses the header of `file` (named in errors only) from its first bytes, at least up to
    /// [`Header::span`]; `file_len` is the length of the whole file.
    ///
    /// # Errors
    /// [`Error::CheckpointHeader`] with what is wrong.
    pub fn parse(file: &str, bytes: &[u8], file_len: u64) -> Result<Self> {
        let data_start = Self::span(file, bytes)?;
        let Some(json) = bytes.get(8..data_start) else {
            let got = bytes.len();
            return Err(bad(
                file,
                format!("it ends after {got} bytes, inside a header of {data_start}"),
            ));
        };
        if json.first() != Some(&b'{') {
            return Err(bad(file, "the header is not a JSON object".into()));
        }
        let text =
            std::str::from_utf8(json).map_err(|_| bad(file, "the header is not UTF-8".into()))?;
        let raw: RawHeader = serde_json::from_str(text)
            .map_err(|e| bad(file, format!("the header cannot be read ({e})")))?;
        let data_len = file_len.checked_sub(data_start as u64).ok_or_else(|| {
            bad(file, format!("it has {file_len} bytes, its header alone {data_start}"))
        })?;
        let mut tensors = raw
            .entries
            .into_iter()
            .map(|(name, entry)| entry.check(file, name))
            .collect::<Result<Vec<_>>>()?;
        tensors.sort_by_key(|t| (t.range.start, t.range.end));
        let mut end = 0;
        for t in &tensors {
            if t.range.start != end {
                let what = if t.range.start < end {
                    "overlaps the tensor before it"
                } else {
                    "leaves a hole before it"
                };
                return Err(bad(file, format!("tensor {} {what}", t.name)));
            }
            end = t.range.end;
        }
        if end as u64 != data_len {
            return Err(bad(
                file,
                format!("its tensors have {end} bytes, the file has room for {data_len}"),
            ));
        }
        Ok(Self { metadata: raw.metadata, tensors, data_start })
    }

    /// The tensors without the fillers.
    pub fn real_tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.iter().filter(|t| !t.is_filler())
    }
}

fn bad(file: &str, reason: String) -> Error {
    Error::CheckpointHeader { file: file.into(), reason }
}

/// What the JSON says about a tensor, unchecked.
#[derive(Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Few<u64, MAX_RANK>,
    data_offsets: [u64; 2],
}

impl RawEntry {
    fn check(self, file: &str, name: String) -> Result<TensorInfo> {
        let wrong = |what: String| bad(file, format!("tensor {name} {what}"));
        let dtype = Dtype::parse(&self.dtype)
            .ok_or_else(|| wrong(format!("has the unknown type {:?}", self.dtype)))?;
        let Few(shape) = &self.shape;
        let too_large = || wrong(format!("has the shape {shape:?}, which overflows"));
        let shape = shape
            .iter()
            .map(|&d| usize::try_from(d))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| too_large())?;
        // Readers multiply some of the sizes: no product may overflow, even beside a zero.
        let product =
            |least: usize| shape.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d.max(least)));
        let bytes = product(1).and_then(|_| product(0)).ok_or_else(too_large)?;
        let [start, end] = self.data_offsets;
        let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else {
            return Err(wrong(format!("lies at {start}..{end}, beyond what can be addressed")));
        };
        if end.checked_sub(start) != Some(bytes) {
            return Err(wrong(format!(
                "lies at {start}..{end}, but {dtype} {shape:?} has {bytes} bytes"
            )));
        }
        Ok(TensorInfo { name, dtype, shape, range: start..end })
    }
}

/// The header's JSON object; a name that comes twice is an error.
#[derive(Default)]
struct RawHeader {
    metadata: BTreeMap<String, String>,
    entries: Vec<(String, RawEntry)>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from tensor names to dtype, shape and data_offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader::default();
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!(
                            "the name {name:?} comes twice"
                        )));
                    }
                    if name == "__metadata__" {
                        let metadata: Option<BTreeMap<String, String>> = map.next_value()?;
                        header.metadata = metadata.unwrap_or_default();
                    } else {
                        header.entries.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}

#[cfg(test)]
mod tests;
