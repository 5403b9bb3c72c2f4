//! Log-probability of one given token of each row: `shaders/log_probability.wgsl`.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Host, Launch, Shader, Work, fold_grid, kernel};

kernel! {
    name: "log_probability",
    parts: ["reduce"],
    params: { rows: u32, width: u32 },
    variants: || vec![shader()],
}

const WORKGROUP: u32 = 256;

/// `logits` `[rows, width]` and `ids` `[rows]` give `[rows]`: the log-softmax of that entry, and
/// 0 for an id beyond the width, which so serves as padding.
#[must_use]
pub fn log_probability(logits: &Tensor<2>, ids: &Tensor<1, Int>) -> Tensor<1> {
    let [rows, width] = logits.dims();
    Launch {
        shader: shader(),
        inputs: vec![Arg::from(logits), Arg::from(ids)],
        output: rows,
        params: &Params { rows: rows as u32, width: width as u32 },
        workgroup: WORKGROUP,
        grid: fold_grid(rows),
        work: Work::default(),
    }
    .run(|host| oracle(host, width))
}

fn oracle(host: &[Host], width: usize) -> Vec<f32> {
    let rows = host[0].floats().chunks(width).zip(host[1].words());
    rows.map(|(row, id)| {
        row.get(*id as usize).map_or(0.0, |x| (f64::from(*x) - log_sum_exp(row)) as f32)
    })
    .collect()
}

/// `ln(sum(exp(row)))` in f64, for the oracles.
pub(super) fn log_sum_exp(row: &[f32]) -> f64 {
    let largest = f64::from(row.iter().copied().fold(f32::MIN, f32::max));
    let total: f64 = row.iter().map(|x| (f64::from(*x) - largest).exp()).sum();
    largest + total.ln()
}

fn shader() -> Shader {
    KERNEL.shader(vec![("WORKGROUP", WORKGROUP)], vec![])
}
