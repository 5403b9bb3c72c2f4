//! Appends new keys or values to a preallocated cache, in place: `shaders/cache_append.wgsl`.

use burn::tensor::Tensor;

use super::launch::{Arg, Launch, Shader, Work, fold_grid};

const WORKGROUP: u32 = 64;

/// Writes `x` `[batch, tokens, width]` to rows `position..position + tokens` of `cache`
/// `[batch, capacity, width]` and returns the cache. The memory is changed under every clone of it.
///
/// # Panics
/// The rows do not fit the capacity; callers bound the number of steps.
#[must_use]
pub fn cache_append(cache: Tensor<3>, x: &Tensor<3>, position: usize) -> Tensor<3> {
    let shape = cache.dims();
    let [batch, capacity, width] = shape;
    let tokens = x.dims()[1];
    assert!(position + tokens <= capacity, "cache capacity");
    let count = batch * tokens * width;
    Launch {
        shader: shader(),
        inputs: vec![Arg::from(x)],
        output: batch * capacity * width,
        params: &[tokens, width, capacity, position, count].map(|value| value as u32),
        workgroup: WORKGROUP,
        grid: fold_grid(count.div_ceil(WORKGROUP as usize)),
        work: Work {
            untouched: ((batch * capacity * width - count) * size_of::<f32>()) as u64,
            ..Work::default()
        },
    }
    .run_in_place(cache.reshape([-1]), |host, cache| {
        let rows = host[0].floats().chunks(tokens * width);
        for (b, rows) in rows.enumerate() {
            let first = (b * capacity + position) * width;
            cache[first..first + rows.len()].copy_from_slice(rows);
        }
    })
    .reshape(shape)
}

pub(super) fn shader() -> Shader {
    Shader {
        name: "cache_append",
        parts: vec![include_str!("../../shaders/cache_append.wgsl")],
        constants: vec![("WORKGROUP", WORKGROUP)],
        flags: Vec::new(),
    }
}
