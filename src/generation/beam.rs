//! Beam search: the texts with the highest penalised log-probability.
//!
//! Reference: `GenerationMixin._beam_search` of transformers with `early_stopping=False`. The
//! device scores all continuations and returns the best `2 * num_beams`; [`Beams`] decides on the
//! host which go on and which are finished. Beams keep their keys and values where they were
//! written; a table of rows says where a beam's past lies.

use super::processors::{bans, rules};
use super::step::{Choice, Plan, Stepper, Told};
use super::{Clock, Generated, Generator, OnToken, Sequence, Stop, Token};
use crate::error::{Error, Result};
use crate::kernels::TokenHistory;
use crate::meter;
use crate::models::language::Context;

/// The reference's "no text": added to the score of what must not go on.
const OUT: f32 = -1e9;

pub(super) async fn search(
    generator: &Generator<'_>,
    context: &Context,
    on_token: &mut OnToken<'_>,
) -> Result<Generated> {
    let options = generator.options;
    let settings = &options.settings;
    let beams = settings.num_beams;
    let vocab_size = generator.model.vocab_size();
    let plan = Plan {
        rows: beams,
        tokens: settings.max_new_tokens,
        choice: Choice::Best(2 * beams),
        rules: rules(options, beams),
    };
    let mut stepper = Stepper::new(generator.model, context, plan)?;
    let mut search =
        Beams::new(context.first(), beams, settings.length_penalty, settings.max_new_tokens);
    let (mut told, mut clock) = (0, Clock::default());
    for position in 0.. {
        let running = &search.running;
        let texts: Vec<&[u32]> = running.iter().map(|beam| &beam.ids[..]).collect();
        let bans = bans(options, texts.iter().copied(), position + 1, vocab_size);
        let texts = TokenHistory::lines(&texts);
        let lineage: Vec<Vec<u32>> = running
            .iter()
            .enumerate()
            .map(|(row, beam)| [&beam.rows[..], &[row as u32]].concat())
            .collect();
        let sums: Vec<u32> = running.iter().map(|beam| beam.sum.to_bits()).collect();
        let step = Told {
            texts: Some(&texts),
            lineage: Some(&lineage),
            bans: Some(&bans),
            numbers: Some(&sums),
        };
        let chosen = stepper.run(position, step).await?;
        let counts = meter::counts();
        // What goes on is decided by what came: the GPU waits for the host.
        meter::waited();
        let words = chosen.words().await?;
        clock.tick(counts);
        let mut candidates = Vec::with_capacity(2 * beams);
        for pair in words.chunks_exact(2) {
            let (beam, id) = (pair[0] as usize / vocab_size, pair[0] as usize % vocab_size);
            let parent = search.running.get(beam).ok_or_else(|| Error::Gpu {
                reason: "the model's scores are not numbers; its weights may be damaged".into(),
            })?;
            let next = parent.with(beam, id as u32, f32::from_bits(pair[1]));
            candidates.push((generator.stop(&next.ids[1..])?, next));
        }
        let done = search.advance(candidates);

        // Only what no text that may still win contradicts is told.
        let (best, settled) = search.settled();
        let (ids, log_probabilities) = (&best.ids[1..], &best.log_probabilities);
        let mut asked = generator.pace.check().is_err();
        while told < settled && !asked {
            let (id, log_probability) = (ids[told], log_probabilities[told]);
            told += 1;
            asked =
                on_token(Token { id, log_probability, last: done && told == settled })?.is_break();
        }
        if done || asked {
            let sequences = search.into_sequences(settings.num_return_sequences);
            return Ok(Generated { sequences, clock });
        }
    }
    Err(Error::Internal { reason: "a search without an end".into() })
}

/// A text and where its keys and values lie.
#[derive(Clone, Debug)]
struct Beam {
    /// With the start token.
    ids: Vec<u32>,
    log_probabilities: Vec<f32>,
    /// Sum of the log-probabilities.
    sum: f32,
    /// The cache's row of every token but the last.
    rows: Vec<u32>,
}

impl Beam {
    /// This beam, in row `row`, and one more token; `sum` is that of the whole.
    fn with(&self, row: usize, id: u32, sum: f32) -> Self {
        Self {
            ids: [&self.ids[..], &[id]].concat(),
            log_probabilities: [&self.log_probabilities[..], &[sum - self.sum]].concat(),
            sum,
            rows: [&self.rows[..], &[row as u32]].concat(),
        }
    }

    /// Tokens after the start token.
    fn length(&self) -> usize {
        self.ids.len() - 1
    }
}

struct Finished {
    score: f32,
    beam: Beam,
    stop: Stop,
}

/// The state of a search between steps.
struct Beams {
    /// Best first; always as many as there are rows.
    running: Vec<Beam>,
    /// Best first, at most as many.
    finished: Vec<Finished>,
    /// The best running beam may still beat the worst finished one.
    can_improve: bool,
    length_penalty: f32,
    max_new_tokens: usize,
}

impl Beams {
    fn new(start: u32, beams: usize, length_penalty: f32, max_new_tokens: usize) -> Self {
        // All rows are the same text at first, so only the first may be continued.
        let beam = |row| Beam {
            ids: vec![start],
            log_probabilities: Vec::new(),
            sum: if row == 0 { 0.0 } else { OUT },
            rows: Vec::new(),
        };
        Self {
            running: (0..beams).map(beam).collect(),
            finished: Vec::new(),
            can_improve: true,
            length_penalty,
            max_new_tokens,
        }
    }

    /// Takes the best continuations, best first, with the reason where one ends; says whether
    /// the search is over.
    fn advance(&mut self, candidates: Vec<(Option<Stop>, Beam)>) -> bool {
        let beams = self.running.len();
        let all_end = candidates.iter().all(|(stop, _)| stop.is_some());
        if self.can_improve {
            // A text that ends must be among the best `beams`, not among the reserves.
            for (stop, beam) in candidates.iter().take(beams) {
                if let Some(stop) = *stop {
                    let score = self.score(beam.sum, beam.length());
                    self.finished.push(Finished { score, beam: beam.clone(), stop });
                }
            }
            self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
            self.finished.truncate(beams);
        }
        let go_on = candidates.into_iter().map(|(stop, mut beam)| {
            beam.sum += if stop.is_some() { OUT } else { 0.0 };
            beam
        });
        self.running = go_on.collect();
        self.running.sort_by(|a, b| b.sum.total_cmp(&a.sum));
        self.running.truncate(beams);
        if let Some(worst) = self.finished.get(beams - 1) {
            let best = &self.running[0];
            self.can_improve &= self.score(best.sum, best.length()) > worst.score;
        }
        !self.can_improve || all_end
    }

    fn score(&self, sum: f32, length: usize) -> f32 {
        // The power as Python computes it, in f64.
        sum / (length as f64).powf(f64::from(self.length_penalty)) as f32
    }

    /// The running beams that may still become the best text.
    fn hopeful(&self) -> impl Iterator<Item = &Beam> {
        self.running.iter().filter(|beam| {
            // A sum only falls, so its score is highest where the length counts most for it.
            let length =
                if self.length_penalty > 0.0 { self.max_new_tokens } else { beam.length() };
            let bound = self.score(beam.sum, length);
            beam.sum > OUT / 2.0 && self.finished.first().is_none_or(|best| bound > best.score)
        })
    }

    /// A text that may become the best one, and how many of its tokens all such texts share.
    fn settled(&self) -> (&Beam, usize) {
        let finished = self.finished.first().map(|finished| &finished.beam);
        let goes_on = self.can_improve.then(|| self.hopeful()).into_iter().flatten();
        let mut texts = finished.into_iter().chain(goes_on);
        let Some(best) = texts.next() else { return (&self.running[0], 0) };
        let shared = texts.fold(best.length(), |shared, other| {
            let same = best.ids[1..].iter().zip(&other.ids[1..]);
            shared.min(same.take_while(|(a, b)| a == b).count())
        });
        (best, shared)
    }

    /// The finished texts; after an early stop also the ones that were on their way.
    fn into_sequences(mut self, count: usize) -> Vec<Sequence> {
        if self.finished.len() < count || self.can_improve {
            let asked = self.hopeful().map(|beam| Finished {
                score: self.score(beam.sum, beam.length()),
                beam: beam.clone(),
                stop: Stop::Asked,
            });
            let asked: Vec<_> = asked.collect();
            self.finished.extend(asked);
            self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        let sequence = |finished: Finished| Sequence {
            ids: finished.beam.ids[1..].to_vec(),
            log_probabilities: finished.beam.log_probabilities,
            score: Some(finished.score),
            stop: finished.stop,
        };
        self.finished.into_iter().take(count).map(sequence).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::uniform;

    const END: u32 = 1;
    const VOCABULARY: u32 = 7;

    /// The best continuations under a made-up model: the scores hang on the whole text.
    fn candidates(search: &Beams, seed: u32) -> Vec<(Option<Stop>, Beam)> {
        let mut all = Vec::new();
        for (row, beam) in search.running.iter().enumerate() {
            let text = beam.ids.iter().fold(seed, |hash, id| hash.wrapping_mul(31) ^ id);
            for id in 0..VOCABULARY {
                let next = beam.with(row, id, beam.sum + uniform(text, id, 0).max(1e-3).ln());
                let stop = (id == END).then_some(Stop::End);
                let full = next.length() >= search.max_new_tokens;
                all.push((stop.or(full.then_some(Stop::Length)), next));
            }
        }
        all.sort_by(|a, b| b.1.sum.total_cmp(&a.1.sum));
        all.truncate(2 * search.running.len());
        all
    }

    #[test]
    fn what_was_settled_stays() {
        let mut early = 0;
        for seed in 0..400 {
            let beams = 2 + (seed as usize % 4);
            let length_penalty = [-1.0, 0.0, 1.0, 2.0][seed as usize / 4 % 4];
            let mut search = Beams::new(0, beams, length_penalty, 12);
            let mut told: Vec<u32> = Vec::new();
            loop {
                let continuations = candidates(&search, seed);
                let done = search.advance(continuations);
                let (best, settled) = search.settled();
                assert!(best.ids[1..].starts_with(&told), "seed {seed}: {told:?} was told");
                assert!(settled >= told.len(), "seed {seed}");
                told = best.ids[1..=settled].to_vec();
                if done {
                    break;
                }
                early += usize::from(!told.is_empty());
            }
            let sequences = search.into_sequences(beams);
            assert_eq!(told, sequences[0].ids, "seed {seed}");
            assert_eq!(sequences.len(), beams);
            assert!(sequences.is_sorted_by(|a, b| a.score >= b.score));
            for sequence in sequences {
                assert_eq!(sequence.ids.last() == Some(&END), sequence.stop == Stop::End);
                let sum: f32 = sequence.log_probabilities.iter().sum();
                let length = (sequence.ids.len() as f32).powf(length_penalty);
                assert!((sequence.score.unwrap_or(f32::NAN) - sum / length).abs() < 1e-3);
            }
        }
        assert!(early > 400, "text is told before the end: {early}");
    }

    #[test]
    fn a_beam_remembers_where_its_past_lies() {
        let mut search = Beams::new(0, 2, 1.0, 9);
        let first = search.running[0].clone();
        // Both continuations of row 0; then the second of them wins over the first.
        search.advance(vec![(None, first.with(0, 5, -1.0)), (None, first.with(0, 6, -1.1))]);
        let [a, b] = &search.running[..] else { unreachable!() };
        let next = vec![(None, b.with(1, 7, -1.2)), (None, a.with(0, 8, -1.3))];
        search.advance(next);
        assert_eq!(
            (&search.running[0].ids, &search.running[0].rows),
            (&vec![0, 6, 7], &vec![0, 1])
        );
        assert_eq!(
            (&search.running[1].ids, &search.running[1].rows),
            (&vec![0, 5, 8], &vec![0, 0])
        );
    }
}
