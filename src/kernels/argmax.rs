//! Index and log-probability of the largest logit of each row: `shaders/argmax.wgsl`.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Launch, Shader, Work, fold_grid};
use super::log_probability::log_sum_exp;

const WORKGROUP: u32 = 256;

/// Writes the tokens after `position` into `texts`, which is returned: of each row of `x`
/// `[rows, width]` the index of the largest value, of equal ones the first as `torch.argmax` on the
/// CPU, and the bits of its log-softmax (f32). `texts` has a line of `2 * rows` words for each
/// position, ids first. The memory is changed under every clone of it.
#[must_use]
pub fn argmax(x: &Tensor<2>, texts: Tensor<1, Int>, position: &Tensor<1, Int>) -> Tensor<1, Int> {
    let [rows, width] = x.dims();
    Launch {
        shader: shader(),
        inputs: vec![Arg::from(x), Arg::from(position)],
        output: texts.dims()[0],
        params: &[rows as u32, width as u32],
        workgroup: WORKGROUP,
        grid: fold_grid(rows),
        work: Work::default(),
    }
    .run_words_in_place(texts, |host, texts| {
        let choices = host[0].floats().chunks(width).map(choose);
        write_tokens(texts, host[1].words()[0], choices.collect());
    })
}

fn choose(row: &[f32]) -> (u32, u32) {
    let mut best = 0;
    for (i, x) in row.iter().enumerate() {
        if *x > row[best] {
            best = i;
        }
    }
    (best as u32, ((f64::from(row[best]) - log_sum_exp(row)) as f32).to_bits())
}

/// Writes the line after `position`: the ids, then the bits of their log-probabilities.
pub(super) fn write_tokens(texts: &mut [u32], position: u32, tokens: Vec<(u32, u32)>) {
    let rows = tokens.len();
    let line = (position as usize + 1) * 2 * rows;
    for (row, (id, bits)) in tokens.into_iter().enumerate() {
        texts[line + row] = id;
        texts[line + rows + row] = bits;
    }
}

pub(super) fn shader() -> Shader {
    Shader {
        name: "argmax",
        parts: vec![
            include_str!("../../shaders/reduce.wgsl"),
            include_str!("../../shaders/argmax.wgsl"),
        ],
        constants: vec![("WORKGROUP", WORKGROUP)],
        flags: Vec::new(),
    }
}
