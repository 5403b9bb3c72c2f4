//! Measures of ranked answers.

/// One over the rank of the candidate `gold` when `scores` are sorted from the largest; equal
/// scores keep the order of the candidates. 0 where there is no such candidate.
#[must_use]
pub fn reciprocal_rank(scores: &[f32], gold: usize) -> f64 {
    let Some(&own) = scores.get(gold) else { return 0.0 };
    let better = scores
        .iter()
        .enumerate()
        .filter(|&(i, &score)| score > own || (score == own && i < gold))
        .count();
    1.0 / (better + 1) as f64
}

/// Index of the largest score, the first of equals.
#[must_use]
pub fn best(scores: &[f32]) -> Option<usize> {
    (0..scores.len()).reduce(|best, i| if scores[i] > scores[best] { i } else { best })
}

/// Area under the ROC curve: the probability that a positive item scores above a negative one,
/// equal scores counting half (Mann-Whitney). `None` unless there are items of both classes.
#[must_use]
pub fn auc(items: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = items.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = items.iter().filter(|item| item.1).count() as f64;
    let negatives = items.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let (mut won, mut below) = (0.0, 0.0);
    for equals in sorted.chunk_by(|a, b| a.0 == b.0) {
        let ups = equals.iter().filter(|item| item.1).count() as f64;
        let downs = equals.len() as f64 - ups;
        won += ups * (below + downs / 2.0);
        below += downs;
    }
    Some(won / (positives * negatives))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reciprocal_ranks() {
        let scores = [-3.0, -1.0, -2.0, -2.0];
        let ranks: Vec<f64> = (0..5).map(|gold| reciprocal_rank(&scores, gold)).collect();
        assert_eq!(ranks, [1.0 / 4.0, 1.0, 1.0 / 2.0, 1.0 / 3.0, 0.0]);
        assert_eq!((best(&scores), best(&[])), (Some(1), None));
    }

    /// Values of `sklearn.metrics.roc_auc_score`'s documentation and by hand with ties.
    #[test]
    fn areas() {
        let of = |items: &[(f64, u8)]| {
            let items: Vec<_> = items.iter().map(|&(score, class)| (score, class == 1)).collect();
            auc(&items)
        };
        assert_eq!(of(&[(0.1, 0), (0.4, 0), (0.35, 1), (0.8, 1)]), Some(0.75));
        assert_eq!(of(&[(1.0, 0), (2.0, 1), (2.0, 0), (3.0, 1)]), Some(0.875));
        assert_eq!(of(&[(5.0, 0), (5.0, 1), (5.0, 1)]), Some(0.5));
        assert_eq!(of(&[(1.0, 1), (2.0, 0)]), Some(0.0));
        assert_eq!(of(&[(1.0, 1), (2.0, 1)]), None);
        assert_eq!(of(&[]), None);
    }
}
