//! What a model asks of a checkpoint: every tensor with its name, shape, role and part.
//!
//! In: a model's own way of loading itself. Out: the list that others go by, so that no tower is
//! described a second time. Names and shapes are those of the reference implementation, which
//! `save_pretrained` writes; a packed set has the pieces of each matrix instead.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use burn::tensor::Device;

use super::{Listing, Source, Weights};
use crate::checkpoint::index::INDEX_FILE;
use crate::checkpoint::{Dtype, Index};
use crate::config::QuantizationConfig;
use crate::error::{Error, Result};
use crate::quant::Format;

/// What a tensor is for. It decides whether the tensor may be packed, and how a random one looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The weights of a product, outputs first.
    Product,
    /// Rows by id.
    Embedding,
    /// What a norm multiplies by.
    Gain,
    /// What a layer adds.
    Bias,
    /// Values that are used as they are: tokens, positions, relative biases.
    Learned,
}

/// A part of the model, in the order in which a picture and a question pass through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Part {
    Vision,
    Bridge,
    QueriesAndProjection,
    Embeddings,
    Encoder,
    Decoder,
    Other,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Vision => "vision",
            Self::Bridge => "bridge",
            Self::QueriesAndProjection => "queries, projection",
            Self::Embeddings => "embeddings",
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
            Self::Other => "other",
        })
    }
}

/// A tensor that a model asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its name in the reference implementation.
    pub name: String,
    /// Its shape there.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// Where it belongs.
    pub part: Part,
    /// How much larger a random one is than its role says.
    pub spread: f32,
    /// Whether anything is computed with it.
    pub read: bool,
}

impl Wanted {
    /// Number of its values.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.shape.iter().map(|size| *size as u64).product()
    }

    /// Its first dimension, and all others together.
    #[must_use]
    pub fn rows(&self) -> (usize, usize) {
        match *self.shape.as_slice() {
            [n, ref rest @ ..] if !rest.is_empty() => (n, rest.iter().product()),
            _ => (1, self.shape.iter().product()),
        }
    }

    /// Whether it may be packed.
    #[must_use]
    pub fn is_matrix(&self) -> bool {
        matches!(self.role, Role::Product | Role::Embedding)
    }

    /// The format it has in a set packed as `packing` says; `None` where that says nothing of it.
    #[must_use]
    pub fn format(&self, packing: Option<&QuantizationConfig>) -> Option<Format> {
        let packing = packing.filter(|_| self.is_matrix())?;
        Some(packing.format_of(&self.name).or_f16(self.rows().1))
    }

    /// The tensors that hold it in `format`: names, types, shapes.
    #[must_use]
    pub fn pieces(&self, format: Format) -> Vec<(String, Dtype, Vec<usize>)> {
        let (n, k) = self.rows();
        let stem = self.name.strip_suffix("weight").unwrap_or(&self.name);
        let pieces = format.spec().pieces.iter();
        pieces
            .map(|piece| {
                let shape = vec![n, k / piece.weights];
                (format!("{stem}{}", piece.suffix), piece.dtype, shape)
            })
            .collect()
    }

    /// Whether a tensor of this shape holds all its values in order: leading dimensions of size 1
    /// may be missing or too many, and those of a matrix after the first may be folded.
    fn fits(&self, shape: &[usize]) -> bool {
        let significant =
            |sizes: &[usize]| sizes.iter().copied().skip_while(|n| *n == 1).collect::<Vec<_>>();
        let (n, k) = self.rows();
        let folded = self.is_matrix() && shape == [n, k];
        folded || significant(shape) == significant(&self.shape)
    }
}

/// All tensors of a model, and how a set of them is packed.
#[derive(Debug, Clone)]
pub struct Description {
    wanted: Vec<Wanted>,
    packing: Option<QuantizationConfig>,
    /// By the name of a tensor in a file, of each piece of a packed matrix too.
    by_name: HashMap<String, usize>,
    aliases: BTreeMap<String, String>,
}

impl Description {
    /// What `load` asks for, of a checkpoint that is packed as `packing` says.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn of<T>(
        packing: Option<QuantizationConfig>,
        device: &Device,
        load: impl FnOnce(&Weights<'_>) -> Result<T>,
    ) -> Result<Self> {
        let listing = Listing::new(device);
        load(&Weights::root(Source::Listing(&listing)))?;
        let wanted = listing.wanted.into_inner();
        let mut by_name = HashMap::new();
        for (at, tensor) in wanted.iter().enumerate() {
            by_name.extend(names(tensor, packing.as_ref()).map(|name| (name, at)));
        }
        let aliases = listing.aliases.into_inner().into_iter().collect();
        Ok(Self { wanted, packing, by_name, aliases })
    }

    /// The tensors in the order in which the model asks for them.
    #[must_use]
    pub fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    /// How matrices are packed; `None` for a plain checkpoint.
    #[must_use]
    pub fn packing(&self) -> Option<&QuantizationConfig> {
        self.packing.as_ref()
    }

    /// The tensor that `name` in a file is, or is a piece of.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Wanted> {
        self.wanted.get(*self.by_name.get(name)?)
    }

    /// Another name's own one, where it is an alias.
    #[must_use]
    pub fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }

    /// The names under which `wanted` lies in a file.
    pub fn names<'a>(&'a self, wanted: &'a Wanted) -> impl Iterator<Item = String> + 'a {
        names(wanted, self.packing.as_ref())
    }

    /// The part that a tensor of a file belongs to.
    #[must_use]
    pub fn part(&self, name: &str) -> Part {
        self.get(name).map_or(Part::Other, |wanted| wanted.part)
    }

    /// Parameters of the model.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.wanted.iter().map(Wanted::parameters).sum()
    }

    /// Bytes of all weights, without the headers of their files. For any configuration that was
    /// parsed, this does not overflow.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.wanted.iter().map(|wanted| self.bytes(wanted)).sum()
    }

    /// Order of tensors in a shard set: by part, then by name, numbers by value. It does not
    /// depend on the order in the source, and what runs first is loaded first.
    #[must_use]
    pub fn in_order(&self) -> Vec<&Wanted> {
        let mut wanted: Vec<&Wanted> = self.wanted.iter().collect();
        wanted.sort_by(|a, b| a.part.cmp(&b.part).then_with(|| natural(&a.name, &b.name)));
        wanted
    }

    /// Compares a tensor of a file with what it should be. `None` where nobody reads it.
    ///
    /// # Errors
    /// [`Error::TensorShape`] where type or shape differ.
    pub fn check(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<Option<&Wanted>> {
        let Some(wanted) = self.get(name).filter(|wanted| wanted.read) else { return Ok(None) };
        let misfit = |expected: String| Error::TensorShape {
            name: name.into(),
            expected,
            found: format!("{dtype} {shape:?}"),
        };
        let Some(format) = wanted.format(self.packing.as_ref()) else {
            let float = matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
            return match float && wanted.fits(shape) {
                true => Ok(Some(wanted)),
                false => Err(misfit(format!("floats {:?}", wanted.shape))),
            };
        };
        let pieces = wanted.pieces(format);
        let piece = pieces.iter().find(|(own, ..)| own == name);
        let Some((_, own_dtype, own_shape)) = piece else { return Ok(None) };
        let fits = shape == own_shape || !format.is_packed() && wanted.fits(shape);
        match dtype == *own_dtype && fits {
            true => Ok(Some(wanted)),
            false => Err(misfit(format!("{own_dtype} {own_shape:?} ({format})"))),
        }
    }

    /// Compares an index with the model before anything is fetched: every tensor must be named,
    /// and shards must have the bytes that their tensors imply.
    ///
    /// # Errors
    /// [`Error::TensorMissing`], or [`Error::IndexInvalid`] where a shard is too short or long.
    pub fn check_index(&self, index: &Index) -> Result<()> {
        for wanted in self.wanted.iter().filter(|wanted| wanted.read) {
            if let Some(name) = self.names(wanted).find(|name| !index.weight_map.contains_key(name))
            {
                return Err(Error::TensorMissing { name });
            }
        }
        // Without a packing, the types of tensors are not known.
        if self.packing.is_none() {
            return Ok(());
        }
        let mut content: HashMap<&str, Content> = HashMap::new();
        for (name, file) in &index.weight_map {
            let content = content.entry(file).or_default();
            // Alignment, the entry in the header, and the filler's.
            content.spare += 1024 + 2 * name.len() as u64;
            match self.get(name) {
                Some(wanted) => content.bytes += self.piece_bytes(wanted, name),
                None => content.strange = true,
            }
        }
        for (file, info) in &index.shards {
            let Some(content) = content.get(file.as_str()) else { continue };
            let most = content.bytes + content.spare + 4096;
            if info.bytes >= content.bytes && (content.strange || info.bytes <= most) {
                continue;
            }
            return Err(Error::IndexInvalid {
                file: INDEX_FILE.into(),
                reason: format!(
                    "the shard {file} has {} bytes, but its tensors should have {} by config.json. These files do not belong together; convert the checkpoint again",
                    info.bytes, content.bytes
                ),
            });
        }
        Ok(())
    }

    /// Bytes of a tensor with all its pieces.
    fn bytes(&self, wanted: &Wanted) -> u64 {
        let (n, k) = wanted.rows();
        wanted.format(self.packing.as_ref()).unwrap_or(Format::F32).bytes(n, k)
    }

    /// Bytes of the piece called `name`.
    fn piece_bytes(&self, wanted: &Wanted, name: &str) -> u64 {
        let Some(format) = wanted.format(self.packing.as_ref()) else { return self.bytes(wanted) };
        let pieces = wanted.pieces(format).into_iter().filter(|(own, ..)| own == name);
        let bytes = |(_, dtype, shape): (String, Dtype, Vec<usize>)| {
            dtype.size() as u64 * shape.iter().map(|size| *size as u64).product::<u64>()
        };
        pieces.map(bytes).sum()
    }
}

/// What an index puts into a shard.
#[derive(Default)]
struct Content {
    bytes: u64,
    /// What may come on top.
    spare: u64,
    /// Tensors that the model does not ask for, of any length.
    strange: bool,
}

/// The names under which a tensor lies in a file.
fn names(wanted: &Wanted, packing: Option<&QuantizationConfig>) -> impl Iterator<Item = String> {
    let names: Vec<String> = match wanted.format(packing) {
        Some(format) => wanted.pieces(format).into_iter().map(|(name, ..)| name).collect(),
        None => vec![wanted.name.clone()],
    };
    names.into_iter()
}

/// Compares dotted names piece by piece; pieces that are numbers compare by value.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let (x, y) = match (left.next(), right.next()) {
            (Some(x), Some(y)) => (x, y),
            (x, y) => return x.is_some().cmp(&y.is_some()),
        };
        let ordering = match (x.parse::<u64>(), y.parse::<u64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            _ => x.cmp(y),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}

#[cfg(test)]
mod tests;
