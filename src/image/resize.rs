//! PIL's `Image.resize` on 8-bit RGB, bit for bit, and a cut from the middle.
//!
//! In: a picture of any size. Out: `[height, width, 3]` bytes. The filter is Keys' cubic with
//! a = -0.5, or a triangle, stretched by the scale when shrinking (so it is antialiased). PIL filters in two
//! passes with a rounding to 8 bits between them; weights are integers with 22 fractional
//! bits. All of that is visible in the result, so all of it is done here too. (PIL skips a
//! pass that keeps the size; the weights of such a pass are 0 and 1, so running it changes
//! nothing.)
//!
//! The order of the passes is visible as well: rows are filtered along their length first,
//! but since Pillow 13 a picture that loses more than twice as many rows as columns is
//! filtered along its columns first. Earlier versions differ from this one there, by a few
//! levels.
//!
//! Unlike PIL this never holds the picture between the passes, so memory stays proportional
//! to the output and one row of the input, however large the picture is. Integer sums do not
//! depend on their order.

use super::RgbImage;
use crate::config::Resample;

/// Fractional bits of a weight: 32, less 8 for the value and 2 for overshoot and sign.
const PRECISION: u32 = 32 - 8 - 2;
/// One half, in that precision: sums start from it, so that the shift rounds.
const HALF: i32 = 1 << (PRECISION - 1);
/// Resizes to `to` `[width, height]`, aspect ignored, and keeps the middle `cut` `[width, height]`,
/// black where that reaches beyond. Out: `[height, width, 3]`. What is cut off is not computed.
#[must_use]
pub fn resize(rgb: &RgbImage, to: [usize; 2], cut: [usize; 2], resample: Resample) -> Vec<u8> {
    let (in_width, in_height) = (rgb.width() as usize, rgb.height() as usize);
    let columns = windows(in_width, to[0], cut[0], resample);
    let rows = windows(in_height, to[1], cut[1], resample);
    if columns_first((in_width, in_height), (to[0], to[1])) {
        resize_columns_first(rgb, &columns, &rows)
    } else {
        resize_rows_first(rgb, &columns, &rows)
    }
}

/// Pillow 13's choice, from widths and heights.
fn columns_first(from: (usize, usize), to: (usize, usize)) -> bool {
    let lost = |from: usize, to: usize| from as i64 - to as i64;
    let (lost_columns, lost_rows) = (lost(from.0, to.0), lost(from.1, to.1));
    lost_rows > 0 && lost_rows > 2 * lost_columns
}

/// The rows of a picture, `[width, 3]` each.
fn rows_of(rgb: &RgbImage) -> impl Iterator<Item = &[u8]> {
    rgb.as_raw().chunks_exact((3 * rgb.width() as usize).max(1))
}

/// Each input row is filtered and added at once to the output rows that need it.
fn resize_rows_first(rgb: &RgbImage, columns: &[Window], rows: &[Window]) -> Vec<u8> {
    let row_len = 3 * columns.len();
    let mut sums = vec![HALF; row_len * rows.len()];
    let mut filtered = vec![0u8; row_len];
    let mut first = 0; // output rows before this one have all they need
    for (y, row) in rows_of(rgb).enumerate() {
        while rows.get(first).is_some_and(|r| r.end() <= y) {
            first += 1;
        }
        if rows.get(first).is_none_or(|r| r.start > y) {
            continue;
        }
        filter_row(row, columns, &mut filtered);
        // Starts and ends of the windows never decrease, so the rows in need are consecutive.
        for (i, window) in rows.iter().enumerate().skip(first).take_while(|(_, r)| r.start <= y) {
            if let Some(&weight) = window.weights.get(y - window.start) {
                add(&mut sums[i * row_len..][..row_len], weight, &filtered);
            }
        }
    }
    sums.into_iter().map(to_u8).collect()
}

/// Each output row is summed up at the input's width, and filtered.
fn resize_columns_first(rgb: &RgbImage, columns: &[Window], rows: &[Window]) -> Vec<u8> {
    let mut sums = vec![HALF; 3 * rgb.width() as usize];
    let mut out = vec![0u8; 3 * columns.len() * rows.len()];
    for (window, out) in rows.iter().zip(out.chunks_exact_mut((3 * columns.len()).max(1))) {
        sums.fill(HALF);
        for (&weight, row) in window.weights.iter().zip(rows_of(rgb).skip(window.start)) {
            add(&mut sums, weight, row);
        }
        let row: Vec<u8> = sums.iter().map(|&sum| to_u8(sum)).collect();
        filter_row(&row, columns, out);
    }
    out
}

/// `sums += weight * values`.
fn add(sums: &mut [i32], weight: i32, values: &[u8]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += weight * i32::from(*value);
    }
}

/// Filters along one row: `[in_width, 3]` bytes to `[width, 3]`.
fn filter_row(row: &[u8], columns: &[Window], out: &mut [u8]) {
    for (window, out) in columns.iter().zip(out.as_chunks_mut::<3>().0) {
        let mut sum = [HALF; 3];
        for (weight, pixel) in
            window.weights.iter().zip(row.as_chunks::<3>().0.iter().skip(window.start))
        {
            for (sum, value) in sum.iter_mut().zip(pixel) {
                *sum += weight * i32::from(*value);
            }
        }
        *out = sum.map(to_u8);
    }
}

/// Drops the fraction of a sum that began at [`HALF`].
fn to_u8(sum: i32) -> u8 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
    let level = (sum >> PRECISION).clamp(0, 255) as u8;
    level
}

/// Where an output position reads: inputs `start..`, one per weight.
struct Window {
    start: usize,
    /// Their absolute values sum to less than 2 (in units of 2^22), so that a sum of weighted
    /// bytes and the half stays inside an i32: 255 * 2^23 + 2^21 < 2^31.
    weights: Vec<i32>,
}

impl Window {
    fn end(&self) -> usize {
        self.start + self.weights.len()
    }
}

/// The windows along a side of `input` pixels that becomes `output`, of which the middle `cut` are
/// wanted. Those beyond the picture are empty, which makes them black.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // as PIL does; sides are below 2^31
fn windows(input: usize, output: usize, cut: usize, resample: Resample) -> Vec<Window> {
    let (support, filter): (f64, fn(f64) -> f64) = match resample {
        Resample::Bicubic => (2.0, cubic),
        Resample::Bilinear => (1.0, |x| (1.0 - x.abs()).max(0.0)),
    };
    let scale = input as f64 / output as f64;
    let stretch = scale.max(1.0);
    let support = support * stretch;
    // The reference rounds down: of an odd rest the larger part is cut off at the end, and where
    // there is too little the larger part is filled at the beginning.
    let first = (output as i64 - cut as i64).div_euclid(2);
    (first..first + cut as i64)
        .map(|i| {
            if !(0..output as i64).contains(&i) {
                return Window { start: 0, weights: Vec::new() };
            }
            let centre = (i as f64 + 0.5) * scale;
            // `as` truncates towards zero and takes negatives to 0.
            let start = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(input);
            let filtered: Vec<f64> =
                (start..end).map(|x| filter((x as f64 - centre + 0.5) * (1.0 / stretch))).collect();
            let total = filtered.iter().fold(0.0, |sum, w| sum + w);
            let weights = filtered
                .into_iter()
                .map(|w| {
                    let w = if total == 0.0 { w } else { w / total };
                    (w * f64::from(1u32 << PRECISION) + 0.5f64.copysign(w)) as i32
                })
                .collect();
            Window { start, weights }
        })
        .collect()
}

/// Keys' cubic convolution kernel with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// A picture of reproducible noise.
    fn noise(width: u32, height: u32, seed: u32) -> RgbImage {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        RgbImage::from_fn(width, height, |_, _| {
            ::image::Rgb(std::array::from_fn(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                (state >> 11) as u8
            }))
        })
    }

    fn bicubic(rgb: &RgbImage, width: usize, height: usize) -> Vec<u8> {
        resize(rgb, [width, height], [width, height], Resample::Bicubic)
    }

    /// The definition in plain f64: the sum over all pixels of the normalised kernel, with a
    /// rounding to 8 bits between the passes, and no windows or integers.
    fn plain(rgb: &RgbImage, width: usize, height: usize) -> Vec<u8> {
        fn pass(line: &[f64], output: usize) -> Vec<f64> {
            let scale = line.len() as f64 / output as f64;
            (0..output)
                .map(|i| {
                    let centre = (i as f64 + 0.5) * scale;
                    let weight = |x: usize| cubic((x as f64 + 0.5 - centre) / scale.max(1.0));
                    let total: f64 = (0..line.len()).map(weight).sum();
                    let value: f64 = line.iter().enumerate().map(|(x, v)| v * weight(x)).sum();
                    (value / total).round().clamp(0.0, 255.0)
                })
                .collect()
        }
        type Plane = Vec<Vec<f64>>;
        let along =
            |plane: &Plane, output| plane.iter().map(|r| pass(r, output)).collect::<Plane>();
        let turned = |plane: &Plane| -> Plane {
            (0..plane[0].len()).map(|x| plane.iter().map(|r| r[x]).collect()).collect()
        };
        let (w, h) = (rgb.width(), rgb.height());
        let rows_first = i64::from(h) <= height as i64
            || i64::from(h) - height as i64 <= 2 * (i64::from(w) - width as i64);
        let mut out = vec![0; width * height * 3];
        for c in 0..3 {
            let plane: Plane = (0..h)
                .map(|y| (0..w).map(|x| f64::from(rgb.get_pixel(x, y)[c])).collect())
                .collect();
            let plane = if rows_first {
                turned(&along(&turned(&along(&plane, width)), height))
            } else {
                along(&turned(&along(&turned(&plane), height)), width)
            };
            for (i, v) in plane.concat().into_iter().enumerate() {
                out[3 * i + c] = v as u8;
            }
        }
        out
    }

    #[test]
    fn within_one_level_of_the_plain_definition() {
        let sizes = [
            (1, 1),
            (1, 40),
            (40, 1),
            (2, 3),
            (17, 9),
            (64, 64),
            (61, 97),
            (150, 31),
            (300, 200),
            (80, 260),
        ];
        for (i, (w, h)) in sizes.into_iter().enumerate() {
            let rgb = noise(w, h, i as u32 + 1);
            for (width, height) in [(1, 1), (14, 14), (56, 56), (33, 70), (100, 5)] {
                let (got, want) = (bicubic(&rgb, width, height), plain(&rgb, width, height));
                let worst = got.iter().zip(&want).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                assert!(worst <= 1, "{w}x{h} to {width}x{height}: {worst} levels");
            }
        }
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let rgb = noise(37, 23, 5);
        assert_eq!(&bicubic(&rgb, 37, 23), rgb.as_raw());
    }

    #[test]
    fn a_plain_picture_stays_plain() {
        for level in [0, 1, 127, 254, 255] {
            let rgb = RgbImage::from_pixel(333, 71, ::image::Rgb([level; 3]));
            assert!(bicubic(&rgb, 224, 224).iter().all(|&v| v == level));
        }
    }

    #[test]
    fn the_order_of_the_passes_follows_the_rows_and_columns_lost() {
        let order = |w, h| columns_first((w, h), (224, 224));
        assert!(!order(3024, 4032) && !order(1080, 1920) && !order(640, 480) && !order(224, 224));
        assert!(!order(300, 376) && order(300, 377) && order(100, 225) && !order(100, 224));
    }

    #[test]
    fn weights_leave_headroom_for_any_size() {
        let sizes =
            (1..70).chain([97, 223, 224, 225, 300, 447, 448, 449, 512, 1000, 4032, 20_000, 65_535]);
        for input in sizes {
            for output in [1, 2, 3, 5, 14, 56, 223, 224, 225, 364, 490] {
                let of = |resample| windows(input, output, output, resample);
                let both = [of(Resample::Bicubic), of(Resample::Bilinear)].into_iter();
                for (i, w) in both.flat_map(|windows| windows.into_iter().enumerate()) {
                    let (sum, magnitude) = w.weights.iter().fold((0i64, 0i64), |(s, m), &w| {
                        (s + i64::from(w), m + i64::from(w.abs()))
                    });
                    assert!(magnitude < 2 << PRECISION, "{input} to {output} at {i}: {magnitude}");
                    assert!(
                        (sum - (1 << PRECISION)).abs() <= w.weights.len() as i64,
                        "{input} to {output} at {i}: {sum}"
                    );
                    assert!(w.end() <= input && !w.weights.is_empty());
                }
            }
        }
    }

    #[test]
    fn an_extreme_shape_needs_no_extreme_memory() {
        let tall = noise(1, 65_535, 3);
        assert_eq!(bicubic(&tall, 224, 224).len(), 224 * 224 * 3);
        let wide = noise(65_535, 1, 3);
        assert_eq!(bicubic(&wide, 224, 224).len(), 224 * 224 * 3);
    }

    #[test]
    fn no_pixels_give_black_and_no_panic() {
        assert!(bicubic(&RgbImage::new(0, 0), 4, 4).iter().all(|&v| v == 0));
        assert!(bicubic(&RgbImage::new(0, 5), 4, 4).iter().all(|&v| v == 0));
    }
}
