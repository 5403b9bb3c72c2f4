//! 4-bit packing: values -8..=7, eight to a word, one f16 scale per group of 32 along K.
//!
//! The scale of a group is searched: of several candidates, of either sign and each rounded to
//! f16 first, the one with the least squared error wins. This costs nothing at run time.

use super::{GROUP, Packed, Piece, Spec, check_packed, check_weights, largest, nearest, unfit};
use crate::checkpoint::Dtype;
use crate::error::Result;
use half::f16;
use half::slice::HalfFloatSliceExt;

const PER_WORD: usize = 8;

/// The format.
pub const SPEC: Spec = Spec {
    name: "q4",
    group: GROUP,
    pieces: &[
        Piece { suffix: "weight", dtype: Dtype::U32, weights: PER_WORD },
        Piece { suffix: "scales", dtype: Dtype::F16, weights: GROUP },
    ],
    wgsl: include_str!("../../shaders/weights/q4.wgsl"),
    pack: |w, n, k| Ok(quantize(w, n, k)?.into_bytes()),
    unpack: |pieces, n, k| dequantize(&Packed::of(pieces), n, k),
};

/// The largest magnitude is divided by these: below 7 or 8 it gets a step to spare, above it
/// is clamped, in favour of the many small weights.
const DIVISORS: [f32; 16] =
    [6.6, 7.0, 7.2, 7.4, 7.6, 7.8, 8.0, 8.2, 8.4, 8.6, 8.9, 9.2, 9.6, 10.0, 10.6, 11.4];

/// Packs row-major weights `[n, k]`, searching each group's scale.
///
/// # Errors
/// `k` is no multiple of [`GROUP`], the length is not `n * k`, or a weight is not finite or
/// too large for an f16 scale.
pub fn quantize(w: &[f32], n: usize, k: usize) -> Result<Packed> {
    check_weights(w.len(), n, k)?;
    let (groups, _) = w.as_chunks::<GROUP>();
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { pack_avx2(groups, k) };
    }
    pack(groups, k)
}

/// [`pack`], compiled for wider registers: the same operations, so the same bits.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn pack_avx2(groups: &[[f32; GROUP]], k: usize) -> Result<Packed> {
    pack(groups, k)
}

#[inline(always)]
fn pack(groups: &[[f32; GROUP]], k: usize) -> Result<Packed> {
    let mut packed = Packed {
        words: Vec::with_capacity(groups.len() * GROUP / PER_WORD),
        scales: Vec::with_capacity(groups.len()),
    };
    for (at, group) in groups.iter().enumerate() {
        let plain =
            largest(group).map(|m| (m, f16::from_f32(m / 7.0))).filter(|(_, s)| s.is_finite());
        let (largest, plain) = plain.ok_or_else(|| unfit(at * GROUP / k))?;
        let scale = search(group, largest, plain);
        let q = integers(group, scale.to_f32());
        packed.scales.push(scale);
        packed.words.extend(
            q.chunks_exact(PER_WORD).map(|eight| {
                eight.iter().rev().fold(0, |word, q| word << 4 | (*q as i32 + 8) as u32)
            }),
        );
    }
    Ok(packed)
}

/// The candidate with the least squared error; `plain` where none beats it.
#[inline(always)]
fn search(group: &[f32; GROUP], largest: f32, plain: f16) -> f16 {
    let mut best = (squared_error(group, plain.to_f32()), plain);
    // Rounded to f16 all at once: one by one this takes longer than the errors do.
    let (mut halves, mut floats) = ([f16::ZERO; DIVISORS.len()], [0.0; DIVISORS.len()]);
    halves.convert_from_f32_slice(&DIVISORS.map(|divisor| largest / divisor));
    halves.convert_to_f32_slice(&mut floats);
    for (half, float) in halves.into_iter().zip(floats) {
        for (scale, value) in [(half, float), (-half, -float)] {
            let error = squared_error(group, value);
            if error < best.0 {
                best = (error, scale);
            }
        }
    }
    // The best scale for the integers that the winner gives, and once more for theirs.
    for _ in 0..2 {
        let q = integers(group, best.1.to_f32());
        let products: f32 = q.iter().zip(group).map(|(q, w)| q * w).sum();
        let squares: f32 = q.iter().map(|q| q * q).sum();
        let refined = f16::from_f32(products / squares);
        if !refined.is_finite() || refined == best.1 {
            break;
        }
        let error = squared_error(group, refined.to_f32());
        if error >= best.0 {
            break;
        }
        best = (error, refined);
    }
    best.1
}

/// The integers -8..=7, as floats, that lie nearest to the weights for a scale.
#[inline(always)]
fn integers(group: &[f32; GROUP], scale: f32) -> [f32; GROUP] {
    let inverse = inverse(scale);
    group.map(|w| integer(w, inverse))
}

#[inline(always)]
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

#[inline(always)]
fn integer(w: f32, inverse: f32) -> f32 {
    nearest((w * inverse).clamp(-8.0, 7.0))
}

/// Sum of squared differences that a scale leaves.
#[inline(always)]
fn squared_error(group: &[f32; GROUP], scale: f32) -> f32 {
    const LANES: usize = 8;
    let inverse = inverse(scale);
    let mut sums = [0.0f32; LANES];
    for i in 0..GROUP {
        let d = integer(group[i], inverse) * scale - group[i];
        sums[i % LANES] += d * d;
    }
    sums.iter().sum()
}

/// Unpacks to row-major weights `[n, k]`.
///
/// # Errors
/// The lengths do not fit `n` and `k`.
pub fn dequantize(packed: &Packed, n: usize, k: usize) -> Result<Vec<f32>> {
    check_packed(packed, n, k, PER_WORD)?;
    let mut out = Vec::with_capacity(n * k);
    for (group, scale) in packed.words.chunks_exact(GROUP / PER_WORD).zip(&packed.scales) {
        let scale = scale.to_f32();
        for word in group {
            out.extend((0..PER_WORD).map(|j| (((word >> (4 * j)) & 15) as i32 - 8) as f32 * scale));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::quant::testing::{Normal, relative_squared_error};

    /// Relative squared errors with the largest magnitude over 7 for a scale, and with a search.
    fn errors_of(w: &[f32], k: usize) -> (f64, f64) {
        let n = w.len() / k;
        let plain = w.as_chunks::<GROUP>().0.iter().flat_map(|group| {
            let scale = f16::from_f32(largest(group).unwrap() / 7.0).to_f32();
            integers(group, scale).map(|q| q * scale)
        });
        let searched = dequantize(&quantize(w, n, k).unwrap(), n, k).unwrap();
        let error = |found: &[f32]| relative_squared_error(w, found);
        (error(&plain.collect::<Vec<_>>()), error(&searched))
    }

    #[test]
    fn the_search_gains_on_gaussian_weights() {
        let w = Normal::new(1).take(256 * 1024);
        let (plain, searched) = errors_of(&w, 1024);
        println!(
            "relative squared error: largest/7 {plain:.6}, searched {searched:.6}, ratio {:.3}",
            searched / plain
        );
        assert!(searched < 0.8 * plain, "{searched} {plain}");
        assert!(searched < 0.007, "{searched}");
    }

    #[test]
    fn no_group_is_worse_than_without_search() {
        let mut normal = Normal::new(2);
        for round in 0..200 {
            let mut w = normal.take(GROUP);
            w[round % GROUP] *= round as f32 / 5.0; // outliers, zeros
            let (plain, searched) = errors_of(&w, GROUP);
            assert!(searched <= plain * 1.000_001, "{searched} {plain}");
        }
    }

    #[test]
    fn layout_is_low_nibble_first() {
        let w: Vec<f32> = (0..32).map(|k| (k % 16) as f32 - 8.0).collect();
        let packed = quantize(&w, 1, 32).unwrap();
        assert_eq!(packed.scales, [f16::ONE]);
        assert_eq!(packed.words, [0x7654_3210, 0xfedc_ba98, 0x7654_3210, 0xfedc_ba98]);
        assert_eq!(dequantize(&packed, 1, 32).unwrap(), w);
    }

    #[test]
    fn a_negative_scale_serves_a_positive_extreme() {
        let w: Vec<f32> = (0..32).map(|k| 8.0 - (k % 16) as f32).collect();
        let packed = quantize(&w, 1, 32).unwrap();
        assert_eq!(packed.scales, [f16::NEG_ONE]);
        assert_eq!(dequantize(&packed, 1, 32).unwrap(), w);
    }

    #[test]
    fn every_processor_gives_the_same_bits() {
        let w = Normal::new(3).take(1 << 16);
        let portable = pack(w.as_chunks().0, 256).unwrap();
        assert_eq!(quantize(&w, 256, 256).unwrap(), portable);
    }

    #[test]
    fn rows_are_packed_one_by_one() {
        let (n, k) = (9, 96);
        let w = Normal::new(5).take(n * k);
        let whole = quantize(&w, n, k).unwrap();
        let mut rows = Packed::default();
        for row in w.chunks_exact(k) {
            let packed = quantize(row, 1, k).unwrap();
            rows.words.extend(packed.words);
            rows.scales.extend(packed.scales);
        }
        assert_eq!(whole, rows);
    }

    #[test]
    fn zeros_stay_zeros_and_nonsense_is_refused() {
        for tiny in [0.0, 1e-12, -1e-30] {
            let packed = quantize(&[tiny; 64], 2, 32).unwrap();
            let back = dequantize(&packed, 2, 32).unwrap();
            assert!(back.iter().all(|x| x.abs() < 1e-6), "{tiny}");
        }
        let mut w = vec![1.0; 64];
        for bad in [f32::NAN, f32::NEG_INFINITY, f32::MAX] {
            w[33] = bad;
            let error = quantize(&w, 2, 32).unwrap_err();
            assert_eq!(error.code(), "tensor-value");
            assert!(error.to_string().contains("row 1"), "{error}");
        }
        assert!(quantize(&w, 2, 31).is_err());
        assert!(quantize(&w, 1, 32).is_err());
        let short = Packed { words: vec![0; 8], scales: vec![f16::ONE; 3] };
        assert!(dequantize(&short, 2, 32).is_err());
    }
}
