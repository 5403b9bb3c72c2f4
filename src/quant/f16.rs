//! Half-precision and bfloat16 values as bytes of files: widening and narrowing.
//!
//! Widening is exact. Narrowing rounds to nearest, ties to even, and refuses what would
//! become infinite.

use super::{Piece, Spec, check_floats, unfit};
use crate::checkpoint::Dtype;
use crate::error::Result;
use half::f16;

/// The format.
pub const SPEC: Spec = Spec {
    name: "f16",
    group: 1,
    pieces: &[Piece { suffix: "weight", dtype: Dtype::F16, weights: 1 }],
    wgsl: include_str!("../../shaders/weights/f16.wgsl"),
    pack: |w, n, k| {
        check_floats(w.len(), n, k)?;
        Ok(vec![quantize(w, k)?.iter().flat_map(|half| half.to_le_bytes()).collect()])
    },
    unpack: |pieces, n, k| {
        let bytes = pieces.first().copied().unwrap_or_default();
        check_floats(bytes.len() / 2, n, k)?;
        Ok(widen(bytes).collect())
    },
};

/// Rounds row-major weights with rows of `k` to f16.
///
/// # Errors
/// A weight is not finite or beyond the range of f16.
pub fn quantize(w: &[f32], k: usize) -> Result<Vec<f16>> {
    let out: Vec<f16> = w.iter().map(|&x| f16::from_f32(x)).collect();
    match out.iter().position(|x| !x.is_finite()) {
        None => Ok(out),
        Some(at) => Err(unfit(at / k.max(1))),
    }
}

/// Widens little-endian f16 values.
pub fn widen(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
}

/// Widens little-endian bfloat16 values.
pub fn widen_bf16(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(2).map(|b| f32::from_le_bytes([0, 0, b[0], b[1]]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn widening_undoes_narrowing() {
        for bits in (0..=u16::MAX).filter(|b| f16::from_bits(*b).is_finite()) {
            let wide: Vec<f32> = widen(&bits.to_le_bytes()).collect();
            assert_eq!(quantize(&wide, 1).unwrap()[0].to_bits(), bits);
        }
    }

    #[test]
    fn bfloat_is_the_upper_half() {
        let bytes =
            [half::bf16::from_f32(-1.5).to_le_bytes(), half::bf16::from_f32(3e38).to_le_bytes()]
                .concat();
        let wide: Vec<f32> = widen_bf16(&bytes).collect();
        assert_eq!(wide[0], -1.5);
        assert!((wide[1] / 3e38 - 1.0).abs() < 0.01);
    }

    #[test]
    fn refuses_infinities() {
        assert_eq!(quantize(&[0.0, 1e6], 1).unwrap_err().code(), "tensor-value");
        assert_eq!(quantize(&[f32::NAN], 1).unwrap_err().code(), "tensor-value");
        assert!(quantize(&[65504.0, -65504.0], 1).is_ok());
    }
}
