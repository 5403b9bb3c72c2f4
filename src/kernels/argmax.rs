//! Index and log-probability of the largest logit of each row: `shaders/argmax.wgsl`.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Launch, Shader, Work, fold_grid, kernel};
use super::log_probability::log_sum_exp;
use super::token_history::TokenHistory;

kernel! {
    name: "argmax",
    parts: ["reduce", "token_history"],
    params: { rows: u32, width: u32 },
    variants: || vec![shader()],
}

const WORKGROUP: u32 = 256;

/// Writes the tokens after `position` (one word) into `history`, which is returned: of each row of
/// `x` `[rows, width]` the index of the largest value, of equal ones the first as `torch.argmax` on
/// the CPU, and its log-softmax. The memory is changed under every clone of the history.
#[must_use]
pub fn argmax(x: &Tensor<2>, history: TokenHistory, position: &Tensor<1, Int>) -> TokenHistory {
    let [rows, width] = x.dims();
    assert_eq!(rows, history.rows(), "texts");
    let launch = Launch {
        shader: shader(),
        inputs: vec![Arg::from(x), Arg::from(position)],
        output: history.words().dims()[0],
        params: &Params { rows: rows as u32, width: width as u32 },
        workgroup: WORKGROUP,
        grid: fold_grid(rows),
        work: Work::default(),
    };
    history.extended(launch, |host| {
        let tokens = host[0].floats().chunks(width).map(choose).collect();
        (host[1].words()[0], tokens)
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

fn shader() -> Shader {
    KERNEL.shader(vec![("WORKGROUP", WORKGROUP)], vec![])
}
