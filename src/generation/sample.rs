//! One token a step for each text, the most likely one or drawn.
//!
//! Reference: `GenerationMixin._sample` of transformers. Several texts are rows of one batch that
//! draw independently. The next step reads the tokens where the choice wrote them; the host only
//! watches.

use burn::tensor::Device;

use super::processors::Processors;
use super::random::uniform;
use super::{Clock, Generated, Generator, OnToken, Sequence, Stop, Token};
use crate::error::{Error, Result};
use crate::kernels::launch::head;
use crate::kernels::{self, argmax, floats_tensor, words_tensor};
use crate::models::t5::CrossKeys;
use crate::readback;

/// A text in the making.
struct Draft {
    /// With the start token.
    ids: Vec<u32>,
    log_probabilities: Vec<f32>,
    stop: Option<Stop>,
}

pub(super) async fn sample(
    generator: &Generator<'_>,
    cross: &CrossKeys,
    device: &Device,
    on_token: &mut OnToken<'_>,
) -> Result<Generated> {
    let options = generator.options;
    let rows = options.num_return_sequences;
    let start = || Draft { ids: vec![options.start], log_probabilities: Vec::new(), stop: None };
    let mut drafts: Vec<Draft> = (0..rows).map(|_| start()).collect();
    let mut state = generator.model.start(cross, rows);
    let mut tokens = words_tensor(vec![options.start; rows], device);
    let vocab_size = generator.model.vocab_size();
    let mut clock = Clock::default();
    for step in 0u32.. {
        let texts = drafts.iter().map(|draft| draft.ids.as_slice());
        let processors = Processors::new(options, texts, vocab_size, device);
        let draws = options.sampling.map(|sampling| {
            let draws: Vec<f32> =
                (0..rows as u32).map(|row| uniform(sampling.seed, row, step)).collect();
            (floats_tensor(draws, device), sampling.warp)
        });
        let logits = processors.apply(generator.model.step(&tokens, None, &mut state));
        let chosen = match &draws {
            Some((draws, warp)) => kernels::sample(&logits, draws, *warp),
            None => argmax(&logits),
        };
        tokens = head(&chosen, rows);
        let words = readback::words(&chosen).await?;
        clock.tick();
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
