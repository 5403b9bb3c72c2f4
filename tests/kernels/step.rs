//! The kernels of a decoder step that do more than a product.

use burn::tensor::{Device, Tensor};
use instructblip_web::kernels::{
    self, Activation, Epilogue, Matrix, Norm, Past, attention_step, words_tensor,
};
use instructblip_web::quant::Format;

use super::{Random, check, tensor};

/// Sums of up to some thousand products of about 1, in another order than the oracle's.
const TOLERANCE: f32 = 2e-5;

/// Shapes of a product: rows of x, rows of w, columns.
fn shape(random: &mut Random, format: Format) -> [usize; 3] {
    let rows = random.one_of(&[1, 1, 2, 3, 5, 8, 10]);
    let n = random.one_of(&[1, 2, 7, 31, 64, 65, 100, 257]);
    let k = if format.is_packed() {
        32 * (1 + random.below(20))
    } else {
        random.one_of(&[1, 3, 8, 24, 48, 100, 147, 300])
    };
    [rows, n, k]
}

struct Case {
    format: Format,
    sizes: [usize; 3],
    x: Vec<f32>,
    gain: Vec<f32>,
    weights: [Vec<f32>; 2],
}

impl Case {
    fn new(random: &mut Random, format: Format, rows: Option<usize>) -> Self {
        let [m, n, k] = shape(random, format);
        let m = rows.unwrap_or(m);
        // Products of about 1: far out, all that is left of an activation is rounding.
        let small = (k as f32).powf(-0.5);
        let weights = [(); 2].map(|()| random.values(n * k).iter().map(|w| w * small).collect());
        let (x, gain) = (random.values(m * k), random.values(k));
        Self { format, sizes: [m, n, k], x, gain, weights }
    }

    fn x(&self, device: &Device) -> Tensor<3> {
        let [m, _, k] = self.sizes;
        tensor(&self.x, [m, 1, k], device)
    }

    fn matrices(&self, formats: [Format; 2], device: &Device) -> [Matrix; 2] {
        let [_, n, k] = self.sizes;
        [0, 1].map(|i| Matrix::from_f32(&self.weights[i], n, k, formats[i], device).unwrap())
    }

    fn what(&self, kernel: &str) -> String {
        format!("{kernel} {:?} {:?}", self.format, self.sizes)
    }
}

#[test]
fn linear_normed_equals_its_oracle() {
    let mut random = Random(21);
    for case in 0..28 {
        // More rows than a matrix-vector product has, too: norm and product apart.
        let rows = (case % 5 == 0).then_some(19);
        let case = Case::new(&mut random, Format::ALL[case % 4], rows);
        let [m, n, k] = case.sizes;
        let residual = random.values(m * n);
        check(&case.what("linear_normed"), TOLERANCE, |device| {
            let [weight, _] = case.matrices([case.format; 2], device);
            let gain = tensor(&case.gain, [k], device);
            let residual = tensor(&residual, [m, 1, n], device);
            let epilogue = Epilogue { residual: Some(&residual), ..Epilogue::default() };
            let norm = Norm { gain: &gain, epsilon: 1e-6 };
            kernels::linear_normed(&case.x(device), norm, &weight, epilogue)
        });
    }
}

#[test]
fn linear_gated_equals_its_oracle() {
    let mut random = Random(22);
    for case in 0..28 {
        let rows = (case % 5 == 0).then_some(19);
        let second = if case % 7 == 0 { Format::F32 } else { Format::ALL[case % 4] };
        let case = Case::new(&mut random, Format::ALL[case % 4], rows);
        let k = case.sizes[2];
        let activation = random.one_of(Activation::ALL);
        check(&case.what("linear_gated"), TOLERANCE, |device| {
            let [gate, up] = case.matrices([case.format, second], device);
            let gain = tensor(&case.gain, [k], device);
            let norm = Norm { gain: &gain, epsilon: 1e-6 };
            kernels::linear_gated(&case.x(device), norm, [&gate, &up], activation)
        });
    }
}

#[test]
fn linear_cached_writes_its_row_only() {
    let mut random = Random(23);
    for case in 0..28 {
        let second = if case % 7 == 0 { Format::F32 } else { Format::ALL[case % 4] };
        let case = Case::new(&mut random, Format::ALL[case % 4], None);
        let [m, n, k] = case.sizes;
        let capacity = 1 + random.below(9);
        let position = random.below(capacity) as u32;
        let cache = random.values(m * capacity * 2 * n);
        check(&case.what("linear_cached"), TOLERANCE, |device| {
            let [keys, values] = case.matrices([case.format, second], device);
            let gain = tensor(&case.gain, [k], device);
            let norm = Norm { gain: &gain, epsilon: 1e-6 };
            let cache = tensor(&cache, [m, capacity, 2 * n], device);
            let position = words_tensor(vec![position], device);
            kernels::linear_cached(&case.x(device), norm, [&keys, &values], cache, &position)
        });
    }
}

#[test]
fn attention_step_equals_its_oracle() {
    let mut random = Random(24);
    for case in 0..28 {
        let (rows, heads) = (1 + random.below(10), 1 + random.below(5));
        let width = random.one_of(&[1, 5, 16, 24, 64, 88, 130, 256]);
        let inner = heads * width;
        let capacity = random.one_of(&[1, 2, 31, 63, 64, 65, 130, 200]);
        let position = random.below(capacity);
        let q = random.values(rows * inner);
        let cache = random.values(rows * capacity * 2 * inner);
        let bias = random.values(capacity * heads);
        let lineage: Vec<u32> = (0..rows * capacity).map(|_| random.below(rows) as u32).collect();
        let what = format!("attention_step {rows} x {heads} x {width}, {position} of {capacity}");
        check(&what, TOLERANCE, |device| {
            let q = tensor(&q, [rows, 1, inner], device);
            if case % 3 == 0 {
                let both = &cache[..2 * capacity * inner];
                let (keys, values) = both.split_at(capacity * inner);
                let [keys, values] =
                    [keys, values].map(|values| tensor(values, [1, capacity, inner], device));
                return attention_step(&q, heads, Past::Encoder(&keys, &values));
            }
            let lineage = words_tensor(lineage.clone(), device);
            let past = Past::Own {
                cache: &tensor(&cache, [rows, capacity, 2 * inner], device),
                bias: &tensor(&bias, [capacity, heads], device),
                position: &words_tensor(vec![position as u32], device),
                lineage: (case % 3 == 1).then_some(&lineage),
            };
            attention_step(&q, heads, past)
        });
    }
}
