//! The best continuations of all beams: `shaders/top_k.wgsl`.
//!
//! Reference: `torch.topk` over `[beams * vocabulary]` in `GenerationMixin._beam_search`. The
//! best of every beam are found side by side, then the best of these.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Host, Launch, Shader, Work, fold_grid, kernel};

kernel! {
    name: "top_k",
    parts: [],
    params: { rows: u32, width: u32, k: u32 },
    variants: variants,
}

const WORKGROUP: u32 = 256;

/// Label of a candidate that is none: fewer than k were numbers.
pub const NO_CANDIDATE: u32 = u32::MAX;

/// The `k` largest of `scores` `[rows, width]` plus `offsets` `[rows]` (f32 bits), over all rows:
/// `[2 * k]` words, pairs of the flat index `row * width + column` and the bits of the sum (f32),
/// best first, of equals the smaller index.
#[must_use]
pub fn top_k(scores: &Tensor<2>, offsets: &Tensor<1, Int>, k: usize) -> Tensor<1, Int> {
    let [rows, width] = scores.dims();
    let of_rows = Launch {
        shader: shader(false),
        inputs: vec![Arg::from(scores), Arg::from(offsets)],
        output: 2 * rows * k,
        params: &Params { rows: rows as u32, width: width as u32, k: k as u32 },
        workgroup: WORKGROUP,
        grid: fold_grid(rows),
        work: Work::default(),
    }
    .run::<u32>(|host| {
        let scores = host[0].floats();
        let rows = scores.chunks(width).zip(host[1].words()).enumerate();
        rows.flat_map(|(r, (row, offset))| {
            let offset = f32::from_bits(*offset);
            let labelled = row.iter().enumerate();
            best(labelled.map(|(i, x)| ((r * width + i) as u32, x + offset)).collect(), k)
        })
        .collect()
    });
    if rows == 1 {
        return of_rows;
    }
    Launch {
        shader: shader(true),
        inputs: vec![Arg::from(&of_rows)],
        output: 2 * k,
        params: &Params { rows: 1, width: (rows * k) as u32, k: k as u32 },
        workgroup: WORKGROUP,
        grid: [1; 3],
        work: Work::default(),
    }
    .run(|host| best(pairs(host), k))
}

fn pairs(host: &[Host]) -> Vec<(u32, f32)> {
    host[0].words().chunks_exact(2).map(|pair| (pair[0], f32::from_bits(pair[1]))).collect()
}

/// A stable sort, so that the first of equals stays first.
fn best(mut labelled: Vec<(u32, f32)>, k: usize) -> Vec<u32> {
    labelled.retain(|(_, value)| !value.is_nan());
    labelled.sort_by(|a, b| b.1.total_cmp(&a.1));
    labelled.resize(k, (NO_CANDIDATE, f32::MIN));
    labelled.into_iter().flat_map(|(label, value)| [label, value.to_bits()]).collect()
}

fn shader(merge: bool) -> Shader {
    KERNEL.shader(vec![("WORKGROUP", WORKGROUP)], if merge { vec!["MERGE"] } else { vec![] })
}

fn variants() -> Vec<Shader> {
    vec![shader(false), shader(true)]
}
