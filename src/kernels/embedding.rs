//! Rows of a weight matrix by id: `shaders/embedding.wgsl`.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Host, Launch, Shader, Work, fold_grid};
use super::matrix::Matrix;
use crate::quant::Format;

const WORKGROUP: u32 = 64;

/// `[tokens]` ids below the table's rows give `[tokens, k]`; ids beyond give zeros.
#[must_use]
pub fn embedding(ids: &Tensor<1, Int>, table: &Matrix) -> Tensor<2> {
    let [tokens] = ids.dims();
    let (format, n, k) = (table.format(), table.n(), table.k());
    let mut inputs = table.args();
    inputs.push(Arg::from(ids));
    let rows_read = table.byte_len() / (n as u64).max(1) * tokens as u64;
    Launch {
        shader: shader(format),
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
    .run(|host| oracle(host, format, n, k))
    .reshape([tokens, k])
}

fn oracle(host: &[Host], format: Format, n: usize, k: usize) -> Vec<f32> {
    let table = Matrix::unpack(host, format, n, k);
    host[Matrix::arg_count(format)]
        .words()
        .iter()
        .flat_map(|id| {
            let first = *id as usize * k;
            table.get(first..first + k).map_or_else(|| vec![0.0; k], <[f32]>::to_vec)
        })
        .collect()
}

fn shader(format: Format) -> Shader {
    let mut shader = Matrix::shader("embedding", format);
    shader.parts.push(include_str!("../../shaders/embedding.wgsl"));
    shader.constants.push(("WORKGROUP", WORKGROUP));
    shader
}

pub(super) fn variants() -> Vec<Shader> {
    Format::ALL.map(shader).to_vec()
}
