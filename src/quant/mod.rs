//! Weight formats: how a matrix `[N, K]` is stored, packed and unpacked.
//!
//! | format | weight | companion | bits a weight |
//! |---|---|---|---|
//! | f32 | `X.weight` F32 `[N, K]` | - | 32 |
//! | f16 | `X.weight` F16 `[N, K]` | - | 16 |
//! | q8 | `X.weight` U32 `[N, K/4]`: byte j (low first) of word i is k = 4i + j, signed | `X.scales` F16 `[N, K/32]` | 8.5 |
//! | q4 | `X.weight` U32 `[N, K/8]`: nibble j (low first) of word i is k = 8i + j, plus 8 | `X.scales` F16 `[N, K/32]` | 4.5 |
//!
//! Groups of [`GROUP`] weights along K share one scale s: a q8 value is `q * s` with q in
//! -127..=127, a q4 value `(q - 8) * s` with q in 0..=15. A q4 scale may be **negative**: the
//! integers reach one step further below zero than above, and the sign of the scale decides
//! which end of the group profits. Which of the two packings a U32 tensor has follows from
//! the shapes alone ([`Format::of_packed`]).
//!
//! A row whose K is no multiple of the group cannot be packed; it is stored as f16.
//! The functions here are plain Rust: the converter packs with them, and the tests compare
//! the GPU's results with what they unpack.

pub mod f16;
pub mod q4;
pub mod q8;

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Weights along K that share one scale.
pub const GROUP: usize = 32;

/// How a weight matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers with one f16 scale per group.
    Q8,
    /// 4-bit integers with one f16 scale per group.
    Q4,
}

impl Format {
    /// All formats, the widest first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Q8, Self::Q4];

    /// Whether weights are packed into words and have a companion tensor of scales.
    #[must_use]
    pub const fn is_packed(self) -> bool {
        matches!(self, Self::Q8 | Self::Q4)
    }

    /// Weights in one 32-bit word of a packed format; `None` for the floating-point ones.
    #[must_use]
    pub const fn weights_per_word(self) -> Option<usize> {
        match self {
            Self::Q8 => Some(4),
            Self::Q4 => Some(8),
            Self::F32 | Self::F16 => None,
        }
    }

    /// Bits of [`GROUP`] weights, with their scale.
    #[must_use]
    pub const fn group_bits(self) -> u64 {
        let group = GROUP as u64;
        match self {
            Self::F32 => 32 * group,
            Self::F16 => 16 * group,
            Self::Q8 => 8 * group + 16,
            Self::Q4 => 4 * group + 16,
        }
    }

    /// This format, or f16 where rows of length `k` cannot be packed.
    #[must_use]
    pub const fn or_f16(self, k: usize) -> Self {
        if self.is_packed() && !k.is_multiple_of(GROUP) { Self::F16 } else { self }
    }

    /// The format of a packed matrix, from the shapes of its words `[N, K/8 or K/4]` and its
    /// scales `[N, K/32]`; `None` where they do not belong together.
    #[must_use]
    pub fn of_packed(words: &[usize], scales: &[usize]) -> Option<Self> {
        let (&[rows, words], &[scale_rows, groups]) = (words, scales) else {
            return None;
        };
        if rows != scale_rows || groups == 0 {
            return None;
        }
        [Self::Q4, Self::Q8].into_iter().find(|f| {
            f.weights_per_word().and_then(|n| words.checked_mul(n)) == groups.checked_mul(GROUP)
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
        })
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|f| f.to_string() == s).ok_or_else(|| Error::OptionInvalid {
            option: "format".into(),
            reason: format!("{s:?} is not a weight format; use f32, f16, q8 or q4"),
        })
    }
}

/// A packed matrix of `n` rows of `k` weights.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Packed {
    /// Row-major words, `[n, k / weights_per_word]`.
    pub words: Vec<u32>,
    /// Row-major scales, `[n, k / GROUP]`.
    pub scales: Vec<half::f16>,
}

/// Packs row-major weights `[n, k]`.
///
/// # Errors
/// `format` is no packed one, `k` is no multiple of [`GROUP`], the length is not `n * k`, or a
/// weight is not finite or too large for an f16 scale.
pub fn quantize(format: Format, w: &[f32], n: usize, k: usize) -> Result<Packed> {
    match format {
        Format::Q4 => q4::quantize(w, n, k),
        Format::Q8 => q8::quantize(w, n, k),
        Format::F32 | Format::F16 => Err(internal(format!("{format} is not a packed format"))),
    }
}

/// Unpacks to row-major weights `[n, k]`: the oracle of the kernels.
///
/// # Errors
/// `format` is no packed one, or the lengths of words and scales do not fit `n` and `k`.
pub fn dequantize(format: Format, packed: &Packed, n: usize, k: usize) -> Result<Vec<f32>> {
    match format {
        Format::Q4 => q4::dequantize(&packed.words, &packed.scales, n, k),
        Format::Q8 => q8::dequantize(&packed.words, &packed.scales, n, k),
        Format::F32 | Format::F16 => Err(internal(format!("{format} is not a packed format"))),
    }
}

/// Checks that `len` weights are `n` rows of `k`, and that rows can be packed.
fn check_weights(len: usize, n: usize, k: usize) -> Result<()> {
    if !k.is_multiple_of(GROUP) {
        return Err(internal(format!("rows of {k} weights cannot be packed in groups of {GROUP}")));
    }
    if n.checked_mul(k) != Some(len) {
        return Err(internal(format!("{len} weights are not {n} rows of {k}")));
    }
    Ok(())
}

/// Checks the lengths of a packed matrix.
fn check_packed(words: usize, scales: usize, n: usize, k: usize, per_word: usize) -> Result<()> {
    let weights = n.checked_mul(k).ok_or_else(|| internal(format!("{n} x {k} overflows")))?;
    check_weights(weights, n, k)?;
    if words != weights / per_word || scales != weights / GROUP {
        return Err(internal(format!(
            "{words} words and {scales} scales are not {n} rows of {k} weights"
        )));
    }
    Ok(())
}

/// Largest magnitude of a group, or `None` where a weight is not finite.
fn largest(group: &[f32]) -> Option<f32> {
    let sum = group.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    (sum.is_finite() && group.iter().all(|w| !w.is_nan())).then_some(sum)
}

/// The nearest integer, ties to even, for |x| < 2^22. Two additions, which vectorise on every
/// target; the library's function does not on the x86-64 baseline.
#[inline(always)]
fn nearest(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23: adding it pushes the fraction out of the mantissa
    (x + SHIFT) - SHIFT
}

fn internal(reason: String) -> Error {
    Error::Internal { reason }
}

/// The sentence for a weight that no scale can represent.
fn unfit(row: usize) -> Error {
    Error::TensorValue {
        name: String::new(),
        reason: format!("row {row} has a weight that is not finite or too large to be packed"),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Repeatable random weights for the tests of the packings.

    /// Normal deviates from a small generator (splitmix64, Box-Muller).
    pub(crate) struct Normal(u64);

    impl Normal {
        pub(crate) fn new(seed: u64) -> Self {
            Self(seed)
        }

        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        }

        pub(crate) fn take(&mut self, count: usize) -> Vec<f32> {
            let mut deviate = || {
                let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
                (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32
            };
            (0..count).map(|_| deviate()).collect()
        }
    }

    /// Sum of squared differences over the sum of squares.
    pub(crate) fn relative_squared_error(exact: &[f32], found: &[f32]) -> f64 {
        let square = |x: f64| x * x;
        let error: f64 = exact.iter().zip(found).map(|(a, b)| square(f64::from(a - b))).sum();
        error / exact.iter().map(|a| square(f64::from(*a))).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn names_round_trip() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
            assert_eq!(serde_json::to_string(&format).unwrap(), format!("\"{format}\""));
        }
        assert_eq!("q3".parse::<Format>().unwrap_err().code(), "option-invalid");
    }

    #[test]
    fn shapes_tell_the_packing() {
        assert_eq!(Format::of_packed(&[3, 8], &[3, 2]), Some(Format::Q4));
        assert_eq!(Format::of_packed(&[3, 16], &[3, 2]), Some(Format::Q8));
        assert_eq!(Format::of_packed(&[3, 12], &[3, 2]), None);
        assert_eq!(Format::of_packed(&[2, 8], &[3, 2]), None);
        assert_eq!(Format::of_packed(&[3, 0], &[3, 0]), None);
        assert_eq!(Format::of_packed(&[3, usize::MAX], &[3, 2]), None);
    }

    #[test]
    fn rows_that_cannot_be_packed_become_f16() {
        assert_eq!(Format::Q4.or_f16(588), Format::F16);
        assert_eq!(Format::Q4.or_f16(1408), Format::Q4);
        assert_eq!(Format::F32.or_f16(588), Format::F32);
    }

    #[test]
    fn nearest_rounds_ties_to_even() {
        for (x, y) in
            [(0.5, 0.0), (1.5, 2.0), (-2.5, -2.0), (126.51, 127.0), (-7.49, -7.0), (0.0, 0.0)]
        {
            assert_eq!(nearest(x), y, "{x}");
        }
    }
}
