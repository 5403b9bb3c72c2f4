//! Writes tensors to safetensors files of bounded size.
//!
//! In: the list of tensors (names, types, shapes) and a function that produces their bytes,
//! one tensor after the other. Out: files. In a shard set every tensor starts on
//! [`ALIGNMENT`] bytes; as the format forbids holes, fillers `_pad.N` lie between. A tensor
//! larger than the limit gets a file of its own.

use super::output::OutputFolder;
use super::planted;
use crate::checkpoint::Dtype;
use crate::checkpoint::index::{ShardInfo, hex};
use crate::checkpoint::safetensors::FILLER;
use crate::error::{Error, Result};
use serde::ser::{Serialize, SerializeMap, Serializer};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Write};

/// Where tensors of a shard set start: the alignment WebGPU asks of buffer offsets.
pub const ALIGNMENT: u64 = 256;

/// Most bytes of tensor data in a file of a shard set.
pub const SHARD_LIMIT: u64 = 32 << 20;

/// A tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes of its dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Whether it is to be in the file of the slot before it, where the limit allows that.
    pub follows: bool,
}

impl Slot {
    /// Length of its data.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shape.iter().map(|&d| d as u64).product::<u64>() * self.dtype.size() as u64
    }
}

/// How slots are laid out in files.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Where tensors start; 1 for no fillers.
    pub alignment: u64,
    /// Most bytes of tensor data in a file.
    pub limit: u64,
}

impl Layout {
    /// Cuts slots, in order, into runs of one file each.
    #[must_use]
    pub fn cut<'a>(&self, slots: &'a [Slot]) -> Vec<&'a [Slot]> {
        let mut files = Vec::new();
        let (mut start, mut end) = (0, 0u64);
        for (at, slot) in slots.iter().enumerate() {
            let follower = slots.get(at + 1).filter(|next| next.follows);
            let alone = self.place(end, slot);
            let together = follower.map_or(alone, |next| self.place(alone, next));
            // A pair that would fit into a file of its own is not torn apart.
            let empty_pair = follower.map_or(slot.bytes(), |next| self.place(slot.bytes(), next));
            let needed = if empty_pair <= self.limit { together } else { alone };
            if start < at && needed > self.limit {
                files.push(&slots[start..at]);
                (start, end) = (at, slot.bytes());
            } else {
                end = alone;
            }
        }
        if start < slots.len() {
            files.push(&slots[start..]);
        }
        files
    }

    /// The end of a slot that is put after `end`.
    fn place(&self, end: u64, slot: &Slot) -> u64 {
        end.next_multiple_of(self.alignment) + slot.bytes()
    }

    /// The bytes before the data: length and header, padded so that the data is aligned.
    ///
    /// # Errors
    /// The JSON cannot be made.
    pub fn header(&self, slots: &[Slot]) -> Result<Vec<u8>> {
        let mut entries = vec![("__metadata__".to_owned(), Entry::Metadata)];
        let mut end = 0u64;
        for slot in slots {
            let start = end.next_multiple_of(self.alignment);
            if start > end {
                let name = format!("{FILLER}{}", entries.len());
                entries.push((name, Entry::Filler(end, start)));
            }
            end = start + slot.bytes();
            entries.push((slot.name.clone(), Entry::Tensor(slot.dtype, &slot.shape, start, end)));
        }
        let mut json =
            serde_json::to_vec(&InOrder(&entries)).map_err(|e| internal(e.to_string()))?;
        let span = (json.len() as u64 + 8).next_multiple_of(self.alignment.max(8));
        json.resize((span - 8) as usize, b' ');
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut json);
        Ok(bytes)
    }
}

/// Writes `slots` to files of `out`. `fill` is called for every slot in order and passes its
/// bytes on in pieces; `name` gives a file its name, from its number, the number of all files
/// and its hash. Files that an earlier run completed are left out. Returns all files with the
/// slots in each.
///
/// # Errors
/// A file cannot be written, `fill` fails, or passes on another number of bytes.
pub fn write_files<'a>(
    out: &mut OutputFolder,
    layout: Layout,
    slots: &'a [Slot],
    name: impl Fn(usize, usize, &str) -> String,
    mut fill: impl FnMut(&Slot, &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
) -> Result<Vec<(String, ShardInfo, &'a [Slot])>> {
    let runs = layout.cut(slots);
    let mut written = Vec::new();
    for (number, run) in runs.iter().copied().enumerate() {
        let path = out.add();
        if let Some(info) = out.done().get(number).cloned() {
            let name = name(number, runs.len(), &info.sha256);
            out.name(name.clone());
            written.push((name, info, run));
            continue;
        }
        let io = |e| Error::io(&path, e);
        let mut file = HashedFile {
            file: BufWriter::new(planted::create(&path).map_err(io)?),
            hash: Sha256::new(),
            bytes: 0,
        };
        file.write(&layout.header(run)?).map_err(io)?;
        let data_start = file.bytes;
        for slot in run {
            let end = file.bytes - data_start;
            let filler = vec![0; (end.next_multiple_of(layout.alignment) - end) as usize];
            file.write(&filler).map_err(io)?;
            let before = file.bytes;
            fill(slot, &mut |bytes| file.write(bytes).map_err(io))?;
            if file.bytes - before != slot.bytes() {
                return Err(internal(format!(
                    "{} got {} bytes of {}",
                    slot.name,
                    file.bytes - before,
                    slot.bytes()
                )));
            }
        }
        file.file.flush().map_err(io)?;
        let info = ShardInfo { bytes: file.bytes, sha256: hex(&file.hash.finalize()) };
        let name = name(number, runs.len(), &info.sha256);
        out.name(name.clone());
        out.complete(&info)?;
        written.push((name, info, run));
    }
    Ok(written)
}

/// The name of a plain checkpoint's file, as transformers gives it.
#[must_use]
pub fn plain_name(number: usize, all: usize, _hash: &str) -> String {
    match all {
        1 => "model.safetensors".to_owned(),
        _ => format!("model-{:05}-of-{all:05}.safetensors", number + 1),
    }
}

/// The JSON of an index over written files; with lengths and hashes where `format`, the
/// format of a shard set, is given.
///
/// # Errors
/// The JSON cannot be made.
pub fn index_json(files: &[(String, ShardInfo, &[Slot])], format: Option<&str>) -> Result<Vec<u8>> {
    #[derive(serde::Serialize)]
    struct Metadata<'a> {
        total_size: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        format: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        shards: Option<InOrder<'a, ShardInfo>>,
    }
    #[derive(serde::Serialize)]
    struct Json<'a> {
        metadata: Metadata<'a>,
        weight_map: InOrder<'a, &'a str>,
    }
    let slots = || files.iter().flat_map(|(name, _, run)| run.iter().map(move |slot| (name, slot)));
    let shards: Vec<_> = files.iter().map(|(name, info, _)| (name.clone(), info.clone())).collect();
    let map: Vec<_> = slots().map(|(file, slot)| (slot.name.clone(), file.as_str())).collect();
    let json = Json {
        metadata: Metadata {
            total_size: slots().map(|(_, slot)| slot.bytes()).sum(),
            format,
            shards: format.map(|_| InOrder(&shards)),
        },
        weight_map: InOrder(&map),
    };
    serde_json::to_vec_pretty(&json).map_err(|e| internal(e.to_string()))
}

struct HashedFile {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl HashedFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

enum Entry<'a> {
    Metadata,
    /// Start and end.
    Filler(u64, u64),
    /// Type, shape, start and end.
    Tensor(Dtype, &'a [usize], u64, u64),
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Metadata => map.serialize_entry("format", "pt")?,
            Self::Filler(start, end) => {
                map.serialize_entry("dtype", Dtype::U8.name())?;
                map.serialize_entry("shape", &[end - start])?;
                map.serialize_entry("data_offsets", &[start, end])?;
            }
            Self::Tensor(dtype, shape, start, end) => {
                map.serialize_entry("dtype", dtype.name())?;
                map.serialize_entry("shape", shape)?;
                map.serialize_entry("data_offsets", &[start, end])?;
            }
        }
        map.end()
    }
}

/// A JSON object that keeps the order of its entries.
struct InOrder<'a, T>(&'a [(String, T)]);

impl<T: Serialize> Serialize for InOrder<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

fn internal(reason: String) -> Error {
    Error::Internal { reason }
}
