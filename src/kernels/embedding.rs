//! Rows of a weight matrix by id: `shaders/embedding.wgsl`.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Launch, Shader, Work, fold_grid, kernel};
use super::matrix::Matrix;
use super::token_history::{self, TokenHistory};
use crate::quant::Format;

kernel! {
    name: "embedding",
    parts: [],
    params: { tokens: u32, n: u32, k: u32 },
    variants: variants,
}

const WORKGROUP: u32 = 64;

/// `[tokens]` ids below the table's rows give `[tokens, k]`; ids beyond give zeros.
#[must_use]
pub fn embedding(ids: &Tensor<1, Int>, table: &Matrix) -> Tensor<2> {
    let [tokens] = ids.dims();
    gather(ids, None, tokens, table)
}

/// The embeddings `[rows, k]` of the texts' tokens at `position` (one word).
#[must_use]
pub fn embedding_step(
    history: &TokenHistory,
    position: &Tensor<1, Int>,
    table: &Matrix,
) -> Tensor<2> {
    gather(history.words(), Some(position), history.rows(), table)
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
        params: &Params { tokens: tokens as u32, n: n as u32, k: k as u32 },
        workgroup: WORKGROUP,
        grid: fold_grid(tokens),
        work: Work {
            weight_bytes: rows_read,
            untouched: table.byte_len().saturating_sub(rows_read),
            flops: 0,
        },
    }
    .run::<f32>(|host| {
        let table = Matrix::unpack(host, format, n, k);
        let args = Matrix::arg_count(format);
        let position = host.get(args + 1).map_or(0, |position| position.words()[0] as usize);
        let ids = token_history::ids(host[args].words(), position, tokens);
        let row = |id: &u32| {
            let first = *id as usize * k;
            table.get(first..first + k).map_or_else(|| vec![0.0; k], <[f32]>::to_vec)
        };
        ids.iter().flat_map(row).collect()
    })
    .reshape([tokens, k])
}

fn shader(format: Format, step: bool) -> Shader {
    let mut shader = Matrix::shader(KERNEL.name, format);
    if step {
        shader.flags.push("STEP");
        shader.parts.push(include_str!("../../shaders/parts/token_history.wgsl"));
    }
    shader.parts.extend(KERNEL.parts);
    shader.constants.push(("WORKGROUP", WORKGROUP));
    shader
}

fn variants() -> Vec<Shader> {
    Format::ALL
        .into_iter()
        .flat_map(|format| [shader(format, false), shader(format, true)])
        .collect()
}
