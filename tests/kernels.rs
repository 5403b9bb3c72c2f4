//! Every kernel on the GPU device against its CPU oracle, over random shapes: odd ones, size 1,
//! larger than a workgroup. Tolerances are relative to the largest value: both sides are f32 at
//! the end, sums differ in order only, so a few units in the last place a summand is the bound.
//! Layer norm has more room, since rows with a mean of 100 lose digits in the difference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

#[path = "kernels/next_token.rs"]
mod next_token;
#[path = "kernels/record.rs"]
mod record;
#[path = "kernels/step.rs"]
mod step;

use burn::tensor::{Device, Int, Tensor, TensorData};
use instructblip_web::kernels::{
    self, Activation, Attention, Epilogue, Matrix, Reach, words_tensor,
};
use instructblip_web::quant::Format;
use instructblip_web::random::{STEP, mix};

/// A small deterministic generator (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Roughly normal, variance 1.
    fn values(&mut self, count: usize) -> Vec<f32> {
        let mut uniform = || (self.next() >> 40) as f32 / (1 << 24) as f32 - 0.5;
        (0..count).map(|_| (0..4).map(|_| uniform()).sum::<f32>() * 1.732).collect()
    }
}

fn gpu() -> Device {
    static DEVICE: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
    DEVICE
        .get_or_init(|| {
            instructblip_web::gpu::open().expect("a wgpu adapter (on Debian: mesa-vulkan-drivers)")
        })
        .clone()
}

fn devices() -> [Device; 2] {
    [gpu(), Device::flex()]
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// Runs `f` on both devices and compares.
fn check<const D: usize>(what: &str, tolerance: f32, f: impl Fn(&Device) -> Tensor<D>) {
    let [gpu, cpu] = devices().map(|device| {
        let data = f(&device).into_data();
        (data.shape().clone(), data.as_slice::<f32>().unwrap().to_vec())
    });
    assert_eq!(gpu.0, cpu.0, "{what}: shapes");
    let largest = cpu.1.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in gpu.1.iter().zip(&cpu.1).enumerate() {
        assert!(
            (a - b).abs() <= tolerance * largest,
            "{what}: value {i} is {a}, the oracle says {b} (largest {largest})"
        );
    }
}

fn words(words: Tensor<1, Int>) -> Vec<u32> {
    words.into_data().as_slice::<u32>().unwrap().to_vec()
}

/// Compares the bits of f32 values of some tens.
fn assert_close(a: &[u32], b: &[u32], what: &str) {
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f32::from_bits(*a), f32::from_bits(*b));
        assert!((a - b).abs() < 1e-4, "{what}: {a}, the oracle says {b}");
    }
}

#[test]
fn linear_equals_its_oracle() {
    let mut random = Random(1);
    for case in 0..100 {
        let format = Format::ALL[case % 4];
        let m = random.one_of(&[1, 1, 2, 3, 5, 8, 9, 16, 33, 65]);
        let n = random.one_of(&[1, 2, 7, 31, 64, 65, 100, 257]);
        let k = if format.is_packed() {
            32 * (1 + random.below(10))
        } else {
            random.one_of(&[1, 3, 8, 24, 32, 48, 88, 100, 147, 300])
        };
        check_linear(&mut random, format, [m, n, k]);
    }
}

/// Tiles of every height, whole and with rows and columns left over; depths that the tiles do not
/// divide, and those from which on slices share a block.
#[test]
fn linear_of_many_rows_equals_its_oracle() {
    // Few rows are cut into slices on a GPU, but not where shaders run on the processor.
    gpu();
    for software in [false, true] {
        instructblip_web::gpu::treat_as_software(software);
        linear_of_many_rows(13 + u64::from(software));
    }
}

fn linear_of_many_rows(seed: u64) {
    let mut random = Random(seed);
    for (case, m) in [11, 31, 32, 33, 52, 64, 88, 130, 257].repeat(2).into_iter().enumerate() {
        let format = Format::ALL[case % 4];
        let n = random.one_of(&[1, 63, 64, 66, 130, 257]);
        let k = if format.is_packed() {
            random.one_of(&[32, 96, 480, 768, 800])
        } else {
            random.one_of(&[5, 17, 300, 601, 770, 772])
        };
        check_linear(&mut random, format, [m, n, k]);
    }
}

/// One product with a random epilogue.
fn check_linear(random: &mut Random, format: Format, [m, n, k]: [usize; 3]) {
    let (x, w) = (random.values(m * k), random.values(n * k));
    let (bias, residual) = (random.values(n), random.values(m * n));
    let (with_bias, with_residual) = (random.below(2) == 1, random.below(2) == 1);
    let activations: Vec<_> = Activation::ALL.iter().copied().map(Some).chain([None]).collect();
    let activation = random.one_of(&activations);
    let what = format!(
        "linear {format} [{m}, {k}] x [{n}, {k}] {activation:?} bias {with_bias} residual {with_residual}"
    );
    check(&what, 1e-5, |device| {
        let weight = Matrix::from_f32(&w, n, k, format, device).unwrap();
        let (bias, residual) = (tensor(&bias, [n], device), tensor(&residual, [1, m, n], device));
        kernels::linear(
            &tensor(&x, [1, m, k], device),
            &weight,
            Epilogue {
                bias: with_bias.then_some(&bias),
                activation,
                residual: with_residual.then_some(&residual),
            },
        )
    });
}

#[test]
fn attention_equals_its_oracle() {
    let mut random = Random(2);
    for case in 0..60 {
        let heads = 1 + random.below(5);
        let width = random.one_of(&[1, 16, 24, 30, 64, 88, 100, 256]);
        let queries = random.one_of(&[1, 2, 16, 17, 40, 90]);
        let (batch, kv_batch) = random.one_of(&[(1, 1), (3, 1), (2, 2)]);
        let inner = heads * width;
        let scale = random.one_of(&[1.0, (width as f32).powf(-0.5)]);
        if case % 4 == 0 {
            let values = random.values(batch * queries * 3 * inner);
            let what = format!("packed attention {batch} x {heads} x {width}, {queries} tokens");
            check(&what, 1e-5, |device| {
                kernels::attention(&Attention {
                    q: &tensor(&values, [batch, queries, 3 * inner], device),
                    kv: None,
                    offsets: [0, inner, 2 * inner],
                    heads,
                    width,
                    keys: queries,
                    scale,
                    bias: None,
                })
            });
            continue;
        }
        let capacity = queries + random.below(150);
        let keys = 1 + random.below(capacity);
        let q = random.values(batch * queries * inner);
        let (k, v) = (
            random.values(kv_batch * capacity * inner),
            random.values(kv_batch * capacity * inner),
        );
        let center = queries - 1 + random.below(3);
        let distances = center + capacity;
        let table = random.values(distances * heads);
        let with_bias = random.below(2) == 1;
        let what = format!(
            "attention {batch}/{kv_batch} x {heads} x {width}, {queries} queries, {keys}/{capacity} keys, bias {with_bias}"
        );
        check(&what, 1e-5, |device| {
            let bias = tensor(&table, [distances, heads], device);
            kernels::attention(&Attention {
                q: &tensor(&q, [batch, queries, inner], device),
                kv: Some((
                    &tensor(&k, [kv_batch, capacity, inner], device),
                    &tensor(&v, [kv_batch, capacity, inner], device),
                )),
                offsets: [0; 3],
                heads,
                width,
                keys,
                scale,
                bias: with_bias.then_some((&bias, center)),
            })
        });
    }
}

#[test]
fn attention_map_equals_its_oracle() {
    let mut random = Random(12);
    for _ in 0..25 {
        let (heads, width) = (1 + random.below(5), random.one_of(&[1, 16, 24, 64, 88]));
        let (queries, keys) = (random.one_of(&[1, 5, 32]), random.one_of(&[1, 10, 64, 65, 257]));
        let inner = heads * width;
        let (q, k) = (random.values(queries * inner), random.values(keys * inner));
        let what = format!("attention map {heads} x {width}, {queries} queries, {keys} keys");
        check(&what, 1e-5, |device| {
            let q = tensor(&q, [1, queries, inner], device);
            let k = tensor(&k, [1, keys, inner], device);
            let map = kernels::attention_map(&q, &k, heads, (width as f32).powf(-0.5));
            let sums = map.clone().sum_dim(1).into_data();
            let rows = sums.as_slice::<f32>().unwrap();
            assert!(rows.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{what}: {rows:?}");
            map
        });
    }
}

#[test]
fn norms_equal_their_oracles() {
    let mut random = Random(3);
    for _ in 0..25 {
        let rows = random.one_of(&[1, 2, 33, 257]);
        let width = random.one_of(&[1, 7, 32, 63, 64, 65, 300, 1408]);
        // A large mean shows whether the variance is computed from differences.
        let mean = random.one_of(&[0.0, 100.0]);
        let x: Vec<f32> = random.values(rows * width).iter().map(|x| x + mean).collect();
        let (weight, bias) = (random.values(width), random.values(width));
        check(&format!("layer norm [{rows}, {width}] mean {mean}"), 5e-5, |device| {
            kernels::layer_norm(
                &tensor(&x, [1, rows, width], device),
                &tensor(&weight, [width], device),
                &tensor(&bias, [width], device),
                1e-6,
            )
        });
        check(&format!("rms norm [{rows}, {width}]"), 1e-5, |device| {
            kernels::rms_norm(
                &tensor(&x, [1, rows, width], device),
                &tensor(&weight, [width], device),
                1e-6,
            )
        });
    }
}

#[test]
fn gated_activation_equals_its_oracle() {
    let mut random = Random(4);
    for &activation in Activation::ALL {
        for count in [1, 63, 64, 65, 5000] {
            // Wide enough to reach the flat ends of every activation.
            let gate: Vec<f32> = random.values(count).iter().map(|x| x * 5.0).collect();
            let up = random.values(count);
            check(&format!("gated {activation:?} {count}"), 1e-6, |device| {
                let shape = [1, 1, count];
                kernels::gated_activation(
                    &tensor(&gate, shape, device),
                    &tensor(&up, shape, device),
                    activation,
                )
            });
        }
    }
}

#[test]
fn embedding_equals_its_oracle() {
    let mut random = Random(5);
    for case in 0..24 {
        let format = Format::ALL[case % 4];
        let (n, tokens) = (random.one_of(&[1, 5, 300]), random.one_of(&[1, 2, 65]));
        let k = if format.is_packed() {
            32 * (1 + random.below(20))
        } else {
            random.one_of(&[1, 7, 48, 601])
        };
        let table = random.values(n * k);
        // One id beyond the table gives zeros.
        let ids: Vec<u32> = (0..tokens).map(|_| random.below(n + 1) as u32).collect();
        check(&format!("embedding {format} [{n}, {k}]"), 1e-6, |device| {
            let table = Matrix::from_f32(&table, n, k, format, device).unwrap();
            kernels::embedding(&words_tensor(ids.clone(), device), &table)
        });
    }
}

#[test]
fn causal_attention_equals_its_oracle() {
    let mut random = Random(12);
    for _ in 0..20 {
        let (heads, width) = (1 + random.below(4), random.one_of(&[15, 16, 24, 64, 88]));
        let (batch, inner) = (1 + random.below(10), heads * width);
        let keys = random.one_of(&[1, 2, 31, 64, 65, 130]);
        // Known texts have as many queries as keys; the first of more keys are seen by all.
        let queries = keys - random.below(keys.min(9));
        let q = random.values(batch * queries * inner);
        let (k, v) = (random.values(batch * keys * inner), random.values(batch * keys * inner));
        let table = random.values((keys + queries) * heads);
        check(&format!("{queries} of {batch} to {keys} before them"), 1e-5, |device| {
            let bias = tensor(&table, [keys + queries, heads], device);
            kernels::attention_within(
                &Attention {
                    q: &tensor(&q, [batch, queries, inner], device),
                    kv: Some((
                        &tensor(&k, [batch, keys, inner], device),
                        &tensor(&v, [batch, keys, inner], device),
                    )),
                    offsets: [0; 3],
                    heads,
                    width,
                    keys,
                    scale: 1.0,
                    bias: Some((&bias, queries - 1)),
                },
                Reach::Causal,
            )
        });
    }
}

#[test]
fn cache_append_writes_its_rows_only() {
    let mut random = Random(7);
    for _ in 0..20 {
        let (batch, tokens) = (1 + random.below(3), 1 + random.below(3));
        let (width, capacity) = (random.one_of(&[1, 48, 100]), tokens + random.below(9));
        let position = random.below(capacity - tokens + 1);
        let (cache, x) =
            (random.values(batch * capacity * width), random.values(batch * tokens * width));
        check(&format!("append at {position} of {capacity}"), 0.0, |device| {
            kernels::cache_append(
                tensor(&cache, [batch, capacity, width], device),
                &tensor(&x, [batch, tokens, width], device),
                position,
            )
        });
    }
}
