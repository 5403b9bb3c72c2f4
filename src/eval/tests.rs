//! From a data file to a report, with a stand-in for the model.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::*;
use crate::error::{Error, Result};
use crate::session::{AskOptions, RankOptions};

/// Answers with the last word of the prompt, ranks by length, counts its work.
#[derive(Default)]
struct Parrot {
    looked: usize,
    asked: usize,
}

impl Model for Parrot {
    fn look(&mut self, pictures: &[Vec<u8>]) -> Result<()> {
        self.looked += 1;
        if pictures.iter().any(Vec::is_empty) { Err(Error::PictureEmpty) } else { Ok(()) }
    }

    fn ask(&mut self, prompt: &str, _: &AskOptions) -> Result<(String, f32)> {
        self.asked += 1;
        Ok((prompt.split(' ').next_back().unwrap_or_default().to_owned(), 0.5))
    }

    fn rank(&mut self, _: &str, candidates: &[String], _: &RankOptions) -> Result<Vec<f32>> {
        self.asked += 1;
        Ok(candidates.iter().map(|text| -(text.len() as f32)).collect())
    }
}

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new(lines: &[&str]) -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        for picture in ["a.png", "b.png"] {
            std::fs::write(fixture.path(picture), picture).unwrap();
        }
        std::fs::write(fixture.path("empty.png"), []).unwrap();
        fixture.write(lines);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, lines: &[&str]) {
        std::fs::write(self.path("data.jsonl"), lines.join("\n")).unwrap();
    }

    fn items(&self) -> Result<Vec<(Item, AskOptions)>> {
        let items = data::read(&self.path("data.jsonl"), self.0.path(), None)?;
        Ok(items.into_iter().map(|item| (item.clone(), item.metric.decoding())).collect())
    }

    fn answers(&self) -> Result<AnswersFile> {
        AnswersFile::open(&self.path("answers.jsonl"), "parrot", false)
    }

    /// Runs until `limit` answers are there.
    fn run(&self, limit: usize) -> (Parrot, Result<()>) {
        let (mut parrot, mut answers) = (Parrot::default(), self.answers().unwrap());
        let items = self.items().unwrap();
        let outcome = run(&mut parrot, &items, "data.jsonl", &mut answers, &mut |progress| {
            if progress.done >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (parrot, outcome)
    }

    fn report(&self) -> Report {
        let (items, answers) = (self.items().unwrap(), self.answers().unwrap());
        Report::new("m".into(), "parrot".into(), "d".into(), &items, &answers).unwrap()
    }
}

const MIXED: [&str; 9] = [
    r#"{"image":"a.png","task":"e","prompt":"free","question":"say Red.","answers":["a red"]}"#,
    r#"{"image":"a.png","task":"e","prompt":"free","question":"say blue","answers":["red"]}"#,
    r#"{"image":"a.png","task":"v","prompt":"free","question":"say two","answers":["2","2","3","3"]}"#,
    r#"{"image":"b.png","task":"visdial","question":"q","candidates":["no","yes","maybe"],"label":1}"#,
    r#"{"image":"b.png","task":"visdial","question":"r","candidates":["no","yes"],"answers":["no"]}"#,
    r#"{"image":"b.png","task":"hm","question":"q","candidates":["no","yes"],"label":0}"#,
    r#"{"image":"b.png","task":"hm","question":"r","candidates":["never","yes"],"label":1}"#,
    r#"{"image":"b.png","task":"nocaps","prompt":"free","question":"a cat","answers":["cat"]}"#,
    r#"{"image":"a.png","task":"nocaps","prompt":"free","question":"a dog","answers":["dog"]}"#,
];

#[test]
fn scores_every_metric() {
    let fixture = Fixture::new(&MIXED);
    let (parrot, outcome) = fixture.run(usize::MAX);
    outcome.unwrap();
    assert_eq!((parrot.asked, parrot.looked), (9, 3), "neighbours share their picture");
    let report = fixture.report();
    let found: Vec<_> = report
        .tasks
        .iter()
        .map(|row| (row.task.as_str(), row.metric, row.items, row.score, row.paper))
        .collect();
    // One word in common of one: the mean over four orders is a quarter, times 10, times 100.
    let quarter = Some(250.0);
    assert_eq!(
        found,
        [
            ("e", Metric::Exact, 2, Some(50.0), None),
            ("hm", Metric::Auc, 2, Some(100.0), Some(56.6)),
            ("nocaps", Metric::Cider, 2, quarter, Some(119.9)),
            ("v", Metric::Vqa, 1, Some(50.0), None),
            ("visdial", Metric::Mrr, 2, Some(75.0), Some(46.6)),
        ]
    );
    let table = report.markdown();
    assert!(table.contains("| VisDial | MRR x 100 | 2 | 75.0 | 46.6 |"), "{table}");
    assert!(table.contains("| e | exact match, % | 2 | 50.0 | - |"), "{table}");
}

#[test]
fn a_stopped_run_goes_on() {
    let fixture = Fixture::new(&MIXED);
    let (first, outcome) = fixture.run(4);
    assert_eq!(outcome.unwrap_err().code(), "cancelled");
    // As if the machine had stopped in the middle of a line.
    let path = fixture.path("answers.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    let (second, outcome) = fixture.run(usize::MAX);
    outcome.unwrap();
    assert_eq!((first.asked, second.asked), (4, 6));
    let (third, outcome) = fixture.run(usize::MAX);
    outcome.unwrap();
    assert_eq!((third.asked, third.looked), (0, 0));
    // A changed item is asked again, and no other.
    let mut changed = MIXED;
    changed[1] =
        r#"{"image":"a.png","task":"e","prompt":"free","question":"say red","answers":["red"]}"#;
    fixture.write(&changed);
    assert_eq!(fixture.run(usize::MAX).0.asked, 1);
    assert_eq!(fixture.report().tasks[0].score, Some(100.0));
}

#[test]
fn answers_of_another_model_are_not_mixed_in() {
    let fixture = Fixture::new(&MIXED);
    fixture.run(2).1.unwrap_err();
    let open = |restart| AnswersFile::open(&fixture.path("answers.jsonl"), "owl", restart);
    assert_eq!(open(false).unwrap_err().code(), "option-invalid");
    open(true).unwrap();
    assert_eq!(fixture.answers().unwrap_err().code(), "option-invalid");
    std::fs::write(fixture.path("answers.jsonl"), "{\"model\":\"parrot\"}\nnonsense\n").unwrap();
    assert!(fixture.answers().unwrap_err().to_string().contains("line 2"));
}

#[test]
fn a_broken_picture_names_its_line() {
    let line = r#"{"image":"empty.png","question":"q","answers":["x"]}"#;
    let fixture = Fixture::new(&[MIXED[0], "", line]);
    let error = fixture.run(usize::MAX).1.unwrap_err();
    assert_eq!(error.code(), "data-invalid");
    assert!(error.to_string().starts_with("data.jsonl, line 3: "), "{error}");
    assert_eq!(fixture.report().tasks[0].items, 1);
}

#[test]
fn faults_of_the_data_are_named() {
    let cases = [
        (r#"{"image":"a.png""#, "EOF"),
        (r#"{"image":"a.png","question":"q","answer":["x"]}"#, "unknown field `answer`"),
        (r#"{"question":"q","answers":["x"]}"#, "missing field `image`"),
        (r#"{"image":"c.png","question":"q","answers":["x"]}"#, "c.png"),
        (r#"{"image":[],"question":"q","answers":["x"]}"#, "empty list"),
        (r#"{"image":"a.png","answers":["x"]}"#, "question is empty"),
        (r#"{"image":"a.png","question":"q"}"#, "needs answers"),
        (r#"{"image":"a.png","question":"q","candidates":["x"],"label":1}"#, "label 1"),
        (r#"{"image":"a.png","question":"q","metric":"bleu"}"#, "unknown variant `bleu`"),
        (r#"{"image":"a.png","question":"q","metric":"vqa","answers":["x"]}"#, "at least 4"),
        (r#"{"image":"a.png","question":"q","metric":"mrr","candidates":["x","y"]}"#, "right one"),
        (r#"{"image":"a.png","question":"q","metric":"auc","candidates":["x"],"label":0}"#, "two"),
        (r#"{"image":"a.png","metric":"cider"}"#, "needs answers"),
        (r#"{"image":"a.png","id":"1","question":"q","answers":["x"]}"#, "occurred before"),
        (
            r#"{"image":"a.png","task":"e","question":"q","metric":"mrr","candidates":["x","y"],"label":0}"#,
            "one metric",
        ),
        (r#"{"image":"a.png","id":[],"question":"q","answers":["x"]}"#, "id is neither"),
    ];
    for (line, reason) in cases {
        let error = Fixture::new(&[MIXED[0], line]).items().unwrap_err();
        assert_eq!(error.code(), "data-invalid");
        let text = error.to_string();
        assert!(text.contains("data.jsonl, line 2: ") && text.contains(reason), "{text}");
    }
    assert_eq!(Fixture::new(&[]).items().unwrap_err().code(), "data-invalid");
    let missing = data::read(Path::new("no/such.jsonl"), Path::new(""), None);
    assert_eq!(missing.unwrap_err().code(), "io");
}

#[test]
fn pictures_lie_in_their_folder() {
    let fixture = Fixture::new(&[]);
    let images = fixture.path("images");
    std::fs::create_dir_all(images.join("inner")).unwrap();
    std::fs::write(images.join("c.png"), "c").unwrap();
    let read = |image: &str| {
        let line = serde_json::json!({ "image": image, "question": "q", "answers": ["x"] });
        fixture.write(&["", &line.to_string()]);
        data::read(&fixture.path("data.jsonl"), &images, None)
    };
    let absolute = |name: &str| fixture.path(name).to_str().unwrap().to_owned();
    let mut outside = vec!["../a.png".to_owned(), "inner/../../a.png".into(), absolute("a.png")];
    let mut inside = vec!["c.png".to_owned(), "inner/../c.png".into(), absolute("images/c.png")];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(absolute("a.png"), images.join("out.png")).unwrap();
        std::os::unix::fs::symlink(absolute(""), images.join("up")).unwrap();
        std::os::unix::fs::symlink("c.png", images.join("in.png")).unwrap();
        outside.extend(["out.png".into(), "up/a.png".into()]);
        inside.push("in.png".into());
    }
    for image in outside {
        let error = read(&image).unwrap_err();
        assert_eq!(error.code(), "data-invalid", "{image}");
        let said = error.to_string();
        assert!(said.contains("line 2") && said.contains("lies outside of"), "{said}");
    }
    for image in inside {
        assert_eq!(read(&image).unwrap().len(), 1, "{image}");
    }
    assert!(read("inner").unwrap_err().to_string().contains("there is no picture"));
}

#[test]
fn without_the_instruction_everything_is_asked_again() {
    let fixture = Fixture::new(&[
        r#"{"image": "a.png", "question": "What?", "answers": ["x"]}"#,
        r#"{"image": "a.png", "question": "What?", "candidates": ["x", "y"], "label": 0}"#,
    ]);
    for (item, decoding) in fixture.items().unwrap() {
        let without = AskOptions { instruction_aware: Some(false), ..decoding.clone() };
        let key = |options| answers::key(&item, options).unwrap();
        assert_ne!(key(&decoding), key(&without));
    }
}
