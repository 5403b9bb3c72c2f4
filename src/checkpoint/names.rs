//! The names of a checkpoint's tensors, the parts they belong to, and their order.
//!
//! The names are those of the reference implementation. Checkpoints may repeat the T5
//! embedding under the names of its users and carry a buffer of positions; both are folded
//! away here, for every reader alike.

use std::cmp::Ordering;
use std::fmt;

/// The embedding that encoder and decoder share.
pub const SHARED: &str = "language_model.shared.weight";

/// The patch convolution: `[D, 3, p, p]` in a plain checkpoint, `[D, 3 p p]` in a shard set.
pub const PATCH: &str = "vision_model.embeddings.patch_embedding.weight";

/// The name under which a tensor is known here; `None` where it carries no weights.
#[must_use]
pub fn canonical(name: &str) -> Option<&str> {
    match name {
        "language_model.encoder.embed_tokens.weight"
        | "language_model.decoder.embed_tokens.weight" => Some(SHARED),
        "qformer.embeddings.position_ids" => None,
        _ => Some(name),
    }
}

/// A part of the model, in the order in which a picture and a question pass through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Part {
    Vision,
    QFormer,
    QueriesAndProjection,
    Embeddings,
    Encoder,
    Decoder,
    Other,
}

impl Part {
    /// All parts in order.
    pub const ALL: [Self; 7] = [
        Self::Vision,
        Self::QFormer,
        Self::QueriesAndProjection,
        Self::Embeddings,
        Self::Encoder,
        Self::Decoder,
        Self::Other,
    ];

    /// The part a tensor belongs to.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let starts = |prefix: &str| name.starts_with(prefix);
        match name {
            _ if starts("vision_model.") => Self::Vision,
            _ if starts("qformer.") => Self::QFormer,
            _ if starts("query_tokens") || starts("language_projection.") => {
                Self::QueriesAndProjection
            }
            _ if starts("language_model.shared.") || starts("language_model.lm_head.") => {
                Self::Embeddings
            }
            _ if starts("language_model.encoder.") => Self::Encoder,
            _ if starts("language_model.decoder.") => Self::Decoder,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Vision => "vision",
            Self::QFormer => "Q-Former",
            Self::QueriesAndProjection => "queries, projection",
            Self::Embeddings => "shared, lm_head",
            Self::Encoder => "T5 encoder",
            Self::Decoder => "T5 decoder",
            Self::Other => "other",
        })
    }
}

/// Order of tensors in a shard set: by part, then by name, numbers by value. It does not
/// depend on the order in the source, and what runs first is loaded first.
#[must_use]
pub fn order(a: &str, b: &str) -> Ordering {
    Part::of(a).cmp(&Part::of(b)).then_with(|| natural(a, b)).then_with(|| a.cmp(b))
}

/// Compares dotted names piece by piece; pieces that are numbers compare by value.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let (x, y) = match (left.next(), right.next()) {
            (Some(x), Some(y)) => (x, y),
            (x, y) => return x.is_some().cmp(&y.is_some()),
        };
        let ordering = match (x.parse::<u64>(), y.parse::<u64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            _ => x.cmp(y),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn aliases_fold() {
        assert_eq!(canonical("language_model.encoder.embed_tokens.weight"), Some(SHARED));
        assert_eq!(canonical("language_model.decoder.embed_tokens.weight"), Some(SHARED));
        assert_eq!(canonical("query_tokens"), Some("query_tokens"));
        assert_eq!(canonical("qformer.embeddings.position_ids"), None);
    }

    #[test]
    fn layers_come_by_number_and_parts_by_use() {
        let mut names = vec![
            "language_model.decoder.block.0.x",
            "vision_model.encoder.layers.10.a",
            "vision_model.encoder.layers.9.b",
            "vision_model.encoder.layers.9.a",
            "qformer.encoder.layer.0.a",
            "strange",
            "vision_model.encoder.layers.9",
            "language_model.lm_head.weight",
        ];
        names.sort_by(|a, b| order(a, b));
        assert_eq!(
            names,
            [
                "vision_model.encoder.layers.9",
                "vision_model.encoder.layers.9.a",
                "vision_model.encoder.layers.9.b",
                "vision_model.encoder.layers.10.a",
                "qformer.encoder.layer.0.a",
                "language_model.lm_head.weight",
                "language_model.decoder.block.0.x",
                "strange",
            ]
        );
    }
}
