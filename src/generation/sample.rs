//! One token a step for each text, the most likely one or drawn.
//!
//! Reference: `GenerationMixin._sample` of transformers. Several texts are rows of one batch that
//! draw independently. The next step reads the tokens where the choice wrote them; the host only
//! watches.

use std::collections::VecDeque;

use super::processors::{bans, rules};
use super::step::{Choice, Chosen, Plan, Stepper, Told};
use super::{Clock, Generated, Generator, OnToken, Sequence, Stop, Token};
use crate::error::{Error, Result};
use crate::meter::{self, Counts};
use crate::models::language::Context;
use crate::random::uniform;

/// A text in the making.
struct Draft {
    /// With the start token.
    ids: Vec<u32>,
    log_probabilities: Vec<f32>,
    stop: Option<Stop>,
}

pub(super) async fn sample(
    generator: &Generator<'_>,
    context: &Context,
    on_token: &mut OnToken<'_>,
) -> Result<Generated> {
    let options = generator.options;
    let settings = &options.settings;
    let sampling = options.sampling();
    let rows = settings.num_return_sequences;
    let start = || Draft { ids: vec![context.first()], log_probabilities: Vec::new(), stop: None };
    let mut drafts: Vec<Draft> = (0..rows).map(|_| start()).collect();
    let vocab_size = generator.model.vocab_size();
    let plan = Plan {
        rows,
        tokens: settings.max_new_tokens,
        choice: sampling.map_or(Choice::Greedy, |sampling| Choice::Draw(sampling.warp)),
        rules: rules(options, rows),
    };
    let mut stepper = Stepper::new(generator.model, context, plan)?;
    // One step runs while the one before it is read, unless what it chose decides about the next.
    let ahead = usize::from(settings.no_repeat_ngram_size == 0);
    let mut running: VecDeque<(Chosen, Counts)> = VecDeque::new();
    let (mut position, mut clock) = (0, Clock::default());
    loop {
        while running.len() <= ahead && position < settings.max_new_tokens {
            let texts = drafts.iter().map(|draft| draft.ids.as_slice());
            let bans = bans(options, texts, position + 1, vocab_size);
            let draws = sampling.map(|sampling| {
                let draw = |row| uniform(sampling.seed, row, position as u32).to_bits();
                (0..rows as u32).map(draw).collect::<Vec<_>>()
            });
            let told = Told {
                bans: plan.rules.map(|_| bans.as_slice()),
                numbers: draws.as_deref(),
                ..Told::default()
            };
            let chosen = stepper.run(position, told).await?;
            running.push_back((chosen, meter::counts()));
            position += 1;
        }
        let Some((chosen, counts)) = running.pop_front() else { break };
        if running.is_empty() && clock.steps + 1 < settings.max_new_tokens {
            meter::waited();
        }
        let words = chosen.words().await?;
        clock.tick(counts);
        let Some((ids, log_probabilities)) = words.split_at_checked(rows) else {
            return Err(Error::Internal { reason: "too few tokens were read".into() });
        };

        // A text that has ended goes on beside the others, unheard.
        let mut asked = false;
        for (row, (draft, (id, bits))) in
            drafts.iter_mut().zip(ids.iter().zip(log_probabilities)).enumerate()
        {
            draft.ids.push(*id);
            if draft.stop.is_some() {
                continue;
            }
            let log_probability = f32::from_bits(*bits);
            draft.log_probabilities.push(log_probability);
            draft.stop = generator.stop(&draft.ids[1..])?;
            if row == 0 {
                let token = Token { id: *id, log_probability, last: draft.stop.is_some() };
                asked = on_token(token)?.is_break();
            }
        }
        asked |= generator.pace.check().is_err();
        if asked || drafts.iter().all(|draft| draft.stop.is_some()) {
            break;
        }
    }
    let finish = |mut draft: Draft| {
        draft.ids.remove(0);
        draft.ids.truncate(draft.log_probabilities.len());
        Sequence {
            ids: draft.ids,
            log_probabilities: draft.log_probabilities,
            score: None,
            stop: draft.stop.unwrap_or(Stop::Asked),
        }
    };
    Ok(Generated { sequences: drafts.into_iter().map(finish).collect(), clock })
}
