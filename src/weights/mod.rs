//! Where a model takes its weights from: a scope over an exchangeable source.
//!
//! A model is described once, by loading itself. `weights.at("encoder").at("layers.0.fc1")` is a
//! place among a checkpoint's names, and `product(n, k)` and its like there ask for a tensor with
//! its shape and role. What answers is one of three sources:
//!
//! - *stored* ([`WeightStore`]): tensors of a checkpoint that were put on the device;
//! - *blank* ([`Blank`]): whatever is asked for, with no particular contents, for a model that is
//!   run for the pipelines it needs;
//! - *listing* ([`Description::of`]): nothing, but every wish is written down. The list is what
//!   the converter, the index check before a download and random checkpoints know of a model.

mod description;
mod store;

pub use description::{Description, Part, Role, Wanted};
pub use store::WeightStore;

use std::cell::RefCell;
use std::fmt::Display;

use burn::tensor::{DType, Device, Int, Tensor};

use crate::config::QuantizationConfig;
use crate::error::Result;
use crate::kernels::Matrix;
use crate::quant::Format;

/// A place among a checkpoint's names, and the source behind it.
#[derive(Clone, Debug)]
pub struct Weights<'a> {
    source: Source<'a>,
    prefix: String,
    part: Part,
    spread: f32,
    read: bool,
}

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Stored(&'a WeightStore),
    Blank(&'a Blank),
    Listing(&'a Listing),
}

/// A source that has everything, with no particular contents.
#[derive(Debug)]
pub struct Blank {
    device: Device,
    packing: Option<QuantizationConfig>,
}

impl Blank {
    /// Matrices are in the formats that `packing` says.
    #[must_use]
    pub fn new(device: &Device, packing: Option<QuantizationConfig>) -> Self {
        Self { device: device.clone(), packing }
    }

    /// All of it.
    #[must_use]
    pub fn weights(&self) -> Weights<'_> {
        Weights::root(Source::Blank(self))
    }
}

/// A source that writes down what it is asked for. What it gives has no size: loading a model
/// looks at no values.
#[derive(Debug)]
struct Listing {
    wanted: RefCell<Vec<Wanted>>,
    aliases: RefCell<Vec<(String, String)>>,
    /// Stands for every tensor.
    floats: Tensor<1>,
    words: Tensor<1, Int>,
}

impl Listing {
    fn new(device: &Device) -> Self {
        Self {
            wanted: RefCell::default(),
            aliases: RefCell::default(),
            floats: Tensor::empty([1], device),
            words: Tensor::empty([1], (device, DType::U32)),
        }
    }
}

impl<'a> Weights<'a> {
    fn root(source: Source<'a>) -> Self {
        Self { source, prefix: String::new(), part: Part::Other, spread: 1.0, read: true }
    }

    /// The place `name` below this one, such as `self_attn` or `layers.3`.
    #[must_use]
    pub fn at(&self, name: impl Display) -> Self {
        Self { prefix: self.name(name), ..self.clone() }
    }

    /// The same place, in a part of the model.
    #[must_use]
    pub fn part(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// The same place, where random weights are `factor` times as large as their role says (as
    /// in `_init_weights` of the reference).
    #[must_use]
    pub fn spread(self, factor: f32) -> Self {
        Self { spread: factor, ..self }
    }

    /// The same place for what every checkpoint has and nobody reads; `None` where no list is made.
    #[must_use]
    pub fn unread(&self) -> Option<Self> {
        let listing = matches!(self.source, Source::Listing(_));
        listing.then(|| Self { read: false, ..self.clone() })
    }

    /// Says that `alias` is another name for the tensor `name`; both below this place.
    pub fn alias(&self, alias: &str, name: &str) {
        if let Source::Listing(list) = self.source {
            list.aliases.borrow_mut().push((self.name(alias), self.name(name)));
        }
    }

    /// `weight` `[n, k]` of a product, in its storage format.
    ///
    /// # Errors
    /// It is missing.
    pub fn product(&self, n: usize, k: usize) -> Result<Matrix> {
        self.matrix(Role::Product, vec![n, k])
    }

    /// `weight` `[n, c, h, w]` of a convolution whose stride is its size, as the product
    /// `[n, c * h * w]` that it is over patches.
    ///
    /// # Errors
    /// It is missing.
    pub fn convolution(&self, n: usize, [c, h, w]: [usize; 3]) -> Result<Matrix> {
        self.matrix(Role::Product, vec![n, c, h, w])
    }

    /// `weight` `[n, k]`, rows by id, in its storage format.
    ///
    /// # Errors
    /// It is missing.
    pub fn embedding(&self, n: usize, k: usize) -> Result<Matrix> {
        self.matrix(Role::Embedding, vec![n, k])
    }

    /// `weight` `[n, k]`, rows by id that are added to others: never packed.
    ///
    /// # Errors
    /// It is missing.
    pub fn table(&self, n: usize, k: usize) -> Result<Matrix> {
        self.matrix(Role::Learned, vec![n, k])
    }

    /// `weight` `[width]` of a norm.
    ///
    /// # Errors
    /// It is missing.
    pub fn gain(&self, width: usize) -> Result<Tensor<1>> {
        self.at("weight").floats(Role::Gain, [width])
    }

    /// `bias` `[width]`.
    ///
    /// # Errors
    /// It is missing.
    pub fn bias(&self, width: usize) -> Result<Tensor<1>> {
        self.at("bias").floats(Role::Bias, [width])
    }

    /// The tensor that has this place's own name: learned tokens or positions.
    ///
    /// # Errors
    /// It is missing.
    pub fn learned<const D: usize>(&self, shape: [usize; D]) -> Result<Tensor<D>> {
        self.floats(Role::Learned, shape)
    }

    fn name(&self, below: impl Display) -> String {
        match self.prefix.as_str() {
            "" => below.to_string(),
            prefix => format!("{prefix}.{below}"),
        }
    }

    fn wanted(&self, name: String, role: Role, shape: Vec<usize>) -> Wanted {
        let Self { part, spread, read, .. } = *self;
        Wanted { name, shape, role, part, spread, read }
    }

    fn matrix(&self, role: Role, shape: Vec<usize>) -> Result<Matrix> {
        let wanted = self.wanted(self.name("weight"), role, shape);
        let (n, k) = wanted.rows();
        match self.source {
            Source::Stored(store) => store.matrix(&wanted),
            Source::Blank(Blank { device, packing }) => {
                let format = wanted.format(packing.as_ref()).unwrap_or(Format::F32);
                Ok(Matrix::blank(format, n, k, device))
            }
            Source::Listing(list) => {
                list.wanted.borrow_mut().push(wanted);
                Ok(Matrix::new(Format::F32, n, k, vec![list.words.clone()]))
            }
        }
    }

    fn floats<const D: usize>(&self, role: Role, shape: [usize; D]) -> Result<Tensor<D>> {
        let wanted = self.wanted(self.prefix.clone(), role, shape.to_vec());
        match self.source {
            Source::Stored(store) => Ok(store.floats(&wanted)?.reshape(shape)),
            Source::Blank(Blank { device, .. }) => Ok(Tensor::empty(shape, device)),
            Source::Listing(list) => {
                list.wanted.borrow_mut().push(wanted);
                Ok(list.floats.clone().reshape([1; D]))
            }
        }
    }
}
