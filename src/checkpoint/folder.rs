//! A checkpoint's folder on the disk: a plain Hugging Face checkpoint or a shard set.
//!
//! In: a path. Out: the tensors under their names, read when they are asked for, and the small
//! files beside them. Fillers are skipped, and aliases where they are said; the shards of a set
//! are checked against their SHA-256 before their tensors are handed out.
//!
//! Files are read at positions, not mapped: pages of a map that were touched count as resident,
//! which for a whole checkpoint means its size.

use super::index::{INDEX_FILE, Index, ShardInfo};
use super::safetensors::{Dtype, Header, TensorInfo};
use crate::error::{Error, Result};
use crate::limits;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes that are read at a time to compute a hash.
const PIECE: usize = 1 << 20;

/// A tensor in an open file.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes of its dimensions, outermost first.
    pub shape: &'a [usize],
    file: &'a OpenFile,
    range: &'a Range<usize>,
}

impl TensorView<'_> {
    /// Bytes of its elements.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.range.len()
    }

    /// All its elements, little-endian, row-major.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> Result<Vec<u8>> {
        self.read_range(0..self.byte_len())
    }

    /// Some bytes of its elements.
    ///
    /// # Errors
    /// The tensor does not have these bytes, or the file cannot be read.
    pub fn read_range(&self, range: Range<usize>) -> Result<Vec<u8>> {
        if range.start > range.end || range.end > self.byte_len() {
            let reason = format!("{} has no bytes {range:?}", self.name);
            return Err(Error::Internal { reason });
        }
        let mut bytes = vec![0; range.len()];
        let start = self.file.header.data_start + self.range.start + range.start;
        self.file.read_at(&mut bytes, start as u64)?;
        Ok(bytes)
    }
}

/// An open checkpoint.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    index: Option<Index>,
    files: Vec<OpenFile>,
    /// Name to (file, tensor in its header).
    by_name: BTreeMap<String, (usize, usize)>,
}

#[derive(Debug)]
struct OpenFile {
    name: String,
    path: PathBuf,
    file: File,
    length: u64,
    header: Header,
}

impl Folder {
    /// Opens a folder and reads the headers of its files. Like the reference implementation
    /// it prefers `model.safetensors` to an index.
    ///
    /// # Errors
    /// A file is missing or unreadable, a header or the index is invalid or they contradict
    /// each other, a shard has the wrong length.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let root = path.as_ref().to_path_buf();
        let single = "model.safetensors";
        let absent = |what: String| Error::io(&root, io::Error::new(ErrorKind::NotFound, what));
        if !root.is_dir() {
            return Err(absent("there is no such folder".into()));
        }
        if !root.join(single).is_file() && !root.join(INDEX_FILE).exists() {
            return Err(absent(format!(
                "the folder holds no checkpoint: neither {single} nor {INDEX_FILE}"
            )));
        }
        let index = if root.join(single).is_file() {
            None
        } else {
            Some(Index::parse(&read_small(&root.join(INDEX_FILE))?)?)
        };
        let names = index.as_ref().map_or_else(|| vec![single], Index::files);
        let mut files = Vec::new();
        for name in names {
            files.push(OpenFile::open(
                &root,
                name,
                index.as_ref().and_then(|index| index.shard(name)),
            )?);
        }
        let by_name = locate(&files, index.as_ref())?;
        Ok(Self { root, index, files, by_name })
    }

    /// The same folder with names resolved: what `resolve` gives another name for is known by
    /// that alone. A name of its own comes before one by alias.
    #[must_use]
    pub fn with_aliases(mut self, resolve: impl Fn(&str) -> String) -> Self {
        let (own, aliases): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.by_name)
            .into_iter()
            .partition(|(name, _)| resolve(name) == *name);
        self.by_name = own;
        for (alias, place) in aliases {
            self.by_name.entry(resolve(&alias)).or_insert(place);
        }
        self
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The index, where the checkpoint has one.
    #[must_use]
    pub fn index(&self) -> Option<&Index> {
        self.index.as_ref()
    }

    /// The files that hold tensors with their headers, in loading order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &Header)> {
        self.files.iter().map(|f| (f.name.as_str(), &f.header))
    }

    /// `config.json`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn config(&self) -> Result<Vec<u8>> {
        self.read("config.json")
    }

    /// `preprocessor_config.json`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn preprocessor(&self) -> Result<Vec<u8>> {
        self.read("preprocessor_config.json")
    }

    /// `generation_config.json`, which a checkpoint may lack.
    ///
    /// # Errors
    /// The file is there, but cannot be read.
    pub fn generation(&self) -> Result<Option<Vec<u8>>> {
        self.read_optional("generation_config.json")
    }

    /// A small file of the folder, such as `qformer_tokenizer/tokenizer.json`.
    ///
    /// # Errors
    /// The file cannot be read, or is far too long.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        read_small(&self.root.join(name))
    }

    /// A small file that may be missing.
    ///
    /// # Errors
    /// The file is there, but cannot be read.
    pub fn read_optional(&self, name: &str) -> Result<Option<Vec<u8>>> {
        read_optional(&self.root, name)
    }

    /// The tensor called `name`. Its shard is not checked: see [`Folder::verify`].
    ///
    /// # Errors
    /// [`Error::TensorMissing`].
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>> {
        let missing = || Error::TensorMissing { name: name.into() };
        let (key, &(file, tensor)) = self.by_name.get_key_value(name).ok_or_else(missing)?;
        self.files
            .get(file)
            .and_then(|f| Some(f.view(key, f.header.tensors.get(tensor)?)))
            .ok_or_else(missing)
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = TensorView<'_>> {
        self.by_name.iter().filter_map(|(name, &(file, tensor))| {
            let file = self.files.get(file)?;
            Some(file.view(name, file.header.tensors.get(tensor)?))
        })
    }

    /// Passes every tensor to `f`, file by file in the order of their bytes; a shard is
    /// checked before its first tensor is passed.
    ///
    /// # Errors
    /// A shard is damaged, or what `f` returns.
    pub fn for_each_tensor(&self, mut f: impl FnMut(TensorView<'_>) -> Result<()>) -> Result<()> {
        let mut by_place: Vec<(&(usize, usize), &String)> =
            self.by_name.iter().map(|(name, place)| (place, name)).collect();
        by_place.sort_unstable();
        let mut by_place = by_place.into_iter().peekable();
        for (number, file) in self.files.iter().enumerate() {
            self.check_hash(file)?;
            while let Some((&(_, place), name)) = by_place.next_if(|((of, _), _)| *of == number) {
                if let Some(info) = file.header.tensors.get(place) {
                    f(file.view(name, info))?;
                }
            }
        }
        Ok(())
    }

    /// A text that changes when a file of weights is replaced: names, lengths, times and headers.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn identity(&self) -> Result<String> {
        let mut text = String::new();
        for OpenFile { name, path, file, length, header } in &self.files {
            let modified = file.metadata().and_then(|m| m.modified());
            let modified = modified.map_err(|e| Error::io(path, e))?;
            let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            text += &format!("{name} {length} {} {:?}\n", since.as_nanos(), header.tensors);
        }
        Ok(text)
    }

    /// Checks all shards against their SHA-256; does nothing for a checkpoint without them.
    ///
    /// # Errors
    /// [`Error::ShardCorrupt`].
    pub fn verify(&self) -> Result<()> {
        self.files.iter().try_for_each(|file| self.check_hash(file))
    }

    fn check_hash(&self, file: &OpenFile) -> Result<()> {
        match self.index.as_ref().and_then(|index| index.shard(&file.name)) {
            Some(info) => info.check_digest(&file.name, &file.hash()?.finalize()),
            None => Ok(()),
        }
    }
}

impl OpenFile {
    fn open(root: &Path, name: &str, promised: Option<&ShardInfo>) -> Result<Self> {
        let path = root.join(name);
        let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
        let length = file.metadata().map_err(|e| Error::io(&path, e))?.len();
        promised.map_or(Ok(()), |info| info.check_length(name, length))?;
        let read = |count: u64| {
            let mut bytes = vec![0; usize::try_from(count.min(length)).unwrap_or(usize::MAX)];
            read_exact_at(&file, &mut bytes, 0).map(|()| bytes).map_err(|e| Error::io(&path, e))
        };
        let span = Header::span(name, &read(8)?)?;
        let header = Header::parse(name, &read(span as u64)?, length)?;
        Ok(Self { name: name.into(), path, file, length, header })
    }

    fn view<'a>(&'a self, name: &'a str, info: &'a TensorInfo) -> TensorView<'a> {
        let TensorInfo { dtype, shape, range, .. } = info;
        TensorView { name, dtype: *dtype, shape, file: self, range }
    }

    fn read_at(&self, bytes: &mut [u8], start: u64) -> Result<()> {
        read_exact_at(&self.file, bytes, start).map_err(|e| Error::io(&self.path, e))
    }

    /// SHA-256 of the file.
    fn hash(&self) -> Result<Sha256> {
        let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE]);
        let mut start = 0;
        while start < self.length {
            let piece = &mut piece[..PIECE.min((self.length - start) as usize)];
            self.read_at(piece, start)?;
            hash.update(&*piece);
            start += piece.len() as u64;
        }
        Ok(hash)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], start: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, start)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut start: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, start)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => (bytes, start) = (&mut bytes[count..], start + count as u64),
        }
    }
    Ok(())
}

/// Finds every tensor's place.
fn locate(files: &[OpenFile], index: Option<&Index>) -> Result<BTreeMap<String, (usize, usize)>> {
    let invalid = |reason: String| Error::IndexInvalid { file: INDEX_FILE.into(), reason };
    let mut own: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (number, file) in files.iter().enumerate() {
        for (place, info) in
            file.header.tensors.iter().enumerate().filter(|(_, info)| !info.is_filler())
        {
            match index.and_then(|index| index.weight_map.get(&info.name)) {
                Some(other) if *other != file.name => {
                    return Err(invalid(format!(
                        "it puts {} into {other}, but {} has it",
                        info.name, file.name
                    )));
                }
                None if index.is_some() => continue, // what the index does not name is not part of the model
                _ => {}
            }
            own.insert(&info.name, (number, place));
        }
    }
    if let Some(name) = index
        .into_iter()
        .flat_map(|i| i.weight_map.keys())
        .find(|name| !own.contains_key(name.as_str()))
    {
        return Err(Error::TensorMissing { name: name.clone() });
    }
    Ok(own.into_iter().map(|(name, place)| (name.to_owned(), place)).collect())
}

/// A small file of a folder, or `None` where there is none.
pub(crate) fn read_optional(root: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    match read_small(&root.join(name)) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// A whole file of bounded length. Devices and pipes, which may have no end, are refused.
pub(crate) fn read_small(path: &Path) -> Result<Vec<u8>> {
    let found = fs::metadata(path).map_err(|e| Error::io(path, e))?;
    let invalid = |reason| Error::ConfigInvalid { file: path.display().to_string(), reason };
    if !found.is_file() {
        return Err(invalid("it is not a file".into()));
    }
    limits::check(&path.display().to_string(), found.len())?;
    fs::read(path).map_err(|e| Error::io(path, e))
}
