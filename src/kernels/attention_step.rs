//! Attention of one query a text, as the decoder's step needs it: `shaders/attention_step.wgsl`.

use burn::tensor::{Int, Tensor};

use super::launch::{Arg, Host, Launch, Shader, Work, kernel};
use crate::config::MAX_HEAD_WIDTH;

kernel! {
    name: "attention_step",
    parts: [],
    params: { heads: u32, keys: u32, capacity: u32 },
    variants: variants,
}

const WORKGROUP: u32 = 64;

/// What a step attends to.
#[derive(Clone, Copy, Debug)]
pub enum Past<'a> {
    /// The tokens of the text itself, up to the one at `position`.
    Own {
        /// Keys, then values, `[rows, capacity, 2 * heads * width]`.
        cache: &'a Tensor<3>,
        /// Relative bias by distance, `[capacity, heads]`; the last row is distance 0.
        bias: &'a Tensor<2>,
        /// Where in its text the token stands, one word.
        position: &'a Tensor<1, Int>,
        /// `[rows, capacity]`: the row of the cache that holds each token of a text, for beams
        /// with a history in other beams' rows; without it every text lies in its own.
        lineage: Option<&'a Tensor<1, Int>>,
    },
    /// The encoder's output, the same for all texts: keys and values `[1, keys, heads * width]`.
    Encoder(&'a Tensor<3>, &'a Tensor<3>),
}

/// `q` `[rows, 1, heads * width]` gives `[rows, 1, heads * width]`; scores are not scaled.
#[must_use]
pub fn attention_step(q: &Tensor<3>, heads: usize, past: Past<'_>) -> Tensor<3> {
    let [rows, _, inner] = q.dims();
    let width = inner / heads;
    let (mut flags, mut inputs) = (Vec::new(), vec![Arg::from(q)]);
    // Bytes that are read depend on the position, which only the device knows: all count.
    let (keys, capacity) = match past {
        Past::Own { cache, bias, position, lineage } => {
            flags.push("SELF");
            inputs.extend([Arg::from(cache), Arg::from(bias), Arg::from(position)]);
            if let Some(lineage) = lineage {
                flags.push("LINEAGE");
                inputs.push(Arg::from(lineage));
            }
            (0, cache.dims()[1])
        }
        Past::Encoder(keys, values) => {
            inputs.extend([Arg::from(keys), Arg::from(values)]);
            (keys.dims()[1], keys.dims()[1])
        }
    };
    let own = matches!(past, Past::Own { .. });
    let lineage = flags.contains(&"LINEAGE");
    let layout = Layout { rows, heads, width, keys, capacity, own, lineage };
    Launch {
        shader: shader(width, flags),
        inputs,
        output: rows * inner,
        params: &Params { heads: heads as u32, keys: keys as u32, capacity: capacity as u32 },
        workgroup: WORKGROUP,
        grid: [heads as u32, rows as u32, 1],
        work: Work { flops: 4 * (rows * inner * capacity) as u64, ..Work::default() },
    }
    .run(|host| layout.oracle(host))
    .reshape([rows, 1, inner])
}

struct Layout {
    rows: usize,
    heads: usize,
    width: usize,
    keys: usize,
    capacity: usize,
    own: bool,
    lineage: bool,
}

impl Layout {
    /// Plain attention in f64, the softmax over all keys at once.
    fn oracle(&self, host: &[Host]) -> Vec<f32> {
        let inner = self.heads * self.width;
        let q = host[0].floats();
        let keys = if self.own { host[3].words()[0] as usize + 1 } else { self.keys };
        let lineage = if self.lineage { host[4].words() } else { &[] };
        let mut out = Vec::with_capacity(self.rows * inner);
        for b in 0..self.rows {
            // The key and value of token s, all heads.
            let past = |s: usize| {
                if !self.own {
                    return [1, 2].map(|i| &host[i].floats()[s * inner..][..inner]);
                }
                let entry = lineage.get(b * self.capacity + s).map_or(b, |entry| *entry as usize);
                let at = (entry * self.capacity + s) * 2 * inner;
                [at, at + inner].map(|at| &host[1].floats()[at..][..inner])
            };
            for h in 0..self.heads {
                let head = h * self.width..(h + 1) * self.width;
                let query = &q[b * inner..][head.clone()];
                let scores: Vec<f64> = (0..keys)
                    .map(|s| {
                        let key = &past(s)[0][head.clone()];
                        let products = query.iter().zip(key);
                        let dot: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                        let row = self.capacity - keys + s;
                        let bias =
                            if self.own { host[2].floats()[row * self.heads + h] } else { 0.0 };
                        dot + f64::from(bias)
                    })
                    .collect();
                let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> =
                    scores.iter().map(|score| (score - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                for d in head {
                    let values = weights.iter().enumerate();
                    let sum: f64 = values.map(|(s, w)| w * f64::from(past(s)[1][d])).sum();
                    out.push((sum / total) as f32);
                }
            }
        }
        out
    }
}

fn shader(width: usize, mut flags: Vec<&'static str>) -> Shader {
    if width.is_multiple_of(4) {
        flags.push("VECTOR");
    }
    KERNEL.shader(vec![("WIDTH", width as u32), ("WORKGROUP", WORKGROUP)], flags)
}

fn variants() -> Vec<Shader> {
    let widths = [5, 24, 64, 88, MAX_HEAD_WIDTH].into_iter();
    widths
        .flat_map(|width| {
            [vec![], vec!["SELF"], vec!["SELF", "LINEAGE"]].map(|flags| shader(width, flags))
        })
        .collect()
}
