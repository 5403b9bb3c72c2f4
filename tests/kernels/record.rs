//! What may be recorded: kernels over what was there before, or over what they make.

use burn::tensor::{Int, Tensor};
use instructblip_web::kernels::record::{Recording, record};
use instructblip_web::kernels::{Activation, TokenHistory};
use instructblip_web::kernels::{argmax, gated_activation, top_k, words_tensor};
use instructblip_web::{Error, Result};

use super::{gpu, tensor};

fn recorded<T>(work: impl FnOnce() -> T) -> Result<(T, Recording)> {
    gpu();
    record(instructblip_web::gpu::open_device().unwrap(), work)
}

fn gated(x: &Tensor<3>, y: &Tensor<3>) -> Tensor<3> {
    gated_activation(x, y, Activation::Relu)
}

/// Asserts that it was refused, naming what reads.
fn refused<T>(recorded: Result<T>, reader: &str) {
    match recorded.map(|_| ()) {
        Err(Error::Internal { reason }) => assert!(reason.starts_with(reader), "{reason}"),
        other => panic!("{reader}: {other:?}"),
    }
}

#[test]
fn a_step_of_kernels_is_recorded() {
    let [x, y] = [1.0, 2.0].map(|value| tensor(&[value; 6], [1, 2, 3], &gpu()));
    let (_, recording) = recorded(|| {
        let z = gated(&x, &y);
        // Another view of the same memory is no operation.
        let z: Tensor<3> = z.reshape([2, 3]).reshape([1, 2, 3]);
        gated(&z, &z)
    })
    .unwrap();
    assert_eq!(recording.len(), 2);
}

#[test]
fn what_burn_computes_inside_is_refused() {
    let [x, y] = [1.0, 2.0].map(|value| tensor(&[value; 6], [1, 2, 3], &gpu()));
    refused(recorded(|| gated(&(x.clone() + y.clone()), &y)), "gated_activation");
    refused(recorded(|| gated(&x, &(gated(&x, &y) + y.clone()))), "gated_activation");
    // A copy in another order.
    refused(recorded(|| gated(&x.clone().swap_dims(1, 2), &y)), "gated_activation");
    let uploaded = || gated(&x, &tensor(&[1.0; 6], [1, 2, 3], &gpu()));
    refused(recorded(uploaded), "gated_activation");
    let (scores, at) = (tensor(&[1.0; 3], [1, 3], &gpu()), words_tensor(vec![0], &gpu()));
    let history = || TokenHistory::new(words_tensor(vec![0; 4], &gpu()), 1);
    refused(recorded(|| argmax(&scores, history(), &at)), "argmax");
}

#[test]
fn what_no_kernel_writes_is_no_output() {
    let scores = tensor(&[3.0, 4.0, 5.0], [1, 3], &gpu());
    let offsets: Tensor<1, Int> = words_tensor(vec![0], &gpu());
    let (best, recording) = recorded(|| top_k(&scores, &offsets, 2)).unwrap();
    recording.output(&best).unwrap();
    refused(recording.output(&offsets), "the host");
    let (sum, recording) =
        recorded(|| top_k(&scores, &offsets, 2) + offsets.clone().repeat_dim(0, 4)).unwrap();
    refused(recording.output(&sum), "the host");
}
