//! The recorded decoder step: equal to the launched one token by token, and no dearer than promised.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use instructblip_web::checkpoint::Folder;
use instructblip_web::config::Settings;
use instructblip_web::generation::step::{Choice, Plan, Rules, Stepper, Told};
use instructblip_web::generation::{GenerationOptions, Generator};
use instructblip_web::image::PixelValues;
use instructblip_web::kernels::Warp;
use instructblip_web::meter::{self, Counts};
use instructblip_web::pace::Pace;
use instructblip_web::session::{AskOptions, Session};
use support::{QUESTION, context, pocket, random, root};

/// More than the cache has room for at first, where that is little.
const TOKENS: usize = 40;

/// What every step chose: ids and bits of log-probabilities, or the best continuations.
fn run(mut stepper: Stepper<'_>, plan: &Plan, vocabulary: usize) -> Vec<Vec<u32>> {
    let (rows, beams) = (plan.rows, matches!(plan.choice, Choice::Best(_)));
    let mut texts = vec![0; 2 * rows];
    let mut lineage: Vec<Vec<u32>> = vec![Vec::new(); rows];
    let mut all = Vec::new();
    for position in 0..TOKENS {
        // Every text comes from another's row, as beams do.
        for (row, past) in lineage.iter_mut().enumerate() {
            past.push(((row + position) % rows) as u32);
        }
        let numbers: Vec<u32> =
            (0..rows).map(|row| (0.1 + 0.07 * (row + position) as f32 % 0.9).to_bits()).collect();
        let told = Told {
            texts: beams.then_some(&texts[..]),
            lineage: Some(&lineage),
            bans: Some(&[position as u32]),
            numbers: Some(&numbers),
        };
        let chosen = pollster::block_on(stepper.run(position, told)).unwrap();
        let words = pollster::block_on(chosen.words()).unwrap();
        if beams {
            let best = words.chunks(2).map(|pair| pair[0] % vocabulary as u32).take(rows);
            texts.extend(best.chain(vec![0; rows]));
        }
        all.push(words);
    }
    all
}

#[test]
fn a_replayed_step_is_the_launched_one_to_the_bit() {
    let session = random();
    let (language, context) = (session.model().unwrap().language(), context(&session));
    let warp = Warp { temperature: 0.9, top_k: 50, top_p: 0.95 };
    let rules = Some(Rules { normalize: true, penalty: 1.5, bans: 2 });
    for (rows, choice, rules) in [
        (1, Choice::Greedy, None),
        (1, Choice::Greedy, Some(Rules { normalize: false, penalty: 1.3, bans: 1 })),
        (3, Choice::Greedy, None),
        (2, Choice::Draw(warp), None),
        (1, Choice::Best(2), rules),
        (5, Choice::Best(10), rules),
    ] {
        let plan = Plan { rows, tokens: TOKENS, choice, rules };
        let vocabulary = language.vocab_size();
        let replayed = Stepper::new(language, &context, plan).unwrap();
        assert!(replayed.replays());
        let launched = Stepper::launching(language, &context, plan).unwrap();
        assert!(!launched.replays());
        let (replayed, launched) =
            (run(replayed, &plan, vocabulary), run(launched, &plan, vocabulary));
        for (position, (a, b)) in replayed.iter().zip(&launched).enumerate() {
            assert_eq!(a, b, "{plan:?}, position {position}");
        }
        assert!(replayed.windows(2).any(|pair| pair[0] != pair[1]), "{plan:?} says one thing");
    }
}

/// Counts of the steps after the first, which records, of a text that does not end.
fn counts(session: &Session, options: &GenerationOptions) -> (usize, Counts) {
    let generator = Generator {
        model: session.model().unwrap().language(),
        options,
        decode: &|ids| session.tokenizers().decode(ids),
        pace: &Pace::default(),
    };
    let mut go_on = |_| Ok(std::ops::ControlFlow::Continue(()));
    let generated = pollster::block_on(generator.run(&context(session), &mut go_on)).unwrap();
    let (steps, _, counts) = generated.clock.later_steps().unwrap();
    (steps, counts)
}

#[test]
fn a_token_costs_what_was_promised() {
    for (session, model) in [(pocket(), "www/pocket"), (random(), "tests/fixtures/random/model")] {
        let endless = GenerationOptions::greedy(TOKENS, vec![u32::MAX]);
        let (steps, counts) = counts(&session, &endless);
        let (steps, layers) = (steps as u64, session.config().text_config.decoder_layers() as u64);
        assert_eq!(steps, TOKENS as u64 - 1);
        assert!(counts.dispatches <= steps * (9 * layers + 3), "{model}: {counts:?}");
        assert_eq!(counts.submits, steps, "{model}: one submit a token");
        assert_eq!(counts.waits, 0, "{model}: no read on the critical path");
        assert_eq!(counts.buffers, 0, "{model}: no buffer is made while decoding");
        assert_eq!(counts.bytes_read, steps * 8, "{model}: an id and its log-probability");
        if model != "www/pocket" {
            continue; // a checkpoint's bf16 becomes f32 on the device
        }
        let floor = steps * weight_bytes(model);
        assert!(counts.weight_bytes >= floor, "{model}: {} of {floor}", counts.weight_bytes);
        assert!(counts.weight_bytes as f64 <= 1.02 * floor as f64, "{model}: {counts:?}");
    }
}

/// Bytes of the matrices that a token needs: the decoder's but for cross-attention's keys and
/// values, which a question computes once, the output head, and a row of the embeddings.
fn weight_bytes(model: &str) -> u64 {
    let folder = Folder::open(root().join(model)).unwrap();
    let needed = |name: &str| {
        let block = name.starts_with("language_model.decoder.block.")
            && !name.contains("layer_norm")
            && !name.contains("relative_attention_bias")
            && !name.contains("EncDecAttention.k")
            && !name.contains("EncDecAttention.v");
        block || name.starts_with("language_model.lm_head.")
    };
    let bytes = |needed: &dyn Fn(&str) -> bool| -> u64 {
        let tensors = folder.tensors().filter(|tensor| needed(tensor.name));
        tensors.map(|tensor| tensor.byte_len() as u64).sum()
    };
    let table = bytes(&|name| name.starts_with("language_model.shared."));
    let config: serde_json::Value = serde_json::from_slice(&folder.config().unwrap()).unwrap();
    bytes(&needed) + table / config["text_config"]["vocab_size"].as_u64().unwrap()
}

#[test]
fn rules_and_beams_stay_within_a_submit() {
    let session = random();
    let plain = || Settings { max_new_tokens: TOKENS, ..Settings::default() };
    let layers = session.config().text_config.decoder_layers() as u64;
    for (settings, more, waits) in [
        // The scores are processed in a kernel of their own.
        (Settings { repetition_penalty: 1.5, ..plain() }, 1, false),
        // A run that may not come again is found by the host.
        (Settings { no_repeat_ngram_size: 3, ..plain() }, 1, true),
        // So are the beams that go on; their best are found in two kernels.
        (Settings { num_beams: 4, ..plain() }, 2, true),
    ] {
        let options = GenerationOptions { settings, ends: vec![u32::MAX] };
        let (steps, counts) = counts(&session, &options);
        let steps = steps as u64;
        assert!(counts.dispatches <= steps * (9 * layers + 3 + more), "{options:?}: {counts:?}");
        assert_eq!(counts.submits, steps, "{options:?}");
        assert_eq!(counts.buffers, 0, "{options:?}");
        assert_eq!(counts.waits > 0, waits, "{options:?}: {counts:?}");
    }
}

#[test]
fn a_second_question_does_not_look_again() {
    let mut session = pocket();
    let pace = Pace::default();
    // What a question takes before its first token, without the picture.
    let counted = |work: &dyn Fn()| {
        let before = meter::counts();
        work();
        (meter::counts() - before).dispatches
    };
    let pixels = PixelValues::blank(session.config().vision_config.image_size());
    let seeing = counted(&|| {
        let see = session.model().unwrap().see(&pixels, session.device(), &pace);
        pollster::block_on(see).unwrap();
    });
    let all = counted(&|| drop(context(&session)));
    let step = 9 * session.config().text_config.decoder_layers() as u64 + 3;
    assert!(seeing > 0);

    for _ in 0..2 {
        let before = meter::counts();
        let options = AskOptions { max_new_tokens: Some(4), ..AskOptions::default() };
        let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
        let answer = pollster::block_on(session.ask(QUESTION, &options, &pace, go_on)).unwrap();
        // The table of the relative bias is made once for the answer.
        let decoding = (meter::counts() - before).dispatches - (all - seeing) - 1;
        // One step may run on when the text has ended.
        let steps = answer.statistics.steps as u64;
        assert!(decoding == steps * step || decoding == (steps + 1) * step, "{decoding}");
    }
    let picture = std::fs::read(root().join(support::PICTURE)).unwrap();
    let before = meter::counts();
    pollster::block_on(session.set_picture(&picture, &pace)).unwrap();
    assert_eq!(meter::counts(), before, "the same picture is found by its digest");
}
