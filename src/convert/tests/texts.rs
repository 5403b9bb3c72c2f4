//! What lies beside the weights: a tokenizer in its own form, terms of use, and the card.

use super::fixture::*;
use crate::config::About;
use crate::convert::*;
use crate::quant::Format;
use std::fs;
use std::path::Path;

/// A vocabulary of one piece.
const PIECES: &[u8] = &[0x0a, 3, 0x0a, 1, b'a'];

fn card(folder: &Path) -> String {
    fs::read_to_string(folder.join("README.md")).unwrap()
}

#[test]
fn texts_and_the_tokenizer_s_own_form_are_copied() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    let files: [(&str, &[u8]); 7] = [
        ("spiece.model", PIECES),
        ("chat_template.json", b"{}"),
        ("chat_template.jinja", b"{{ messages }}"),
        ("README.md", b"---\nlicense: mit\n---\n# Mine\n"),
        ("LICENSE-MIT", b"page 1\n\x0cpage 2\n"),
        ("NOTICE.txt", b"Nobody's.\n"),
        ("USE_POLICY.md", b"Be kind.\n"),
    ];
    for (name, bytes) in files {
        fs::write(t.join("a").join(name), bytes).unwrap();
    }
    for name in ["license", "LICENSE.pdf", "notes.md", "tokenizer.model"] {
        fs::write(t.join("a").join(name), "other").unwrap();
    }
    fs::create_dir(t.join("a/LICENSES")).unwrap();
    converted(&t.join("a"), &t.join("set"), Format::Q4).unwrap();
    export(&t.join("set"), &t.join("back"), &ExportOptions::default(), &mut go).unwrap();
    for folder in ["set", "back"] {
        for (name, bytes) in files {
            assert_eq!(fs::read(t.join(folder).join(name)).unwrap(), bytes, "{folder}/{name}");
        }
        for name in ["license", "LICENSE.pdf", "notes.md", "tokenizer.model"] {
            assert!(!t.join(folder).join(name).exists(), "{name}");
        }
    }
}

#[test]
fn texts_are_what_their_names_say() {
    let t = Temporary::new();
    for (name, content) in [
        ("spiece.model", &b"-----BEGIN OPENSSH PRIVATE KEY-----\n"[..]),
        ("chat_template.json", b"[]"),
        ("chat_template.jinja", b"a\x1bb"),
        ("README.md", b"a\0b"),
        ("LICENSE", b"\xff\xfe"),
        ("NOTICE", &[b'x'; (1 << 20) + 1]),
    ] {
        checkpoint(&t.join("a"), u64::MAX);
        fs::write(t.join("a").join(name), content).unwrap();
        let outcome = converted(&t.join("a"), &t.join("set"), Format::Q4);
        assert_eq!(code(outcome), "config-invalid", "{name}");
        fs::remove_dir_all(t.join("a")).unwrap();
        let _ = fs::remove_dir_all(t.join("set"));
    }
    checkpoint(&t.join("a"), u64::MAX);
    (0..17).for_each(|n| fs::write(t.join("a").join(format!("LICENSE-{n}")), "x").unwrap());
    assert_eq!(code(converted(&t.join("a"), &t.join("set"), Format::Q4)), "config-invalid");
}

#[cfg(unix)]
#[test]
fn texts_that_are_links_out_of_the_checkpoint_are_refused() {
    let t = Temporary::new();
    fs::write(t.join("secret"), "text").unwrap();
    for name in ["README.md", "LICENSE", "spiece.model"] {
        checkpoint(&t.join("a"), u64::MAX);
        std::os::unix::fs::symlink(t.join("secret"), t.join("a").join(name)).unwrap();
        let error = converted(&t.join("a"), &t.join("set"), Format::Q4).unwrap_err();
        assert!(error.to_string().contains("outside of the checkpoint"), "{name}: {error}");
        fs::remove_dir_all(t.join("a")).unwrap();
        let _ = fs::remove_dir_all(t.join("set"));
    }
}

#[test]
fn a_card_is_written_where_there_is_none() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    let summary = converted(&t.join("a"), &t.join("set"), Format::Q4).unwrap();
    let first = card(&t.join("set"));
    assert!(first.starts_with("---\nlibrary_name: instructblip-web\n---\n"), "{first}");
    let weights =
        format!("| weights | {} bytes |\n| their files | {} |\n", summary.bytes, summary.files);
    let tensors = format!("| tensors | {} |", count());
    for part in ["# InstructBLIP, as", " in q4, ", " in f16; all other", &weights, &tensors] {
        assert!(first.contains(part), "{part}: {first}");
    }
    // It tells of the shard set, which an export is not any more.
    export(&t.join("set"), &t.join("back"), &ExportOptions::default(), &mut go).unwrap();
    assert!(!t.join("back/README.md").exists());
    // The next conversion replaces it, but not what a person wrote.
    let force = |format| ConvertOptions { force: true, ..ConvertOptions::new(format) };
    convert(&t.join("a"), &t.join("set"), &force(Format::Q8), &mut go).unwrap();
    assert!(card(&t.join("set")).contains("in q8"));
    fs::write(t.join("set/README.md"), "mine").unwrap();
    convert(&t.join("a"), &t.join("set"), &force(Format::Q4), &mut go).unwrap();
    assert_eq!(card(&t.join("set")), "mine");
}

#[test]
fn a_card_names_its_source_only_where_that_is_a_repository() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    let path = t.join("a/config.json");
    let config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let named = |name: serde_json::Value| {
        let mut config = config.clone();
        config["_name_or_path"] = name;
        fs::write(&path, config.to_string()).unwrap();
        converted(&t.join("a"), &t.join("set"), Format::Q4).unwrap();
        let text = card(&t.join("set"));
        fs::remove_dir_all(t.join("set")).unwrap();
        text
    };
    let text = named("Salesforce/instructblip-flan-t5-xl".into());
    assert!(text.contains("\nbase_model: \"Salesforce/instructblip-flan-t5-xl\"\n---\n"), "{text}");
    assert!(text.contains("| converted from | `Salesforce/instructblip-flan-t5-xl` |"), "{text}");
    let long = format!("a/{}", "b".repeat(200));
    for other in [
        "",
        "/home/somebody/model",
        "a/b\nlicense: mit",
        "a/`b`",
        "a/<b>",
        "a/b\" x",
        "../a",
        &long,
    ] {
        let text = named(other.into());
        assert!(!text.contains("base_model") && !text.contains("converted from |"), "{text}");
    }
    assert!(!named(7.into()).contains("base_model"));
}

#[test]
fn a_set_says_what_it_was_told_to() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    let about = About {
        knows: [("en".to_owned(), "shapes".to_owned())].into(),
        unsure_below: Some(0.5),
        ..About::default()
    };
    let options = ConvertOptions { about: Some(about.clone()), ..ConvertOptions::new(Format::Q4) };
    convert(&t.join("a"), &t.join("set"), &options, &mut go).unwrap();
    export(&t.join("set"), &t.join("plain"), &ExportOptions::default(), &mut go).unwrap();
    converted(&t.join("plain"), &t.join("again"), Format::Q8).unwrap();
    for folder in ["set", "plain", "again"] {
        assert_eq!(inspect(&t.join(folder)).unwrap().about.as_ref(), Some(&about), "{folder}");
    }
    let table = inspect(&t.join("set")).unwrap().to_string();
    assert!(table.ends_with("knows (en): shapes\nunsure below a probability of 0.5\n"), "{table}");
    converted(&t.join("a"), &t.join("silent"), Format::Q4).unwrap();
    assert_eq!(inspect(&t.join("silent")).unwrap().about, None);
}
