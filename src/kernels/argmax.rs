//! Index and log-probability of the largest logit of each row: `shaders/argmax.wgsl`.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Host, Launch, Shader, Work, fold_grid};
use super::log_probability::log_sum_exp;

const WORKGROUP: u32 = 256;

/// `[rows, width]` gives `[2 * rows]` words: the index of each row's largest value, of equal ones
/// the first as `torch.argmax` on the CPU, then the bits of their log-softmax (f32).
#[must_use]
pub fn argmax(x: &Tensor<2>) -> Tensor<1, Int> {
    let [rows, width] = x.dims();
    Launch {
        shader: shader(),
        inputs: vec![Arg::from(x)],
        output: 2 * rows,
        params: &[rows as u32, width as u32],
        workgroup: WORKGROUP,
        grid: fold_grid(rows),
        work: Work::default(),
    }
    .run_words(|host| oracle(host, width))
}

fn oracle(host: &[Host], width: usize) -> Vec<u32> {
    let choices = host[0].floats().chunks(width).map(|row| {
        let mut best = 0;
        for (i, x) in row.iter().enumerate() {
            if *x > row[best] {
                best = i;
            }
        }
        (best as u32, (f64::from(row[best]) - log_sum_exp(row)) as f32)
    });
    let (mut words, bits): (Vec<u32>, Vec<u32>) =
        choices.map(|(index, value)| (index, value.to_bits())).unzip();
    words.extend(bits);
    words
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
