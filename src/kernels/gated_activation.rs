//! `act(gate) * up`, the middle of a gated feed-forward: `shaders/gated_activation.wgsl`.

use burn::tensor::Tensor;

use super::activation::Activation;
use super::launch::{Arg, Launch, Shader, Work, fold_grid, kernel};

kernel! {
    name: "gated_activation",
    parts: ["activation"],
    params: { count: u32 },
    variants: variants,
}

const WORKGROUP: u32 = 64;

/// Value by value over two tensors of one shape.
#[must_use]
pub fn gated_activation(gate: &Tensor<3>, up: &Tensor<3>, activation: Activation) -> Tensor<3> {
    let shape = gate.dims();
    let count: usize = shape.iter().product();
    Launch {
        shader: shader(activation),
        inputs: vec![Arg::from(gate), Arg::from(up)],
        output: count,
        params: &Params { count: count as u32 },
        workgroup: WORKGROUP,
        grid: fold_grid(count.div_ceil(WORKGROUP as usize)),
        work: Work::default(),
    }
    .run::<f32>(|host| {
        host[0]
            .floats()
            .iter()
            .zip(host[1].floats())
            .map(|(gate, up)| (activation.apply(f64::from(*gate)) * f64::from(*up)) as f32)
            .collect()
    })
    .reshape(shape)
}

fn shader(activation: Activation) -> Shader {
    let mut shader = KERNEL.shader(vec![("WORKGROUP", WORKGROUP)], vec![]);
    shader.parts.insert(0, Activation::wgsl(Some(activation)));
    shader
}

fn variants() -> Vec<Shader> {
    Activation::ALL.iter().copied().map(shader).collect()
}
