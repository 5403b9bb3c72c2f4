//! The pocket model that the page ships: 20 questions about 5 pictures, every token id equal to
//! what `transformers` says on the same (exported) 4-bit weights.
//!
//! `tests/browser/pocket_cases.json` is recorded by `tools/pocket/make_examples.py`; the browser
//! tests ask the same questions through the page.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::Device;
use instructblip_web::checkpoint::Folder;
use instructblip_web::pace::Pace;
use instructblip_web::session::{AskOptions, Session};
use serde_json::Value;

#[test]
fn answers_are_those_of_transformers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = std::fs::read(root.join("tests/browser/pocket_cases.json")).unwrap();
    let cases: Value = serde_json::from_slice(&cases).unwrap();
    let cases = cases["cases"].as_array().unwrap();
    assert!(cases.len() >= 20);

    let device = instructblip_web::gpu::open().expect("a wgpu adapter");
    let folder = Folder::open(root.join("www/pocket")).unwrap();
    let mut session = Session::open(&folder, &device, |_| ()).unwrap();
    let mut shown = "";
    for case in cases {
        let picture = case["picture"].as_str().unwrap();
        let first = picture != shown;
        if first {
            let bytes = std::fs::read(root.join("www").join(picture)).unwrap();
            pollster::block_on(session.set_picture(&bytes, &Pace::default())).unwrap();
            shown = picture;
        }
        let question = case["question"].as_str().unwrap();
        let mut streamed = String::new();
        let answer = pollster::block_on(session.ask(
            question,
            &AskOptions::default(),
            &Pace::default(),
            &mut |token| {
                streamed.push_str(&token.text);
                ControlFlow::Continue(())
            },
        ))
        .unwrap();
        let ids: Vec<u64> = answer.ids.iter().map(|id| u64::from(*id)).collect();
        let expected: Vec<u64> =
            case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        assert_eq!(ids, expected, "{picture}: {question}");
        assert_eq!(answer.text, case["answer"], "{picture}: {question}");
        assert_eq!(streamed, answer.text, "the pieces are the answer");
        assert!(!answer.stopped && !answer.truncated_question);
        assert_eq!(answer.statistics.vision_cached, !first, "features are computed once");
    }
}

#[test]
fn asking_needs_a_picture_and_a_question() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Folder::open(root.join("www/pocket")).unwrap();
    let mut session = Session::open(&folder, &Device::flex(), |_| ()).unwrap();
    let ask = |session: &mut Session, question: &str, max_new_tokens| {
        let options = AskOptions { max_new_tokens, ..AskOptions::default() };
        let mut ignore = |_: &_| ControlFlow::Continue(());
        let pace = Pace::default();
        let answer = session.ask(question, &options, &pace, &mut ignore);
        pollster::block_on(answer).map_err(|error| error.code())
    };
    assert_eq!(ask(&mut session, "What is it?", None).unwrap_err(), "picture-missing");
    let picture = std::fs::read(root.join("www/examples/pair.png")).unwrap();
    pollster::block_on(session.set_picture(&picture, &Pace::default())).unwrap();
    assert_eq!(ask(&mut session, " \n", None).unwrap_err(), "question-empty");
    assert_eq!(ask(&mut session, "What is it?", Some(0)).unwrap_err(), "option-invalid");
    let nothing = pollster::block_on(session.set_picture(b"no picture", &Pace::default()))
        .map_err(|e| e.code());
    assert_eq!(nothing.unwrap_err(), "picture-undecodable");
    // The picture before the bad one is still there; one token is an unfinished answer.
    let answer = ask(&mut session, "Describe the picture in detail.", Some(1)).unwrap();
    assert!(answer.stopped && answer.ids.len() == 1);
}
