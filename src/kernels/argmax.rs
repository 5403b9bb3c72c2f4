//! Index of the largest logit of each row: `shaders/argmax.wgsl`.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Host, Launch, Shader, fold_grid};

const WORKGROUP: u32 = 256;

/// `[rows, width]` gives `[rows]`; of equal values the first, as `torch.argmax` on the CPU.
#[must_use]
pub fn argmax(x: &Tensor<2>) -> Tensor<1, Int> {
    let [rows, width] = x.dims();
    Launch {
        shader: shader(),
        inputs: vec![Arg::from(x)],
        output: rows,
        params: &[rows as u32, width as u32],
        workgroup: WORKGROUP,
        grid: fold_grid(rows),
    }
    .run_words(|host| oracle(host, width))
}

fn oracle(host: &[Host], width: usize) -> Vec<u32> {
    host[0]
        .floats()
        .chunks(width)
        .map(|row| {
            let mut best = 0;
            for (i, x) in row.iter().enumerate() {
                if *x > row[best] {
                    best = i;
                }
            }
            best as u32
        })
        .collect()
}

pub(super) fn shader() -> Shader {
    Shader {
        name: "argmax",
        parts: vec![include_str!("../../shaders/argmax.wgsl")],
        constants: vec![("WORKGROUP", WORKGROUP)],
        flags: Vec::new(),
    }
}
