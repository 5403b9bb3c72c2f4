//! Scaled dot-product attention with an optional relative-position bias: `shaders/attention.wgsl`.

use burn::tensor::Tensor;

use super::launch::{Arg, Host, Launch, Shader, Work};
use crate::config::MAX_HEAD_WIDTH;

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
    /// Multiplies q . k: `width^-0.5`, or 1 in T5.
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
    let center = spec.bias.map_or(0, |(_, center)| center);
    let [q_offset, k_offset, v_offset] = spec.offsets;
    let layout = Layout {
        batch,
        kv_batch,
        heads: spec.heads,
        width: spec.width,
        queries,
        keys: spec.keys,
        capacity,
        q: (q_stride, q_offset),
        k: (k_stride, k_offset),
        v: (v_stride, v_offset),
        center,
        scale: spec.scale,
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
        params: &layout.params(),
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
    batch: usize,
    kv_batch: usize,
    heads: usize,
    width: usize,
    queries: usize,
    keys: usize,
    capacity: usize,
    /// (stride, offset)
    q: (usize, usize),
    k: (usize, usize),
    v: (usize, usize),
    center: usize,
    scale: f32,
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
        let rows = [self.q, self.k, self.v].into_iter().flat_map(|(stride, at)| [stride, at]);
        rows.chain([self.width]).all(|count| count % 4 == 0)
    }

    fn params(&self) -> [u32; 14] {
        [
            self.batch as u32,
            self.kv_batch as u32,
            self.heads as u32,
            self.queries as u32,
            self.keys as u32,
            self.capacity as u32,
            self.q.0 as u32,
            self.q.1 as u32,
            self.k.0 as u32,
            self.k.1 as u32,
            self.v.0 as u32,
            self.v.1 as u32,
            self.center as u32,
            self.scale.to_bits(),
        ]
    }

    /// Bytes of keys and values beyond those in use.
    fn untouched(&self) -> u64 {
        let unused = self.kv_batch * self.capacity.saturating_sub(self.keys);
        (unused * (self.k.0 + self.v.0) * size_of::<f32>()) as u64
    }

    /// Plain attention in f64, the softmax over all keys at once.
    fn oracle(&self, host: &[Host]) -> Vec<f32> {
        let q = host[0].floats();
        let (k, v) = if self.packed { (q, q) } else { (host[1].floats(), host[2].floats()) };
        let bias = host[host.len() - 1].floats();
        let mut out = vec![0.0; self.batch * self.queries * self.heads * self.width];
        for b in 0..self.batch {
            for t in 0..self.queries {
                for h in 0..self.heads {
                    let row = b * self.queries + t;
                    let at = |base: usize, (stride, offset): (usize, usize)| {
                        base * stride + offset + h * self.width
                    };
                    let query = &q[at(row, self.q)..][..self.width];
                    let kv = |s: usize| (b % self.kv_batch) * self.capacity + s;
                    let unseen = if self.causal { self.queries - 1 - t } else { 0 };
                    let scores: Vec<f64> = (0..self.keys - unseen)
                        .map(|s| {
                            let key = &k[at(kv(s), self.k)..][..self.width];
                            let dot: f64 = query
                                .iter()
                                .zip(key)
                                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                                .sum();
                            let bias = if self.bias {
                                f64::from(bias[(self.center + s - t) * self.heads + h])
                            } else {
                                0.0
                            };
                            dot * f64::from(self.scale) + bias
                        })
                        .collect();
                    let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                    let total: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
                    for d in 0..self.width {
                        let sum: f64 = scores
                            .iter()
                            .enumerate()
                            .map(|(s, score)| {
                                (score - largest).exp() * f64::from(v[at(kv(s), self.v) + d])
                            })
                            .sum();
                        out[(row * self.heads + h) * self.width + d] = (sum / total) as f32;
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
    Shader {
        name: "attention",
        parts: vec![include_str!("../../shaders/attention.wgsl")],
        constants: vec![("WIDTH", width), ("LANES", lanes(width))],
        flags,
    }
}

pub(super) fn variants() -> Vec<Shader> {
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
