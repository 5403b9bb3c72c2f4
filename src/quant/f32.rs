//! 32-bit floats: the bytes of a file as they are.

use super::{Piece, Spec, check_floats};
use crate::checkpoint::Dtype;

/// The format.
pub const SPEC: Spec = Spec {
    name: "f32",
    group: 1,
    pieces: &[Piece { suffix: "weight", dtype: Dtype::F32, weights: 1 }],
    wgsl: include_str!("../../shaders/weights/f32.wgsl"),
    pack: |w, n, k| {
        check_floats(w.len(), n, k)?;
        Ok(vec![w.iter().flat_map(|x| x.to_le_bytes()).collect()])
    },
    unpack: |pieces, n, k| {
        let bytes = pieces.first().copied().unwrap_or_default();
        check_floats(bytes.len() / 4, n, k)?;
        Ok(widen(bytes).collect())
    },
};

/// Little-endian f32 values.
pub fn widen(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four))
}
