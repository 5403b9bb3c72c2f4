//! Generated ids, beams' scores and candidates' likelihoods against a golden's.

use super::{Golden, Report, StageReport, compare};
use crate::config::Settings;
use crate::error::Result;
use crate::generation::rank::log_likelihoods;
use crate::generation::{GenerationOptions, Generator, Sequence};
use crate::models::language::Context;
use crate::pace::Pace;
use crate::session::Session;

/// Largest difference of a beam's score or a candidate's log-likelihood: sums of at most some
/// tens of log-probabilities, whose own differences are near 1e-5.
pub const SCORE_TOLERANCE: f64 = 1e-3;
/// `max_new_tokens` of goldens whose metadata does not say.
const MAX_NEW_TOKENS: usize = 24;

impl Report {
    /// Decodes from a prompt that was read in every way the golden has an answer for.
    pub(super) async fn generation(
        &mut self,
        session: &Session,
        golden: &Golden,
        context: &Context,
    ) -> Result<()> {
        let max_new_tokens = match golden.header.metadata.get("max_new_tokens") {
            Some(number) => {
                number.parse().map_err(|_| golden.error(format!("max_new_tokens is {number:?}")))?
            }
            None => MAX_NEW_TOKENS,
        };
        let ends = session.config().text_config.ends();
        let of = |settings| GenerationOptions { settings, ends: ends.clone() };
        let greedy = Settings { max_new_tokens, min_length: 1, ..Settings::default() };
        let penalised = Settings { repetition_penalty: 1.5, ..greedy.clone() };
        let ngrams = Settings { no_repeat_ngram_size: 2, min_length: 8, ..greedy.clone() };
        let beams = Settings { num_beams: 5, num_return_sequences: 5, ..penalised.clone() };
        let short =
            Settings { num_beams: 5, length_penalty: -1.0, max_new_tokens: 10, ..greedy.clone() };
        let [greedy, penalised, ngrams, beams, short] =
            [greedy, penalised, ngrams, beams, short].map(of);
        self.generate("greedy_ids", None, session, golden, context, &greedy).await?;
        self.generate("greedy_rp15_ids", None, session, golden, context, &penalised).await?;
        self.generate("greedy_ngram2_ids", None, session, golden, context, &ngrams).await?;
        let scores = Some("beam5_scores");
        self.generate("beam5_all_ids", scores, session, golden, context, &beams).await?;
        let scores = Some("beam5_lpneg1_scores");
        self.generate("beam5_lpneg1_ids", scores, session, golden, context, &short).await?;
        self.rank(session, golden, context).await
    }

    /// One way of decoding; `ids` are one row for each returned text.
    async fn generate(
        &mut self,
        ids: &'static str,
        scores: Option<&'static str>,
        session: &Session,
        golden: &Golden,
        context: &Context,
        options: &GenerationOptions,
    ) -> Result<()> {
        if !golden.has(ids) {
            return Ok(());
        }
        let generator = Generator {
            model: session.model()?.language(),
            options,
            decode: &|ids| session.tokenizers().decode(ids),
            pace: &Pace::default(),
        };
        let ignore = &mut |_| Ok(std::ops::ControlFlow::Continue(()));
        let sequences = generator.run(context, ignore).await?.sequences;

        let texts = (context.first(), &options.ends[..]);
        self.push_sequences(ids, &sequences, golden, texts)?;
        if golden.has("beam5_ids") && ids == "beam5_all_ids" {
            self.push_sequences("beam5_ids", &sequences[..1], golden, texts)?;
        }
        if let Some(name) = scores {
            let found: Vec<f32> = sequences.iter().filter_map(|s| s.score).collect();
            self.push_scores(name, &found, golden)?;
        }
        Ok(())
    }

    fn push_sequences(
        &mut self,
        name: &'static str,
        sequences: &[Sequence],
        golden: &Golden,
        (first, ends): (u32, &[u32]),
    ) -> Result<()> {
        let expected = golden.ids(name)?;
        let rows = expected.chunks(expected.len().div_ceil(sequences.len()).max(1));
        let expected = rows.flat_map(|row| unpadded(row, ends)).copied().collect();
        let start = [first];
        let found = sequences.iter().flat_map(|s| start.iter().chain(&s.ids)).copied().collect();
        self.push_ids(name, expected, found);
        Ok(())
    }

    async fn rank(&mut self, session: &Session, golden: &Golden, context: &Context) -> Result<()> {
        const NAME: &str = "rank_log_likelihoods";
        if !golden.has(NAME) {
            return Ok(());
        }
        let candidates = golden.header.metadata.get("rank_candidates");
        let candidates = candidates.and_then(|json| serde_json::from_str::<Vec<String>>(json).ok());
        let candidates = candidates
            .ok_or_else(|| golden.error("its metadata has no list rank_candidates".into()))?;
        let ids =
            candidates.iter().map(|text| Ok(session.tokenizers().encode_any(text)?.language.0));
        let ids = ids.collect::<Result<Vec<_>>>()?;
        let model = session.model()?.language();
        let found = log_likelihoods(model, context, &ids, &Pace::default()).await?;
        self.push_scores(NAME, &found, golden)
    }

    fn push_scores(&mut self, name: &'static str, found: &[f32], golden: &Golden) -> Result<()> {
        let (expected, _) = golden.floats(name)?;
        let stage = compare(name, found, &expected, f64::INFINITY);
        let ok = stage.ok && stage.max_absolute <= SCORE_TOLERANCE;
        self.push_stage(StageReport { ok, ..stage });
        Ok(())
    }
}

/// A row up to its end token; several rows are padded to the length of the longest.
fn unpadded<'a>(row: &'a [u32], ends: &[u32]) -> &'a [u32] {
    let end = row.iter().skip(1).position(|id| ends.contains(id));
    end.map_or(row, |end| &row[..end + 2])
}
