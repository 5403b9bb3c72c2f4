//! Ways of answering beyond the goldens of `verify.rs`: the distribution of draws, what is
//! streamed, why answers end, what a token costs, ranking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;

use burn::tensor::{Tensor, TensorData};
use instructblip_web::generation::{Stop, rank};
use instructblip_web::kernels::{self, TokenHistory, Warp, words_tensor};
use instructblip_web::pace::Pace;
use instructblip_web::random::uniform;
use instructblip_web::session::{Answer, AskOptions, RankOptions, Session, TokenEvent};
use instructblip_web::{Error, readback};
use safetensors::SafeTensors;
use serde_json::Value;
use support::{QUESTION, context, gpu, pocket, random, root};

fn ask(session: &mut Session, question: &str, options: &AskOptions) -> (Answer, Vec<TokenEvent>) {
    let mut events = Vec::new();
    let pace = Pace::default();
    let on_token = &mut |token: &TokenEvent| {
        events.push(token.clone());
        ControlFlow::Continue(())
    };
    let answer = pollster::block_on(session.ask(question, options, &pace, on_token)).unwrap();
    (answer, events)
}

/// Over 10,000 draws the first token has the reference's distribution: chi-square, p > 0.001.
#[test]
fn draws_follow_the_reference_s_probabilities() {
    let bytes = std::fs::read(root().join("tests/fixtures/random/checkpoint.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let warps = &metadata.metadata().as_ref().unwrap()["sample_warps"];
    let warps: Vec<Value> = serde_json::from_str(warps).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        let (values, _) = golden.tensor(name).unwrap().data().as_chunks::<4>();
        values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let (logits, probabilities) = (floats("decoder_step0_logits"), floats("sample_probabilities"));
    let width = logits.len();
    assert_eq!(probabilities.len(), warps.len() * width);

    let rows = 1000;
    let data = TensorData::new(logits.repeat(rows), [rows, width]);
    let logits: Tensor<2> = Tensor::from_data(data, &gpu());
    for (warp, expected) in warps.iter().zip(probabilities.chunks(width)) {
        let number = |name: &str| warp[name].as_f64().unwrap() as f32;
        let warp = Warp {
            temperature: number("temperature"),
            top_k: number("top_k") as usize,
            top_p: number("top_p"),
        };
        let mut counts = vec![0u32; width];
        for step in 0..10 {
            let draws = (0..rows as u32).map(|row| uniform(1, row, step).to_bits()).collect();
            let draws = words_tensor(draws, &gpu());
            let second = TokenHistory::line(1, rows);
            let history = TokenHistory::new(words_tensor(vec![0; second.end], &gpu()), rows);
            let first = words_tensor(vec![0], &gpu());
            let history = kernels::sample(&logits, &draws, warp, history, &first);
            let words = pollster::block_on(readback::words(history.words())).unwrap();
            let words = &words[second];
            for (id, bits) in words[..rows].iter().zip(&words[rows..]) {
                counts[*id as usize] += 1;
                let reference = expected[*id as usize].ln();
                assert!((f32::from_bits(*bits) - reference).abs() < 1e-4, "{warp:?}: token {id}");
            }
        }
        assert_eq!(counts.iter().sum::<u32>(), 10_000);
        let (statistic, freedom) = chi_square(&counts, expected);
        let limit = chi_square_limit(freedom);
        assert!(statistic < limit, "{warp:?}: chi-square {statistic} of {freedom}, limit {limit}");
    }
}

/// The statistic and its degrees of freedom; rare tokens share a cell.
fn chi_square(counts: &[u32], probabilities: &[f32]) -> (f64, f64) {
    let total = f64::from(counts.iter().sum::<u32>());
    let (mut cells, mut rare) = (Vec::new(), (0.0, 0.0));
    for (count, probability) in counts.iter().zip(probabilities) {
        let (count, expected) = (f64::from(*count), f64::from(*probability) * total);
        if expected < 5.0 {
            rare = (rare.0 + count, rare.1 + expected);
        } else {
            cells.push((count, expected));
        }
    }
    if rare.1 > 0.0 {
        cells.push(rare);
    }
    let statistic = cells.iter().map(|(count, expected)| (count - expected).powi(2) / expected);
    (statistic.sum(), cells.len() as f64 - 1.0)
}

/// The value that chi-square exceeds with probability 0.001 (Wilson and Hilferty).
fn chi_square_limit(freedom: f64) -> f64 {
    let part = 2.0 / (9.0 * freedom);
    freedom * (1.0 - part + 3.0902 * part.sqrt()).powi(3)
}

#[test]
fn the_same_seed_gives_the_same_answers() {
    let mut session = pocket();
    let asked = |seed| AskOptions {
        do_sample: Some(true),
        temperature: Some(2.0),
        num_return_sequences: Some(4),
        max_new_tokens: Some(20),
        seed: Some(seed),
        ..AskOptions::default()
    };
    let mut texts = |seed| -> Vec<String> {
        let (answer, _) = ask(&mut session, QUESTION, &asked(seed));
        assert_eq!(answer.seed, Some(seed));
        answer.candidates.into_iter().map(|candidate| candidate.text).collect()
    };
    let first = texts(7);
    assert_eq!(first.len(), 4);
    assert!(first.iter().any(|text| *text != first[0]), "they are drawn independently: {first:?}");
    assert_eq!(texts(7), first);
    assert_ne!(texts(8), first);
    // Without a seed there is a new one, which the answer names and which repeats it.
    let unseeded = AskOptions { seed: None, ..asked(0) };
    let (answer, _) = ask(&mut session, QUESTION, &unseeded);
    let again = AskOptions { seed: answer.seed, ..unseeded };
    assert_eq!(ask(&mut session, QUESTION, &again).0.text, answer.text);
}

/// Whatever the way of decoding, the pieces told while it runs are the answer.
#[test]
fn what_is_streamed_is_the_answer() {
    let none = AskOptions::default;
    let beams = |num_beams, length_penalty| AskOptions {
        num_beams: Some(num_beams),
        length_penalty: Some(length_penalty),
        ..none()
    };
    let ways = [
        none(),
        beams(2, 1.0),
        beams(5, -1.0),
        // More rows than the matrix-vector kernel takes.
        beams(10, 2.0),
        AskOptions { repetition_penalty: Some(1.5), ..beams(5, 0.0) },
        AskOptions { num_return_sequences: Some(3), min_length: Some(12), ..beams(3, 1.0) },
        AskOptions { do_sample: Some(true), seed: Some(3), top_p: Some(0.9), ..none() },
        AskOptions { no_repeat_ngram_size: Some(2), max_new_tokens: Some(9), ..none() },
        AskOptions { max_new_tokens: Some(9), ..beams(4, 1.0) },
    ];
    // The trained model ends its answers, the random one runs into the limit.
    for (mut session, limit) in [(pocket(), 24), (random(), 12)] {
        for options in &ways {
            let options = AskOptions {
                max_new_tokens: options.max_new_tokens.or(Some(limit)),
                ..options.clone()
            };
            for question in [QUESTION, "What color is the triangle?"] {
                let (answer, events) = ask(&mut session, question, &options);
                let what = format!("{question} {options:?}");
                let told: String = events.iter().map(|event| event.text.as_str()).collect();
                assert_eq!(told, answer.text, "{what}");
                let ids: Vec<u32> = events.iter().map(|event| event.id).collect();
                assert_eq!(ids, answer.ids, "{what}");
                assert!(events.iter().all(|event| event.log_probability < 1e-4), "{what}");
                assert_eq!(answer.candidates.len(), options.num_return_sequences.unwrap_or(1));
                let sum: f32 = events.iter().map(|event| event.log_probability).sum();
                assert!((sum - answer.candidates[0].log_probability).abs() < 1e-3, "{what}");
                if let Some(score) = answer.score {
                    let length = answer.ids.len() as f32;
                    let scaled = score * length.powf(options.length_penalty.unwrap());
                    assert!((scaled - sum).abs() < 1e-2, "{what}: {scaled} is not {sum}");
                    assert!(answer.candidates.is_sorted_by(|a, b| a.score >= b.score), "{what}");
                }
                let length = answer.ids.len() == options.max_new_tokens.unwrap();
                assert!(length || answer.stop_reason == Stop::End, "{what}");
            }
        }
    }
}

/// The cache grows past its first room, and beams find their past in other beams' rows: what was
/// decoded step by step has the likelihood that all its tokens together have without a cache.
#[test]
fn long_texts_have_the_likelihood_of_teacher_forcing() {
    let mut session = random();
    for num_beams in [1, 3] {
        let options = AskOptions {
            num_beams: Some(num_beams),
            max_new_tokens: Some(80),
            min_length: Some(80),
            ..AskOptions::default()
        };
        let (answer, _) = ask(&mut session, QUESTION, &options);
        assert_eq!(answer.ids.len(), 80);
        let context = context(&session);
        let model = session.model().unwrap().language();
        let ids = [answer.ids.clone()];
        let pace = Pace::default();
        let likelihood = rank::log_likelihoods(model, &context, &ids, &pace);
        let likelihood = pollster::block_on(likelihood).unwrap()[0];
        // The sums run to a hundred. Greedy log-probabilities leave out the end token, which
        // min_length forbids; beams keep it in the normalisation.
        let ours = answer.candidates[0].log_probability;
        let tolerance = if num_beams == 1 { 0.2 } else { 2e-3 };
        assert!((ours - likelihood).abs() < tolerance, "{num_beams}: {ours}, {likelihood}");
    }
}

#[test]
fn a_stop_string_ends_the_answer_and_stays_in_it() {
    let mut session = pocket();
    for num_beams in [1, 3] {
        let options = AskOptions { num_beams: Some(num_beams), ..AskOptions::default() };
        let (whole, _) = ask(&mut session, QUESTION, &options);
        let words: Vec<&str> = whole.text.split(' ').collect();
        assert!(words.len() > 4, "{}", whole.text);
        let stop = format!("{} {}", words[2], words[3]);
        let options = AskOptions { stop_strings: vec!["never".into(), stop.clone()], ..options };
        let (cut, events) = ask(&mut session, QUESTION, &options);
        assert_eq!(cut.stop_reason, Stop::StopString, "{}", cut.text);
        assert!(cut.text.contains(&stop) && !cut.stopped, "{}", cut.text);
        assert!(cut.ids.len() < whole.ids.len());
        if num_beams == 1 {
            assert!(whole.text.starts_with(&cut.text), "{} / {}", whole.text, cut.text);
        }
        let told: String = events.iter().map(|event| event.text.as_str()).collect();
        assert_eq!(told, cut.text);
    }
}

/// By the listener, or by a signal that the listener knows nothing of.
#[test]
fn an_answer_can_be_stopped_on_the_way() {
    let session = random();
    for (num_beams, by_signal) in [(1, false), (4, false), (1, true), (4, true)] {
        let options = AskOptions {
            num_beams: Some(num_beams),
            max_new_tokens: Some(60),
            min_length: Some(60),
            ..AskOptions::default()
        };
        let signal = Rc::new(Cell::new(false));
        let heard = Rc::clone(&signal);
        let pace = Pace::new(move || heard.get());
        let mut told = Vec::new();
        let on_token = &mut |token: &TokenEvent| {
            told.push(token.id);
            let enough = told.len() >= 2;
            signal.set(enough && by_signal);
            if enough && !by_signal { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let answer = session.ask(QUESTION, &options, &pace, on_token);
        let answer = pollster::block_on(answer).unwrap();
        assert!(answer.stopped && answer.ids.len() < 60);
        assert_eq!(answer.stop_reason, Stop::Asked);
        assert_eq!(answer.ids[..told.len()], told, "what was told stands");
    }
}

/// A step reads back its tokens, or two candidates a beam: an id and a value each.
#[test]
fn no_logits_are_read_back() {
    let mut session = random();
    let none = || AskOptions {
        max_new_tokens: Some(20),
        min_length: Some(20),
        repetition_penalty: Some(1.2),
        ..AskOptions::default()
    };
    for (options, bytes) in [
        (none(), 8.0),
        (AskOptions { num_beams: Some(5), ..none() }, 80.0),
        (AskOptions { do_sample: Some(true), top_k: Some(0), ..none() }, 8.0),
        (AskOptions { do_sample: Some(true), num_return_sequences: Some(3), ..none() }, 24.0),
    ] {
        let (answer, _) = ask(&mut session, QUESTION, &options);
        let statistics = &answer.statistics;
        assert_eq!((statistics.steps, statistics.tokens), (20, 20));
        assert_eq!(statistics.readback_bytes_per_token, bytes, "{options:?}");
        assert!(statistics.submits_per_token <= 4.0, "{statistics:?}");
    }
}

#[test]
fn a_probability_is_the_mean_over_the_streamed_tokens() {
    let mut session = pocket();
    for num_beams in [1, 3] {
        let options = AskOptions { num_beams: Some(num_beams), ..AskOptions::default() };
        let (answer, tokens) = ask(&mut session, QUESTION, &options);
        let sum: f32 = tokens.iter().map(|token| token.log_probability).sum();
        let mean = (sum / tokens.len() as f32).exp();
        assert!((answer.probability - mean).abs() < 1e-5, "{} is not {mean}", answer.probability);
        assert!(mean > 0.5 && mean <= 1.0);
        assert_eq!(answer.candidates[0].probability, answer.probability);
        // Of greedy decoding and plain beams it is the model's own: that of ranking the text.
        let (text, rank, pace) = ([answer.text], RankOptions::default(), Pace::default());
        let ranked = session.rank(QUESTION, &text, &rank, &pace);
        let ranked = pollster::block_on(ranked).unwrap()[0].log_likelihood;
        assert!((ranked - sum).abs() < 1e-3, "{ranked} is not {sum}");
    }
}

#[test]
fn candidates_are_ranked_alike_together_and_alone() {
    let mut session = pocket();
    let long = ["there", "is", "a", "red", "circle"].repeat(15).join(" ");
    let mut candidates: Vec<String> =
        ["red", "green", "yellow", "a blue square", "red"].into_iter().map(String::from).collect();
    // Long ones, so that not all fit one batch.
    candidates.extend((1..8).map(|n| long[..40 * n].to_owned()));
    let rank = |session: &mut Session, candidates: &[String], prior: Option<Vec<f32>>| {
        let options = RankOptions { prior, ..RankOptions::default() };
        let pace = Pace::default();
        pollster::block_on(session.rank(QUESTION, candidates, &options, &pace))
    };
    let ranked = rank(&mut session, &candidates, None).unwrap();
    assert_eq!(ranked.len(), candidates.len());
    assert!((ranked.iter().map(|place| place.probability).sum::<f32>() - 1.0).abs() < 1e-5);
    assert!(ranked.is_sorted_by(|a, b| a.log_likelihood >= b.log_likelihood));
    for place in &ranked {
        let text = &candidates[place.index];
        assert_eq!(place.text, *text);
        let alone = rank(&mut session, std::slice::from_ref(text), None).unwrap();
        assert!((alone[0].log_likelihood - place.log_likelihood).abs() < 1e-3, "{text}");
        assert_eq!(alone[0].probability, 1.0);
    }
    let place_of = |index| ranked.iter().position(|place| place.index == index).unwrap();
    assert!(place_of(0) < place_of(4), "of equals the first given is first");

    // A prior multiplies: 99 to 1 shifts the odds by that much.
    let pair = &candidates[..2];
    let mut odds = |prior| {
        let mut places = rank(&mut session, pair, prior).unwrap();
        places.sort_by_key(|place| place.index);
        f64::from(places[1].probability) / f64::from(places[0].probability)
    };
    let (plain, shifted) = (odds(None), odds(Some(vec![1.0, 99.0])));
    assert!((shifted / plain / 99.0 - 1.0).abs() < 1e-3, "{plain} {shifted}");

    for (candidates, prior) in [
        (vec![], None),
        (vec![" ".to_owned()], None),
        (pair.to_vec(), Some(vec![1.0])),
        (pair.to_vec(), Some(vec![1.0, 0.0])),
    ] {
        let error = rank(&mut session, &candidates, prior).unwrap_err();
        assert!(matches!(error, Error::OptionInvalid { .. }), "{error}");
    }
}

/// The reference's own scores of a text, whose padding and batching are not ours.
#[test]
fn padding_of_candidates_adds_nothing() {
    let session = random();
    let (model, context) = (session.model().unwrap().language(), context(&session));
    let logits = |ids: &[u32], rows| {
        let logits = model.score(&context, &words_tensor(ids.to_vec(), &gpu()), rows);
        pollster::block_on(readback::floats(&logits)).unwrap()
    };
    let (short, padded) = (logits(&[0, 5, 9], 1), logits(&[0, 5, 9, 0, 0, 7, 7, 7, 7, 7], 2));
    for (a, b) in short.iter().zip(&padded) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
}
