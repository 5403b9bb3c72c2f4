//! `y = act(x W^T + b) + residual` over any weight format, alone or together with what a decoder
//! does before and after it: `shaders/matvec.wgsl` for few rows of x, where all is one dispatch;
//! `shaders/matmul.wgsl` for more, with norm and gate as dispatches of their own.

use burn::tensor::{Int, Tensor};

use super::activation::Activation;
use super::gated_activation;
use super::matmul::matmul;
use super::matrix::Matrix;
use super::matvec::{MATVEC_ROWS, Matvec, Role};
use super::product::{Epilogue, Norm};

/// `[batch, rows, k]` times `[n, k]` transposed gives `[batch, rows, n]`.
///
/// # Panics
/// The last dimension of x is not the matrix's `k`: a bug in the model code, since shapes of
/// weights are checked when they are read.
#[must_use]
pub fn linear(x: &Tensor<3>, weight: &Matrix, epilogue: Epilogue<'_>) -> Tensor<3> {
    if few_rows(x) {
        return Matvec::new(x, weight, epilogue).run();
    }
    matmul(x, weight, epilogue)
}

/// [`linear`] of the normed x.
#[must_use]
pub fn linear_normed(
    x: &Tensor<3>,
    norm: Norm<'_>,
    weight: &Matrix,
    epilogue: Epilogue<'_>,
) -> Tensor<3> {
    if few_rows(x) {
        return Matvec { norm: Some(norm), ..Matvec::new(x, weight, epilogue) }.run();
    }
    linear(&norm.apply(x), weight, epilogue)
}

/// `act(gate y) * up y` with y the normed x: the first half of a gated feed-forward.
#[must_use]
pub fn linear_gated(
    x: &Tensor<3>,
    norm: Norm<'_>,
    [gate, up]: [&Matrix; 2],
    activation: Activation,
) -> Tensor<3> {
    let epilogue = Epilogue { activation: Some(activation), ..Epilogue::default() };
    // One shader reads both matrices, so they must be packed alike.
    if few_rows(x) && gate.format() == up.format() {
        let matvec = Matvec::new(x, gate, epilogue);
        return Matvec { norm: Some(norm), role: Role::Gate(up), ..matvec }.run();
    }
    let y = norm.apply(x);
    let plain = Epilogue::default();
    gated_activation(&linear(&y, gate, plain), &linear(&y, up, plain), activation)
}

/// Keys and values of the normed x `[rows, 1, k]`, one token of every text, written to the row
/// `position` of `cache` `[rows, capacity, 2 * n]`, which is returned: keys first, then values.
/// The memory is changed under every clone of it.
///
/// # Panics
/// There are more rows than [`MATVEC_ROWS`].
#[must_use]
pub fn linear_cached(
    x: &Tensor<3>,
    norm: Norm<'_>,
    [key, value]: [&Matrix; 2],
    cache: Tensor<3>,
    position: &Tensor<1, Int>,
) -> Tensor<3> {
    assert!(few_rows(x), "rows of a step");
    let capacity = cache.dims()[1];
    let run = |weight, second, column, cache| {
        let matvec = Matvec::new(x, weight, Epilogue::default());
        let role = Role::Cache { second, position, capacity, column };
        Matvec { norm: Some(norm), role, ..matvec }.run_in_place(cache)
    };
    // One shader reads both matrices, so they must be packed alike.
    if key.format() == value.format() {
        return run(key, Some(value), 0, cache);
    }
    let cache = run(key, None, 0, cache);
    run(value, None, key.n(), cache)
}

fn few_rows(x: &Tensor<3>) -> bool {
    let [batch, rows, _] = x.dims();
    batch * rows <= MATVEC_ROWS
}
