//! The command line prints nothing from a model's files that a terminal would obey.

#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// Writes to the clipboard, renames the window, turns the line around.
const COMMANDS: &str = "\u{1b}]52;c;cHduZWQ=\u{7}\u{9b}31m\u{202e}\u{1b}]0;pwned\u{7}";

/// What a command printed, and its exit code.
fn run(arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_instructblip")).args(arguments).output().unwrap();
    let all = [output.stdout, output.stderr].concat();
    (String::from_utf8(all).unwrap(), output.status.code())
}

fn is_harmless(printed: &str) {
    let obeyed = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}')
    };
    assert!(!printed.chars().any(obeyed), "{printed:?}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A copy of the random checkpoint, with one file changed.
fn model(at: &Path, file: &str, change: impl Fn(&mut Value)) -> PathBuf {
    let from = root().join("tests/fixtures/random/model");
    for folder in ["", "qformer_tokenizer"] {
        std::fs::create_dir_all(at.join(folder)).unwrap();
        for entry in std::fs::read_dir(from.join(folder)).unwrap().flatten() {
            if entry.path().is_file() {
                let to = at.join(folder).join(entry.file_name());
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let path = at.join(file);
    let mut json = std::fs::read(&path).map_or(json!({}), |b| serde_json::from_slice(&b).unwrap());
    change(&mut json);
    std::fs::write(path, serde_json::to_vec(&json).unwrap()).unwrap();
    at.to_path_buf()
}

#[test]
fn answers_are_printed_as_text() {
    let t = tempfile::tempdir().unwrap();
    let model = model(t.path(), "tokenizer.json", |tokenizer| {
        // Whatever the model says, it says with commands.
        for piece in tokenizer["model"]["vocab"].as_array_mut().unwrap().iter_mut().skip(3) {
            piece[0] = format!("{}{COMMANDS}", piece[0].as_str().unwrap()).into();
        }
    });
    let (model, picture) = (model.to_str().unwrap(), root().join("www/examples/pair.png"));
    let ask = |more: &[&str]| {
        let all =
            ["ask", "--device", "cpu", "--model", model, "--image", picture.to_str().unwrap()];
        let (printed, code) = run(&[&all[..], &["what"], more].concat());
        assert_eq!(code, Some(0), "{printed}");
        is_harmless(&printed);
        printed
    };
    let tokens = ["--max-new-tokens", "4", "--min-length", "4"];
    let printed = ask(&tokens);
    assert!(printed.contains("\\u{1b}]52;c;cHduZWQ=\\u{7}\\u{9b}31m\\u{202e}"), "{printed}");
    let beams = ["--num-beams", "2", "--num-return-sequences", "2"];
    assert!(ask(&[&tokens[..], &beams].concat()).contains("]0;pwned\\u{7}"));
    assert!(ask(&["--rank", COMMANDS, "--rank", "b"]).contains("\\u{1b}]0;pwned"));
    let printed = ask(&[&tokens[..], &["--json"]].concat());
    let answer: Value = serde_json::from_str(&printed).unwrap();
    assert!(answer["answer"]["text"].as_str().unwrap().contains(COMMANDS), "{printed}");
}

#[test]
fn names_in_errors_are_printed_as_text() {
    let t = tempfile::tempdir().unwrap();
    let model = model(t.path(), "model.safetensors.index.json", |index| {
        let name = format!("x{COMMANDS}");
        *index = json!({ "weight_map": { name: "model-1.safetensors" } });
    });
    std::fs::rename(model.join("model.safetensors"), model.join("model-1.safetensors")).unwrap();
    let (model, picture) = (model.to_str().unwrap(), root().join("www/examples/pair.png"));
    let ask =
        ["ask", "--device", "cpu", "--model", model, "--image", picture.to_str().unwrap(), "q"];
    for arguments in [&["inspect", model][..], &["inspect", "--json", model], &ask] {
        let (printed, code) = run(arguments);
        assert_eq!(code, Some(1));
        assert!(printed.starts_with("error [tensor-missing]"), "{printed}");
        assert!(printed.contains("x\\u{1b}]52;"), "{printed}");
        is_harmless(&printed);
    }
}

#[test]
fn paths_are_printed_as_text() {
    let t = tempfile::tempdir().unwrap();
    let folder = t.path().join(format!("x{COMMANDS}"));
    let (printed, code) = run(&["inspect", folder.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(printed.contains("\\u{1b}]0;pwned"), "{printed}");
    is_harmless(&printed);
}

/// Vulkan's layers ask for a desktop, and one of them used to say four times that there is none.
#[test]
#[cfg(target_os = "linux")]
fn a_server_without_a_desktop_is_not_complained_of() {
    let output = Command::new(env!("CARGO_BIN_EXE_instructblip"))
        .args(["ask", "--model", "www/pocket", "--image", "www/examples/shapes.png", "--json"])
        .arg("What color is the triangle?")
        .env_remove("XDG_RUNTIME_DIR")
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("XDG_RUNTIME_DIR"), "{said}");
}
