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
//! which end of the group profits. Which format a matrix has is said by `config.json`
//! ([`QuantizationConfig`](crate::config::QuantizationConfig)), never guessed from shapes.
//!
//! A row whose K is no multiple of the group cannot be packed; it is stored as f16.
//! The functions here are plain Rust: the converter packs with them, and the tests compare
//! the GPU's results with what they unpack.

pub mod f16;
pub mod f32;
pub mod q4;
pub mod q8;

use crate::checkpoint::Dtype;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Weights along K that share one scale.
pub const GROUP: usize = 32;

/// A format, whole: what its file below says, and all that the rest of the crate knows of it.
#[derive(Debug)]
pub struct Spec {
    /// Its name in configurations and on the command line.
    pub name: &'static str,
    /// Weights of a row that are stored together; rows are multiples of it.
    pub group: usize,
    /// The tensors that hold a matrix, the weights first.
    pub pieces: &'static [Piece],
    /// The WGSL that reads it: `eight_at`, `dot8` and `weight8`, see `shaders/weights`.
    pub wgsl: &'static str,
    /// Stores row-major weights `[n, k]`: the bytes of each piece. Fails where the number of
    /// weights is not `n * k`, or one cannot be stored.
    pub pack: Pack,
    /// The weights again, from the bytes of each piece. Fails where their lengths do not fit.
    pub unpack: Unpack,
}

/// See [`Spec::pack`].
pub type Pack = fn(w: &[f32], n: usize, k: usize) -> Result<Vec<Vec<u8>>>;
/// See [`Spec::unpack`].
pub type Unpack = fn(pieces: &[&[u8]], n: usize, k: usize) -> Result<Vec<f32>>;

/// One of the tensors of a stored matrix: `[n, k / weights]` elements.
#[derive(Debug)]
pub struct Piece {
    /// Stands in the place of `weight` in the tensor's name.
    pub suffix: &'static str,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Weights of a row that one element is for.
    pub weights: usize,
}

impl Piece {
    /// Bytes of it for `n` rows of `k` weights.
    #[must_use]
    pub const fn bytes(&self, n: usize, k: usize) -> usize {
        n * (k / self.weights) * self.dtype.size()
    }
}

/// The formats by the file that describes them, the widest first.
macro_rules! formats {
    ($($(#[$doc:meta])* $format:ident = $file:ident),* $(,)?) => {
        /// How a weight matrix is stored.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "lowercase")]
        pub enum Format {
            $($(#[$doc])* $format),*
        }

        impl Format {
            /// All formats, the widest first.
            pub const ALL: [Self; [$(stringify!($format)),*].len()] = [$(Self::$format),*];

            /// What it is.
            #[must_use]
            pub const fn spec(self) -> &'static Spec {
                match self {
                    $(Self::$format => &$file::SPEC),*
                }
            }
        }
    };
}

formats! {
    /// 32-bit floats.
    F32 = f32,
    /// 16-bit floats.
    F16 = f16,
    /// 8-bit integers with one f16 scale per group.
    Q8 = q8,
    /// 4-bit integers with one f16 scale per group.
    Q4 = q4,
}

impl Format {
    /// Whether weights are packed in groups.
    #[must_use]
    pub const fn is_packed(self) -> bool {
        self.spec().group > 1
    }

    /// Bytes of `n` rows of `k` weights.
    #[must_use]
    pub fn bytes(self, n: usize, k: usize) -> u64 {
        self.spec().pieces.iter().map(|piece| piece.bytes(n, k) as u64).sum()
    }

    /// Bits of [`GROUP`] weights, with their scale.
    #[must_use]
    pub fn group_bits(self) -> u64 {
        8 * self.bytes(1, GROUP)
    }

    /// This format, or f16 where rows of length `k` cannot be packed.
    #[must_use]
    pub const fn or_f16(self, k: usize) -> Self {
        if k.is_multiple_of(self.spec().group) { self } else { Self::F16 }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.spec().name)
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.spec().name == s).ok_or_else(|| {
            let names = Self::ALL.map(|format| format.spec().name).join(", ");
            Error::OptionInvalid {
                option: "format".into(),
                reason: format!("{s:?} is not a weight format; there are {names}"),
            }
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

impl Packed {
    /// The bytes of words and scales, little-endian.
    fn into_bytes(self) -> Vec<Vec<u8>> {
        let words = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let scales = self.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        vec![words, scales]
    }

    /// From the bytes of words and scales.
    fn of(pieces: &[&[u8]]) -> Self {
        let piece = |at: usize| pieces.get(at).copied().unwrap_or_default();
        let word = |b: &[u8; 4]| u32::from_le_bytes(*b);
        let scale = |b: &[u8; 2]| half::f16::from_le_bytes(*b);
        Self {
            words: piece(0).as_chunks().0.iter().map(word).collect(),
            scales: piece(1).as_chunks().0.iter().map(scale).collect(),
        }
    }
}

/// Checks that `len` weights are `n` rows of `k`, and that rows can be packed.
fn check_weights(len: usize, n: usize, k: usize) -> Result<()> {
    if !k.is_multiple_of(GROUP) {
        return Err(internal(format!("rows of {k} weights cannot be packed in groups of {GROUP}")));
    }
    check_floats(len, n, k)
}

/// Checks that `len` weights are `n` rows of `k`.
fn check_floats(len: usize, n: usize, k: usize) -> Result<()> {
    match n.checked_mul(k) == Some(len) {
        true => Ok(()),
        false => Err(internal(format!("{len} weights are not {n} rows of {k}"))),
    }
}

/// Checks the lengths of a packed matrix.
fn check_packed(packed: &Packed, n: usize, k: usize, per_word: usize) -> Result<()> {
    let (words, scales) = (packed.words.len(), packed.scales.len());
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

    use crate::random::{STEP, mix};

    /// Normal deviates from a small generator (splitmix64, Box-Muller).
    pub(crate) struct Normal(u64);

    impl Normal {
        pub(crate) fn new(seed: u64) -> Self {
            Self(seed)
        }

        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(STEP);
            (mix(self.0) >> 11) as f64 / (1u64 << 53) as f64
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
    fn every_format_packs_what_its_pieces_say() {
        let w = testing::Normal::new(6).take(6 * 96);
        for format in Format::ALL {
            let spec = format.spec();
            let packed = (spec.pack)(&w, 6, 96).unwrap();
            let lengths: Vec<usize> = packed.iter().map(Vec::len).collect();
            let promised: Vec<usize> = spec.pieces.iter().map(|piece| piece.bytes(6, 96)).collect();
            assert_eq!(lengths, promised, "{format}");
            let slices: Vec<&[u8]> = packed.iter().map(Vec::as_slice).collect();
            let back = (spec.unpack)(&slices, 6, 96).unwrap();
            assert!(testing::relative_squared_error(&w, &back) < 0.01, "{format}");
            assert!((spec.pack)(&w, 5, 96).is_err(), "{format}");
            assert!((spec.unpack)(&slices, 5, 96).is_err(), "{format}");
            assert!((spec.unpack)(&[], 6, 96).is_err(), "{format}");
        }
        let bits = Format::ALL.map(Format::group_bits);
        assert_eq!(bits, [32 * 32, 16 * 32, 8 * 32 + 16, 4 * 32 + 16]);
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
