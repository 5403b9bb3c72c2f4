//! Scaled dot-product attention with an optional relative-position bias: `shaders/attention.wgsl`.

use burn::tensor::Tensor;

use super::launch::{Arg, Host, Launch, Shader, Work, kernel};
use crate::config::MAX_HEAD_WIDTH;

kernel! {
    name: "attention",
    parts: ["multiply_add"],
    params: {
        batch: u32, kv_batch: u32, heads: u32, queries: u32, keys: u32, kv_capacity: u32,
        q_stride: u32, q_offset: u32, k_stride: u32, k_offset: u32, v_stride: u32, v_offset: u32,
        bias_center: u32, scale: f32,
    },
    variants: variants,
}

/// Queries of a workgroup, in groups of four.
const TILE: u32 = 16;

/// What attends to what. Rows may hold more than one of q, k and v; the offsets say where.
#[derive(Clone, Debug)]
pub struct Attention<'a> {
    /// Queries `[batch, queries, q_stride]`.
    pub q: &'a Tensor<3>,
    /// Keys and values, each `[kv_batch, capacity, stride]`; `None` where q's rows hold all three.
    pub kv: Option<(&'a Tensor<3>, &'a Tensor<3>)>,
    /// Offsets of q, k and v in their rows.
    pub offsets: [usize; 3],
    /// Number of heads.
    pub heads: usize,
    /// Width of a head.
    pub width: usize,
    /// How many of the keys are in use, from the first.
    pub keys: usize,
    /// Multiplies q . k: `width^-0.5`, or 1 where scores are not scaled.
    pub scale: f32,
    /// Relative bias `[distances, heads]` and the row of it that stands for key = query.
    pub bias: Option<(&'a Tensor<2>, usize)>,
}

/// Which of the keys a query sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    #[default]
    All,
    /// The last query sees all keys, and every earlier one a key less.
    Causal,
}

/// `[batch, queries, heads * width]`. Beams may share keys: batch entry b reads `b % kv_batch`.
#[must_use]
pub fn attention(spec: &Attention<'_>) -> Tensor<3> {
    attention_within(spec, Reach::default())
}

/// As [`attention`], each query seeing its `reach` only.
#[must_use]
pub fn attention_within(spec: &Attention<'_>, reach: Reach) -> Tensor<3> {
    let [batch, queries, q_stride] = spec.q.dims();
    let (kv_batch, capacity, k_stride, v_stride) = match spec.kv {
        Some((k, v)) => (k.dims()[0], k.dims()[1], k.dims()[2], v.dims()[2]),
        None => (batch, queries, q_stride, q_stride),
    };
    let mut inputs = vec![Arg::from(spec.q)];
    if let Some((k, v)) = spec.kv {
        inputs.extend([Arg::from(k), Arg::from(v)]);
    }
    inputs.extend(spec.bias.map(|(bias, _)| Arg::from(bias)));
    let [q_offset, k_offset, v_offset] = spec.offsets.map(|offset| offset as u32);
    let layout = Layout {
        params: Params {
            batch: batch as u32,
            kv_batch: kv_batch as u32,
            heads: spec.heads as u32,
            queries: queries as u32,
            keys: spec.keys as u32,
            kv_capacity: capacity as u32,
            q_stride: q_stride as u32,
            q_offset,
            k_stride: k_stride as u32,
            k_offset,
            v_stride: v_stride as u32,
            v_offset,
            bias_center: spec.bias.map_or(0, |(_, center)| center as u32),
            scale: spec.scale,
        },
        width: spec.width,
        packed: spec.kv.is_none(),
        bias: spec.bias.is_some(),
        causal: reach == Reach::Causal,
    };
    let output = batch * queries * spec.heads * spec.width;
    let width = spec.width as u32;
    Launch {
        shader: shader(width, layout.flags()),
        inputs,
        output,
        params: &layout.params,
        workgroup: TILE / 4 * lanes(width),
        grid: [spec.heads as u32, (queries as u32).div_ceil(TILE), batch as u32],
        work: Work {
            // q . k and the sum of v; half of it where a query sees what came before only.
            flops: 4 * (output * spec.keys) as u64 / if layout.causal { 2 } else { 1 },
            untouched: layout.untouched(),
            ..Work::default()
        },
    }
    .run(|host| layout.oracle(host))
    .reshape([batch, queries, spec.heads * spec.width])
}

struct Layout {
    params: Params,
    width: usize,
    packed: bool,
    bias: bool,
    causal: bool,
}

impl Layout {
    fn flags(&self) -> Vec<&'static str> {
        let flags = [
            ("PACKED", self.packed),
            ("BIAS", self.bias),
            ("CAUSAL", self.causal),
            ("VECTORS", self.vectors()),
        ];
        flags.into_iter().filter_map(|(flag, on)| on.then_some(flag)).collect()
    }

    /// Whether everything starts at a multiple of four values.
    fn vectors(&self) -> bool {
        let Params { q_stride, q_offset, k_stride, k_offset, v_stride, v_offset, .. } = self.params;
        let starts = [q_stride, q_offset, k_stride, k_offset, v_stride, v_offset];
        starts.into_iter().chain([self.width as u32]).all(|count| count % 4 == 0)
    }

    /// Bytes of keys and values beyond those in use.
    fn untouched(&self) -> u64 {
        let Params { kv_batch, keys, kv_capacity, k_stride, v_stride, .. } = self.params;
        let unused = kv_batch as usize * kv_capacity.saturating_sub(keys) as usize;
        (unused * (k_stride + v_stride) as usize * size_of::<f32>()) as u64
    }

    /// Plain attention in f64, the softmax over all keys at once.
    fn oracle(&self, host: &[Host]) -> Vec<f32> {
        let q = host[0].floats();
        let (k, v) = if self.packed { (q, q) } else { (host[1].floats(), host[2].floats()) };
        let bias = host[host.len() - 1].floats();
        let Params { batch, kv_batch, heads, queries, keys, kv_capacity, .. } = self.params;
        let [batch, kv_batch, heads] = [batch, kv_batch, heads].map(|count| count as usize);
        let [queries, keys, capacity] = [queries, keys, kv_capacity].map(|count| count as usize);
        let center = self.params.bias_center as usize;
        let mut out = vec![0.0; batch * queries * heads * self.width];
        for b in 0..batch {
            for t in 0..queries {
                for h in 0..heads {
                    let row = b * queries + t;
                    let at = |row: usize, stride: u32, offset: u32| {
                        row * stride as usize + offset as usize + h * self.width
                    };
                    let q_at = at(row, self.params.q_stride, self.params.q_offset);
                    let kv = |s: usize| (b % kv_batch) * capacity + s;
                    let k_at = |s| at(kv(s), self.params.k_stride, self.params.k_offset);
                    let v_at = |s| at(kv(s), self.params.v_stride, self.params.v_offset);
                    let query = &q[q_at..][..self.width];
                    let unseen = if self.causal { queries - 1 - t } else { 0 };
                    let scores: Vec<f64> = (0..keys - unseen)
                        .map(|s| {
                            let products = query.iter().zip(&k[k_at(s)..][..self.width]);
                            let dot: f64 =
                                products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                            let bias =
                                if self.bias { bias[(center + s - t) * heads + h] } else { 0.0 };
                            dot * f64::from(self.params.scale) + f64::from(bias)
                        })
                        .collect();
                    let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                    let weights: Vec<f64> =
                        scores.iter().map(|score| (score - largest).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    for d in 0..self.width {
                        let values = weights.iter().enumerate();
                        let sum: f64 = values.map(|(s, w)| w * f64::from(v[v_at(s) + d])).sum();
                        out[(row * heads + h) * self.width + d] = (sum / total) as f32;
                    }
                }
            }
        }
        out
    }
}

/// Invocations of a group of four queries: one for every four columns of a head, and at least 16,
/// since each also scores four keys.
fn lanes(width: u32) -> u32 {
    width.div_ceil(4).max(16)
}

fn shader(width: u32, flags: Vec<&'static str>) -> Shader {
    KERNEL.shader(vec![("WIDTH", width), ("LANES", lanes(width))], flags)
}

fn variants() -> Vec<Shader> {
    [24, 64, 88, MAX_HEAD_WIDTH as u32]
        .into_iter()
        .flat_map(|width| {
            [
                vec![],
                vec!["VECTORS"],
                vec!["PACKED"],
                vec!["PACKED", "VECTORS"],
                vec!["BIAS"],
                vec!["PACKED", "BIAS", "VECTORS"],
                vec!["BIAS", "CAUSAL", "VECTORS"],
            ]
            .map(|flags| shader(width, flags))
        })
        .collect()
}
