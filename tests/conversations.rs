//! Several conversations with one model: none sees another's pictures, and features are shared.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::ops::ControlFlow;

use image::{ImageFormat, Rgb, RgbImage};
use instructblip_web::meter;
use instructblip_web::pace::Pace;
use instructblip_web::session::{AskOptions, DEFAULT_FEATURE_BYTES, Session};
use pollster::block_on;
use support::{pocket, root};

const QUESTIONS: [&str; 3] = [
    "What color is the triangle?",
    "Describe the picture in detail.",
    "How many shapes are there?",
];

fn example(name: &str) -> Vec<u8> {
    std::fs::read(root().join("www/examples").join(name)).unwrap()
}

fn look(session: &mut Session, bytes: &[u8]) -> f64 {
    block_on(session.set_picture(bytes, &Pace::default())).unwrap().vision_ms
}

fn ask(session: &Session, question: &str) -> Vec<u32> {
    let go_on = &mut |_: &_| ControlFlow::Continue(());
    let options = AskOptions { max_new_tokens: Some(24), ..AskOptions::default() };
    block_on(session.ask(question, &options, &Pace::default(), go_on)).unwrap().ids
}

#[test]
fn interleaved_conversations_answer_as_each_alone() {
    let pictures = [example("shapes.png"), example("crowd.png")];
    let alone: Vec<Vec<Vec<u32>>> = pictures
        .iter()
        .map(|picture| {
            let mut session = pocket();
            look(&mut session, picture);
            QUESTIONS.iter().map(|question| ask(&session, question)).collect()
        })
        .collect();
    assert_ne!(alone[0], alone[1], "the pictures differ");

    let first = pocket();
    let mut both = [first.conversation(), first.conversation()];
    for (session, picture) in both.iter_mut().zip(&pictures) {
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        let (options, pace) = (AskOptions::default(), Pace::default());
        let asked = session.ask("What?", &options, &pace, go_on);
        assert_eq!(block_on(asked).unwrap_err().code(), "picture-missing");
        look(session, picture);
    }
    for (turn, question) in QUESTIONS.iter().enumerate() {
        for (session, alone) in both.iter().zip(&alone) {
            assert_eq!(ask(session, question), alone[turn], "{question}");
        }
    }
    // The one that ends takes nothing from the other.
    let [one, other] = both;
    drop(one);
    assert_eq!(ask(&other, QUESTIONS[0]), alone[1][0]);
}

#[test]
fn features_are_kept_within_a_budget() {
    let pictures: Vec<Vec<u8>> = (0..8u8)
        .map(|i| {
            let picture = RgbImage::from_pixel(40, 30, Rgb([i * 30, 200 - i * 20, 90]));
            let mut bytes = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
            bytes.into_inner()
        })
        .collect();
    let mut session = pocket();
    let (known, before) = session.kept_features();
    assert_eq!(known, 1, "the picture that it began with");
    // Room for five.
    session.set_feature_budget(5 * before);
    let mut talk = session.conversation();
    for picture in &pictures {
        assert!(look(&mut talk, picture) > 0.0);
        let (_, bytes) = talk.kept_features();
        assert!(bytes <= 5 * before, "{bytes}");
    }
    assert_eq!(talk.kept_features(), (5, 5 * before));
    // Of the last five nothing is computed again, in whatever conversation; the others are gone.
    let mut other = session.conversation();
    let launched = meter::counts();
    for picture in &pictures[3..] {
        assert_eq!(look(&mut other, picture), 0.0);
    }
    assert_eq!(meter::counts(), launched);
    assert!(look(&mut other, &pictures[0]) > 0.0);
    assert!(look(&mut other, &pictures[3]) > 0.0, "it made room for the one before");
    // A picture that is current stays, whatever the budget.
    let answer = ask(&other, QUESTIONS[1]);
    session.set_feature_budget(0);
    assert_eq!(other.kept_features(), (0, 0));
    assert_eq!(ask(&other, QUESTIONS[1]), answer);
    assert_eq!(look(&mut other, &pictures[3]), 0.0);
    session.set_feature_budget(DEFAULT_FEATURE_BYTES);
    look(&mut session, &pictures[7]);
    assert_eq!(session.kept_features().0, 1);
}
