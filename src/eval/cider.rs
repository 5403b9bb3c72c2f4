//! CIDEr: how much a caption has in common with those of people (Vedantam et al., arXiv 1411.5726).
//!
//! The variant of `pycocoevalcap`, with which captioning figures are published: cosine of
//! TF-IDF vectors of 1- to 4-grams, counts clipped to the reference's, a Gaussian penalty for a
//! difference in length. Document frequencies come from the references of the whole data set,
//! so scores depend on it, and are 0 for a single picture.

use std::collections::BTreeMap;

use super::tokenize::tokenize;

/// Longest n-gram.
const ORDERS: usize = 4;
/// Standard deviation of the penalty, in words.
const SIGMA: f64 = 6.0;
/// The reference multiplies the mean cosine by this.
const SCALE: f64 = 10.0;

type Counts<'a> = BTreeMap<&'a [String], f64>;

/// A caption and those of people for the same picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caption<'a> {
    /// What the model wrote.
    pub candidate: &'a str,
    /// What people wrote.
    pub references: &'a [String],
}

/// The score of every caption, 0 to 10; the data set's is their mean.
#[must_use]
pub fn cider(captions: &[Caption<'_>]) -> Vec<f64> {
    let words: Vec<(Vec<String>, Vec<Vec<String>>)> = captions
        .iter()
        .map(|caption| {
            let references = caption.references.iter().map(|text| tokenize(text)).collect();
            (tokenize(caption.candidate), references)
        })
        .collect();
    let counted: Vec<(Counts<'_>, Vec<Counts<'_>>)> = words
        .iter()
        .map(|(candidate, references)| {
            (count(candidate), references.iter().map(|words| count(words)).collect())
        })
        .collect();
    let mut frequency: Counts<'_> = BTreeMap::new();
    for (_, references) in &counted {
        // A document is a picture: an n-gram counts once, in however many of its captions it is.
        let document: BTreeMap<&[String], ()> =
            references.iter().flat_map(|counts| counts.keys().map(|gram| (*gram, ()))).collect();
        for gram in document.into_keys() {
            *frequency.entry(gram).or_default() += 1.0;
        }
    }
    let documents = (captions.len() as f64).ln();
    counted
        .iter()
        .map(|(candidate, references)| {
            let candidate = Vector::new(candidate, &frequency, documents);
            let sum: f64 = references
                .iter()
                .map(|reference| {
                    similarity(&candidate, &Vector::new(reference, &frequency, documents))
                })
                .sum();
            if references.is_empty() { 0.0 } else { SCALE * sum / references.len() as f64 }
        })
        .collect()
}

fn count(words: &[String]) -> Counts<'_> {
    let mut counts = Counts::new();
    for order in 1..=ORDERS {
        for gram in words.windows(order) {
            *counts.entry(gram).or_default() += 1.0;
        }
    }
    counts
}

/// TF-IDF weights of a caption's n-grams.
struct Vector<'a> {
    weights: BTreeMap<&'a [String], f64>,
    /// Euclidean length for each order.
    norms: [f64; ORDERS],
    /// Bigrams: what the reference takes for the length.
    length: f64,
}

impl<'a> Vector<'a> {
    fn new(counts: &Counts<'a>, frequency: &Counts<'_>, documents: f64) -> Self {
        let mut norms = [0.0; ORDERS];
        let mut length = 0.0;
        let mut weights = BTreeMap::new();
        for (&gram, &count) in counts {
            let weight =
                count * (documents - frequency.get(gram).copied().unwrap_or(1.0).max(1.0).ln());
            norms[gram.len() - 1] += weight * weight;
            if gram.len() == 2 {
                length += count;
            }
            weights.insert(gram, weight);
        }
        Self { weights, norms: norms.map(f64::sqrt), length }
    }
}

/// Mean over the orders of the clipped cosine, with the penalty for the length.
fn similarity(candidate: &Vector<'_>, reference: &Vector<'_>) -> f64 {
    let mut products = [0.0; ORDERS];
    for (gram, weight) in &candidate.weights {
        let other = reference.weights.get(gram).copied().unwrap_or(0.0);
        products[gram.len() - 1] += weight.min(other) * other;
    }
    let delta = candidate.length - reference.length;
    let penalty = (-(delta * delta) / (2.0 * SIGMA * SIGMA)).exp();
    let cosines = products.iter().zip(candidate.norms).zip(reference.norms).map(
        |((product, candidate), reference)| {
            let norm = candidate * reference;
            if norm > 0.0 { product / norm } else { *product }
        },
    );
    cosines.sum::<f64>() / ORDERS as f64 * penalty
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores of `pycocoevalcap` 1.2, its own tokenizer included.
    const CASES: &[(&str, &[&str], f64)] = &[
        (
            "a man riding a wave on a surfboard",
            &[
                "A man riding a wave on top of a surfboard.",
                "A surfer rides a big wave in the ocean.",
                "The man is surfing on a blue wave.",
            ],
            2.875691147225,
        ),
        (
            "A cat's tail is on the sofa.",
            &["The cat's tail hangs off the sofa arm.", "A black-and-white cat isn't awake."],
            1.899160742950,
        ),
        (
            "two dogs play with a red ball",
            &[
                "Two dogs are playing with a red ball on the grass.",
                "A pair of dogs chase a ball!",
                "two dogs with a ball",
            ],
            2.311017060209,
        ),
        (
            "A tower tower tower at 3:30 pm",
            &["A clock tower in the U.S. at 3:30 p.m.", "a tall tower with a clock"],
            0.756248696064,
        ),
        (
            "completely unrelated words here",
            &["A plate of food: ham, cheese & lettuce."],
            0.000000000000,
        ),
    ];

    fn score(cases: &[(&str, &[&str], f64)]) -> Vec<f64> {
        let references: Vec<Vec<String>> = cases
            .iter()
            .map(|case| case.1.iter().map(|text| (*text).to_owned()).collect())
            .collect();
        let captions: Vec<Caption<'_>> = cases
            .iter()
            .zip(&references)
            .map(|(case, references)| Caption { candidate: case.0, references })
            .collect();
        cider(&captions)
    }

    #[test]
    fn scores_as_the_reference() {
        for (found, case) in score(CASES).into_iter().zip(CASES) {
            assert!((found - case.2).abs() < 1e-9, "{case:?}: {found}");
        }
    }

    #[test]
    fn one_picture_has_no_frequencies() {
        assert_eq!(score(&CASES[..1]), [0.0]);
        assert!(score(&[]).is_empty());
    }
}
