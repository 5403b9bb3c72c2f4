//! Appends new keys or values to a preallocated cache, in place: `shaders/cache_append.wgsl`.

use burn::tensor::Tensor;

use super::launch::{Arg, Launch, Shader, Work, fold_grid, kernel};

kernel! {
    name: "cache_append",
    parts: [],
    params: { tokens: u32, width: u32, capacity: u32, position: u32, count: u32 },
    variants: || vec![shader()],
}

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
        params: &Params {
            tokens: tokens as u32,
            width: width as u32,
            capacity: capacity as u32,
            position: position as u32,
            count: count as u32,
        },
        workgroup: WORKGROUP,
        grid: fold_grid(count.div_ceil(WORKGROUP as usize)),
        work: Work {
            untouched: ((batch * capacity * width - count) * size_of::<f32>()) as u64,
            ..Work::default()
        },
    }
    .run_in_place::<f32>(cache.reshape([-1]), |host, cache| {
        let rows = host[0].floats().chunks(tokens * width);
        for (b, rows) in rows.enumerate() {
            let first = (b * capacity + position) * width;
            cache[first..first + rows.len()].copy_from_slice(rows);
        }
    })
    .reshape(shape)
}

fn shader() -> Shader {
    KERNEL.shader(vec![("WORKGROUP", WORKGROUP)], vec![])
}
