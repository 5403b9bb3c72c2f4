//! The program of `examples/` says what the reference says of the same model.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../examples/describe.rs"]
#[allow(dead_code)]
mod describe;

use std::path::Path;

use serde_json::Value;

#[test]
fn the_example_answers_as_transformers_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = std::fs::read(root.join("tests/browser/pocket_cases.json")).unwrap();
    let cases: Value = serde_json::from_slice(&cases).unwrap();
    let [picture, question, expected] =
        ["picture", "question", "answer"].map(|field| cases["cases"][0][field].as_str().unwrap());
    let mut said = String::new();
    let picture = root.join("www").join(picture);
    let answer = describe::answer(&picture, question, |text| said.push_str(text)).unwrap();
    assert_eq!((answer.as_str(), said.as_str()), (expected, expected));
    let error = describe::answer(&root.join("no-such-picture.png"), question, |_| ()).unwrap_err();
    assert_eq!(error.code(), "io");
}
