//! A Q-Former that reads no question: its queries look at the picture alone.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData};
use instructblip_web::models::unheard;
use instructblip_web::pace::Pace;
use instructblip_web::session::{AskOptions, AttentionOptions, RankOptions, Session};
use instructblip_web::{Result, readback};
use pollster::block_on;
use safetensors::SafeTensors;
use support::{QUESTION, gpu, random, root, session};

const OTHER: &str = "Where is the small square?";

fn ask(session: &Session, question: &str, instruction_aware: Option<bool>) -> Result<Vec<u32>> {
    let (mut on_token, pace) = (|_: &_| ControlFlow::Continue(()), Pace::default());
    let options =
        AskOptions { instruction_aware, max_new_tokens: Some(12), ..AskOptions::default() };
    Ok(block_on(session.ask(question, &options, &pace, &mut on_token))?.ids)
}

fn likelihood(session: &Session, instruction_aware: Option<bool>) -> Result<f32> {
    let options = RankOptions { instruction_aware, ..RankOptions::default() };
    let (candidates, pace) = (["red".to_owned()], Pace::default());
    let ranked = block_on(session.rank(QUESTION, &candidates, &options, &pace))?;
    Ok(ranked[0].log_likelihood)
}

/// Where it looks for a question.
fn map(session: &Session, question: &str, instruction_aware: Option<bool>) -> Result<Vec<f32>> {
    let options = AttentionOptions { instruction_aware, ..AttentionOptions::default() };
    let mut maps = block_on(session.attention(question, &options, &Pace::default()))?;
    Ok(maps.pictures.remove(0).average)
}

/// `tools/make_without_instruction.py` computes it in 64 bits, from the golden's picture.
#[test]
fn the_queries_alone_find_what_the_reference_s_do() {
    let fixture = |name: &str| {
        std::fs::read(root().join("tests/fixtures/random").join(name).with_extension("safetensors"))
            .unwrap()
    };
    let floats = |bytes: &[u8], name: &str| {
        let tensors = SafeTensors::deserialize(bytes).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        let (values, _) = tensor.data().as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        (values, tensor.shape().to_vec())
    };
    let (vision, shape) = floats(&fixture("checkpoint"), "vision_last_hidden_state");
    let (expected, _) = floats(&fixture("without_instruction"), "language_projection");
    let (session, pace) = (random(), Pace::default());
    let vision: Tensor<3> =
        Tensor::from_data(TensorData::new(vision, [1, shape[1], shape[2]]), &gpu());
    let found = block_on(async {
        let picture = session.model().unwrap().features(vision, &pace).await?;
        let found = session.model().unwrap().look(&[&picture], &[], &pace, &mut unheard).await?;
        readback::floats(&found).await
    })
    .unwrap();
    let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-4 * largest, "{found} is not {expected}");
    }
}

#[test]
fn the_question_no_longer_steers_the_look_and_is_read_again_after() {
    let session = random();
    let aware = (ask(&session, QUESTION, None).unwrap(), likelihood(&session, None).unwrap());
    let without = likelihood(&session, Some(false)).unwrap();
    assert!((aware.1 - without).abs() > 1e-4, "it makes a difference: {without}");
    assert_eq!(
        map(&session, QUESTION, Some(false)).unwrap(),
        map(&session, OTHER, Some(false)).unwrap()
    );
    assert_ne!(map(&session, QUESTION, None).unwrap(), map(&session, OTHER, None).unwrap());
    ask(&session, QUESTION, Some(false)).unwrap();
    // What is kept of the picture knows no question.
    let again = (ask(&session, QUESTION, Some(true)).unwrap(), likelihood(&session, None).unwrap());
    assert_eq!(again, aware);
}

#[test]
fn a_model_that_reads_no_question_says_so() {
    let session = session("tests/fixtures/blip2/model");
    for refused in [
        ask(&session, QUESTION, Some(false)).map(drop),
        likelihood(&session, Some(false)).map(drop),
        map(&session, QUESTION, Some(false)).map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.code(), "option-invalid");
        assert!(error.to_string().starts_with("instructionAware: "), "{error}");
    }
    assert_eq!(
        ask(&session, QUESTION, Some(true)).unwrap(),
        ask(&session, QUESTION, None).unwrap()
    );
    let empty = ask(&random(), " ", Some(false)).unwrap_err();
    assert_eq!(empty.code(), "question-empty");
}
