//! 8-bit packing: signed bytes, four to a word, one f16 scale per group of 32 along K.
//!
//! The scale is the largest magnitude of the group over 127, rounded to f16 before the
//! integers are chosen, so that rounding the scale costs no accuracy beyond a coarser step.

use super::{GROUP, Packed, Piece, Spec, check_packed, check_weights, largest, nearest, unfit};
use crate::checkpoint::Dtype;
use crate::error::Result;
use half::f16;

const PER_WORD: usize = 4;

/// The format.
pub const SPEC: Spec = Spec {
    name: "q8",
    group: GROUP,
    pieces: &[
        Piece { suffix: "weight", dtype: Dtype::U32, weights: PER_WORD },
        Piece { suffix: "scales", dtype: Dtype::F16, weights: GROUP },
    ],
    wgsl: include_str!("../../shaders/weights/q8.wgsl"),
    pack: |w, n, k| Ok(quantize(w, n, k)?.into_bytes()),
    unpack: |pieces, n, k| dequantize(&Packed::of(pieces), n, k),
};

/// Packs row-major weights `[n, k]`.
///
/// # Errors
/// `k` is no multiple of [`GROUP`], the length is not `n * k`, or a weight is not finite or
/// too large for an f16 scale.
pub fn quantize(w: &[f32], n: usize, k: usize) -> Result<Packed> {
    check_weights(w.len(), n, k)?;
    let mut packed = Packed {
        words: Vec::with_capacity(w.len() / PER_WORD),
        scales: Vec::with_capacity(w.len() / GROUP),
    };
    for (at, group) in w.chunks_exact(GROUP).enumerate() {
        let scale = largest(group).map(|m| f16::from_f32(m / 127.0)).filter(|s| s.is_finite());
        let scale = scale.ok_or_else(|| unfit(at * GROUP / k))?;
        let inverse = if scale == f16::ZERO { 0.0 } else { 1.0 / scale.to_f32() };
        packed.scales.push(scale);
        packed.words.extend(group.chunks_exact(PER_WORD).map(|four| {
            let bytes =
                [0, 1, 2, 3].map(|j| nearest((four[j] * inverse).clamp(-127.0, 127.0)) as i8 as u8);
            u32::from_le_bytes(bytes)
        }));
    }
    Ok(packed)
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
        out.extend(
            group.iter().flat_map(|word| word.to_le_bytes()).map(|q| f32::from(q as i8) * scale),
        );
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::quant::testing::{Normal, relative_squared_error};

    #[test]
    fn every_weight_is_within_half_a_step() {
        let mut normal = Normal::new(3);
        for (n, k) in [(1, 32), (3, 64), (7, 96), (16, 352)] {
            let w = normal.take(n * k);
            let packed = quantize(&w, n, k).unwrap();
            let back = dequantize(&packed, n, k).unwrap();
            for (i, (a, b)) in w.iter().zip(&back).enumerate() {
                let scale = packed.scales[i / GROUP].to_f32();
                // f16 may round the scale down by 2^-11: then the largest weight is clamped.
                assert!((a - b).abs() <= scale * (0.5 + 127.0 / 2048.0), "{a} {b} {scale}");
            }
            assert!(relative_squared_error(&w, &back) < 1e-4);
        }
    }

    #[test]
    fn what_was_unpacked_packs_to_the_same_values() {
        let w = Normal::new(4).take(64 * 64);
        let once = quantize(&w, 64, 64).unwrap();
        let values = dequantize(&once, 64, 64).unwrap();
        let twice = quantize(&values, 64, 64).unwrap();
        let again = dequantize(&twice, 64, 64).unwrap();
        assert!(relative_squared_error(&values, &again) < 1e-6);
    }

    #[test]
    fn layout_is_low_byte_first() {
        let mut w = vec![0.0; 32];
        (w[0], w[1], w[2], w[3], w[4]) = (127.0, -127.0, 1.0, -1.0, 2.0);
        let packed = quantize(&w, 1, 32).unwrap();
        assert_eq!(packed.scales, [f16::ONE]);
        assert_eq!(packed.words[..2], [0xff01_817f, 2]);
    }

    #[test]
    fn zeros_stay_zeros_and_nonsense_is_refused() {
        let packed = quantize(&[0.0; 64], 2, 32).unwrap();
        assert_eq!(dequantize(&packed, 2, 32).unwrap(), [0.0; 64]);
        let mut w = vec![1.0; 64];
        for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
            w[40] = bad;
            let error = quantize(&w, 2, 32).unwrap_err();
            assert_eq!(error.code(), "tensor-value");
            assert!(error.to_string().contains("row 1"), "{error}");
        }
        assert!(quantize(&w, 2, 33).is_err());
        assert!(quantize(&w, 3, 32).is_err());
        assert!(dequantize(&packed, 3, 32).is_err());
        assert!(dequantize(&packed, usize::MAX, 32).is_err());
    }
}
