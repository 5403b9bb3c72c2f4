//! Rows of a weight matrix by id: `shaders/embedding.wgsl`.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Launch, Shader, Work, fold_grid};
use super::matrix::Matrix;
use crate::quant::Format;

const WORKGROUP: u32 = 64;

/// `[tokens]` ids below the table's rows give `[tokens, k]`; ids beyond give zeros.
#[must_use]
pub fn embedding(ids: &Tensor<1, Int>, table: &Matrix) -> Tensor<2> {
    let [tokens] = ids.dims();
    gather(ids, None, tokens, table)
}

/// The embeddings `[rows, k]` of the tokens at `position` of `rows` texts. `texts` has a line for
/// each position: the ids of all rows, then as many words that are not read.
#[must_use]
pub fn embedding_step(
    texts: &Tensor<1, Int>,
    position: &Tensor<1, Int>,
    rows: usize,
    table: &Matrix,
) -> Tensor<2> {
    gather(texts, Some(position), rows, table)
}

fn gather(
    ids: &Tensor<1, Int>,
    position: Option<&Tensor<1, Int>>,
    tokens: usize,
    table: &Matrix,
) -> Tensor<2> {
    let (format, n, k) = (table.format(), table.n(), table.k());
    let mut inputs = table.args();
    inputs.push(Arg::from(ids));
    inputs.extend(position.map(Arg::from));
    let rows_read = table.byte_len() / (n as u64).max(1) * tokens as u64;
    Launch {
        shader: shader(format, position.is_some()),
        inputs,
        output: tokens * k,
        params: &[tokens as u32, n as u32, k as u32],
        workgroup: WORKGROUP,
        grid: fold_grid(tokens),
        work: Work {
            weight_bytes: rows_read,
            untouched: table.byte_len().saturating_sub(rows_read),
            flops: 0,
        },
    }
    .run(|host| {
        let table = Matrix::unpack(host, format, n, k);
        let args = Matrix::arg_count(format);
        let line = host.get(args + 1).map_or(0, |position| position.words()[0] as usize);
        let ids = &host[args].words()[line * 2 * tokens..][..tokens];
        let row = |id: &u32| {
            let first = *id as usize * k;
            table.get(first..first + k).map_or_else(|| vec![0.0; k], <[f32]>::to_vec)
        };
        ids.iter().flat_map(row).collect()
    })
    .reshape([tokens, k])
}

fn shader(format: Format, step: bool) -> Shader {
    let mut shader = Matrix::shader("embedding", format);
    shader.parts.push(include_str!("../../shaders/embedding.wgsl"));
    shader.constants.push(("WORKGROUP", WORKGROUP));
    if step {
        shader.flags.push("STEP");
    }
    shader
}

pub(super) fn variants() -> Vec<Shader> {
    Format::ALL
        .into_iter()
        .flat_map(|format| [shader(format, false), shader(format, true)])
        .collect()
}
