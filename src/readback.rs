//! Tensors to host memory, asynchronously: a synchronous read panics in a browser.

mod ring;

pub use ring::{Reading, Ring};

use std::pin::Pin;

use burn::tensor::{DType, Device, Int, Tensor};

use crate::error::{Error, Result};
use crate::kernels::tensors;
use crate::meter;

/// Resolves once the GPU is done with what was launched before it was first polled.
pub type Fence = Pin<Box<dyn Future<Output = Result<()>>>>;

/// The values of a float tensor, row-major.
///
/// # Errors
/// The GPU failed on the way.
pub async fn floats<const D: usize>(tensor: &Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor.to_data_async().await.map_err(gpu_error)?;
    meter::waited();
    meter::read(data.bytes().len());
    data.as_slice::<f32>().map(<[f32]>::to_vec).map_err(type_error)
}

/// The values of a tensor of token ids.
///
/// # Errors
/// The GPU failed on the way.
pub async fn words(tensor: &Tensor<1, Int>) -> Result<Vec<u32>> {
    let data = tensor.to_data_async().await.map_err(gpu_error)?;
    meter::waited();
    meter::read(data.bytes().len());
    if data.dtype() == DType::U32 {
        return data.as_slice::<u32>().map(<[u32]>::to_vec).map_err(type_error);
    }
    Err(type_error(data.dtype()))
}

/// Hands over what was launched, without waiting.
///
/// # Errors
/// The device failed.
pub fn flush(device: &Device) -> Result<()> {
    meter::submitted();
    device.flush().map_err(gpu_error)
}

/// A fence behind `tensor`, ready at once on the host; no value is read.
#[must_use]
pub fn finished<const D: usize>(tensor: &Tensor<D>) -> Fence {
    match tensors::fence(tensor) {
        Some(fence) => Box::pin(async move { fence.await.map_err(gpu_error) }),
        None => Box::pin(std::future::ready(Ok(()))),
    }
}

fn gpu_error(error: impl std::fmt::Debug) -> Error {
    Error::Gpu { reason: format!("{error:?}") }
}

fn type_error(error: impl std::fmt::Debug) -> Error {
    Error::Internal { reason: format!("unexpected tensor type: {error:?}") }
}
