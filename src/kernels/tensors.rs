//! Tensors as kernels take them: flat, contiguous, 32 bits a value. On a GPU device they are
//! buffers, on the CPU device they are copied to the host for the oracles.

// The browser build has no CPU device, so only one kind of tensor is left to match.
#![cfg_attr(target_family = "wasm", allow(irrefutable_let_patterns, unreachable_patterns))]

use burn::backend::{BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind};
use burn::cubecl::server::ServerError;
use burn::tensor::kind::Basic;
use burn::tensor::{DType, Device, Element, Float, Int, Tensor, TensorData};
use burn_cubecl::tensor::CubeTensor;

use crate::meter;

/// What a buffer holds: f32 values or 32-bit words.
pub trait Value: Element {
    /// The kind of its tensors.
    type Kind: Basic;
    /// Its type on the device.
    const DTYPE: DType;

    /// The tensor as a GPU's runtime knows it, as Burn knows it.
    #[doc(hidden)]
    fn on_gpu(tensor: CubeTensor) -> BackendTensor<burn::backend::Cube>;

    /// The tensor's values, on the CPU device.
    #[doc(hidden)]
    fn to_host(tensor: &Tensor<1, Self::Kind>) -> Vec<Self>;
}

impl Value for f32 {
    type Kind = Float;
    const DTYPE: DType = DType::F32;

    fn on_gpu(tensor: CubeTensor) -> BackendTensor<burn::backend::Cube> {
        BackendTensor::Float(tensor)
    }

    fn to_host(tensor: &Tensor<1>) -> Vec<f32> {
        slice_of(&tensor.to_data())
    }
}

impl Value for u32 {
    type Kind = Int;
    const DTYPE: DType = DType::U32;

    fn on_gpu(tensor: CubeTensor) -> BackendTensor<burn::backend::Cube> {
        BackendTensor::Int(tensor)
    }

    fn to_host(tensor: &Tensor<1, Int>) -> Vec<u32> {
        let data = tensor.to_data();
        match data.dtype() {
            DType::U32 => slice_of(&data),
            DType::I32 => cast::<i32>(&data),
            _ => cast::<i64>(&data),
        }
    }
}

fn slice_of<E: Element>(data: &TensorData) -> Vec<E> {
    data.as_slice::<E>().map(<[E]>::to_vec).unwrap_or_default()
}

fn cast<E: Element>(data: &TensorData) -> Vec<u32>
where
    i64: From<E>,
{
    slice_of::<E>(data).into_iter().map(|value| i64::from(value) as u32).collect()
}

/// A tensor handed to a kernel: floats are f32, integers are 32-bit words.
#[derive(Clone, Debug)]
pub enum Arg {
    /// f32 values.
    Float(Tensor<1>),
    /// u32 or i32 words: token ids, or the raw words of packed weights.
    Words(Tensor<1, Int>),
}

impl<const D: usize> From<&Tensor<D>> for Arg {
    fn from(tensor: &Tensor<D>) -> Self {
        Self::Float(tensor.clone().reshape([-1]))
    }
}

impl<const D: usize> From<&Tensor<D, Int>> for Arg {
    fn from(tensor: &Tensor<D, Int>) -> Self {
        Self::Words(tensor.clone().reshape([-1]))
    }
}

impl Arg {
    pub(super) fn device(&self) -> Device {
        match self {
            Self::Float(tensor) => tensor.device(),
            Self::Words(tensor) => tensor.device(),
        }
    }

    /// 32-bit values.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Float(tensor) => tensor.dims()[0],
            Self::Words(tensor) => tensor.dims()[0],
        }
    }

    /// As [`cube_of`].
    pub(super) fn cube(self) -> Option<CubeTensor> {
        match self {
            Self::Float(tensor) => cube_of(tensor),
            Self::Words(tensor) => cube_of(tensor),
        }
    }

    /// Host copy for the oracles; only the CPU device comes here, where reading is a copy.
    pub(super) fn to_host(&self) -> Host {
        match self {
            Self::Float(tensor) => Host::Float(f32::to_host(tensor)),
            Self::Words(tensor) => Host::Words(u32::to_host(tensor)),
        }
    }
}

/// Host copy of an [`Arg`], as the oracles take it.
#[derive(Clone, Debug)]
pub enum Host {
    /// f32 values.
    Float(Vec<f32>),
    /// 32-bit words.
    Words(Vec<u32>),
}

impl Host {
    /// The f32 values.
    ///
    /// # Panics
    /// They are words: the oracle takes its inputs in another order than the kernel.
    #[must_use]
    pub fn floats(&self) -> &[f32] {
        match self {
            Self::Float(values) => values,
            Self::Words(_) => panic!("the oracle takes an input for floats that is words"),
        }
    }

    /// The words.
    ///
    /// # Panics
    /// They are floats: the oracle takes its inputs in another order than the kernel.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        match self {
            Self::Words(values) => values,
            Self::Float(_) => panic!("the oracle takes an input for words that is floats"),
        }
    }
}

/// The tensor as the GPU's runtime knows it; `None` on the host.
pub(super) fn cube_of<const D: usize, K: Basic>(tensor: Tensor<D, K>) -> Option<CubeTensor> {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Cube(
            BackendTensor::Float(tensor)
            | BackendTensor::Int(tensor)
            | BackendTensor::Bool(tensor)
            | BackendTensor::Quantized(tensor),
        ) => Some(tensor),
        _ => None,
    }
}

/// The other way round.
pub(super) fn from_cube<V: Value>(tensor: CubeTensor) -> Tensor<1, V::Kind> {
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Cube(V::on_gpu(tensor)),
        autodiff: DispatchAutodiffContext::Disabled,
    })
}

/// A row of values on `device`.
pub(super) fn from_host<V: Value>(values: Vec<V>, device: &Device) -> Tensor<1, V::Kind> {
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), (device, V::DTYPE))
}

/// A tensor of 32-bit words, such as token ids, on `device`.
#[must_use]
pub fn words_tensor(words: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    meter::submitted();
    from_host(words, device)
}

/// A row of f32 values on `device`.
#[must_use]
pub fn floats_tensor(values: Vec<f32>, device: &Device) -> Tensor<1> {
    meter::submitted();
    from_host(values, device)
}

/// The same 32-bit words seen as f32 values, without a copy on a GPU.
#[must_use]
pub fn floats_from_words(words: Tensor<1, Int>) -> Tensor<1> {
    if let Some(tensor) = cube_of(words.clone()) {
        return from_cube::<f32>(CubeTensor { dtype: DType::F32, ..tensor });
    }
    let values = u32::to_host(&words).into_iter().map(f32::from_bits);
    from_host(values.collect(), &words.device())
}

/// What the GPU client answers once it has computed `tensor`; `None` on the host.
pub(crate) fn fence<const D: usize>(
    tensor: &Tensor<D>,
) -> Option<impl Future<Output = Result<(), ServerError>> + use<D>> {
    let tensor = cube_of(tensor.clone())?;
    Some(tensor.client.sync_buffers([&tensor.handle]))
}
