//! Folders of strangers, in which a link lies where a file or folder is read or written.

use super::fixture::*;
use crate::checkpoint::*;
use crate::convert::output::UNFINISHED;
use crate::convert::synth::{SynthOptions, named_config, synth};
use crate::convert::*;
use crate::quant::Format;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::Path;

/// What the links lead to, and must be found unchanged.
fn victim(t: &Temporary) -> std::path::PathBuf {
    let path = t.join("victim");
    fs::write(&path, "mine").unwrap();
    path
}

fn forced(source: &Path, out: &Path) -> crate::error::Result<Summary> {
    let options = ConvertOptions { force: true, limit: 8 << 10, ..ConvertOptions::new(Format::Q4) };
    convert(source, out, &options, &mut go)
}

#[test]
fn a_planted_journal_is_not_written_through() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    let victim = victim(&t);
    type Plant = fn(&Path, &Path);
    let plants: [Plant; 2] =
        [|to, at| symlink(to, at).unwrap(), |to, at| fs::hard_link(to, at).unwrap()];
    for plant in plants {
        let out = t.join("out");
        fs::create_dir_all(out.join(UNFINISHED)).unwrap();
        plant(&victim, &out.join(UNFINISHED).join("journal.jsonl"));
        assert_eq!(code(converted(&t.join("a"), &out, Format::Q4)), "option-invalid");
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
        // What does not continue throws it away.
        export(&t.join("a"), &out, &ExportOptions::default(), &mut go).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
        fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn planted_shards_are_replaced() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    converted(&t.join("a"), &t.join("fresh"), Format::Q4).unwrap();
    let victim = victim(&t);
    let out = t.join("out");
    fs::create_dir_all(out.join(UNFINISHED)).unwrap();
    for number in 0..20 {
        let path = out.join(UNFINISHED).join(format!("{number:05}"));
        match number % 2 {
            0 => symlink(&victim, path).unwrap(),
            _ => fs::hard_link(&victim, path).unwrap(),
        }
    }
    converted(&t.join("a"), &out, Format::Q4).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"mine");
    assert_eq!(content(&out), content(&t.join("fresh")));
    for path in content(&out).keys() {
        assert!(fs::symlink_metadata(out.join(path)).unwrap().is_file(), "{}", path.display());
    }
}

/// A file that the journal names as complete counts only where it is no link.
#[test]
fn complete_files_are_files() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    let mut reports = 0;
    let options = ConvertOptions { limit: 1 << 10, ..ConvertOptions::new(Format::Q4) };
    let mut stop = |progress: &Progress<'_>| {
        reports += 1;
        if reports == 9 { ControlFlow::Break(()) } else { go(progress) }
    };
    assert_eq!(code(convert(&t.join("a"), &t.join("out"), &options, &mut stop)), "cancelled");
    let first = t.join("out").join(UNFINISHED).join("00000");
    fs::rename(&first, t.join("elsewhere")).unwrap();
    symlink(t.join("elsewhere"), &first).unwrap();
    convert(&t.join("a"), &t.join("out"), &options, &mut go).unwrap();
    for path in content(&t.join("out")).keys() {
        assert!(fs::symlink_metadata(t.join("out").join(path)).unwrap().is_file());
    }
}

#[test]
fn folders_that_lead_elsewhere_are_refused() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    let mini = || SynthOptions {
        config: named_config("mini").unwrap(),
        seed: 1,
        dtype: Dtype::F16,
        tokenizers: None,
        force: true,
        limit: 0,
    };
    for name in ["qformer_tokenizer", UNFINISHED] {
        let out = t.join("out");
        fs::create_dir_all(&out).unwrap();
        fs::create_dir_all(t.join("elsewhere")).unwrap();
        symlink(t.join("elsewhere"), out.join(name)).unwrap();
        assert_eq!(code(forced(&t.join("a"), &out)), "option-invalid", "{name}");
        let options = ExportOptions { force: true, ..Default::default() };
        assert_eq!(code(export(&t.join("a"), &out, &options, &mut go)), "option-invalid");
        assert_eq!(code(synth(&out, &mini(), &mut go)), "option-invalid");
        assert_eq!(fs::read_dir(t.join("elsewhere")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "nothing is left behind");
        fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn final_names_that_are_links_are_replaced() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    converted(&t.join("a"), &t.join("fresh"), Format::Q4).unwrap();
    let victim = victim(&t);
    fs::create_dir_all(t.join("out/qformer_tokenizer")).unwrap();
    for path in content(&t.join("fresh")).keys() {
        symlink(&victim, t.join("out").join(path)).unwrap();
    }
    forced(&t.join("a"), &t.join("out")).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"mine");
    assert_eq!(content(&t.join("out")), content(&t.join("fresh")));
}

#[test]
fn nothing_outside_of_a_checkpoint_is_copied() {
    let t = Temporary::new();
    let secret = t.join("secret");
    // Also what has the form of a tokenizer.
    for content in ["-----BEGIN OPENSSH PRIVATE KEY-----\n", "{\"auths\":{}}"] {
        fs::write(&secret, content).unwrap();
        for name in ["special_tokens_map.json", "qformer_tokenizer/vocab.txt"] {
            checkpoint(&t.join("a"), u64::MAX);
            symlink(&secret, t.join("a").join(name)).unwrap();
            for error in [
                converted(&t.join("a"), &t.join("out"), Format::Q4).unwrap_err(),
                export(&t.join("a"), &t.join("out"), &Default::default(), &mut go).unwrap_err(),
            ] {
                assert_eq!(error.code(), "config-invalid", "{name}");
                assert!(error.to_string().contains("outside of the checkpoint"), "{error}");
            }
            assert!(!t.join("out/special_tokens_map.json").exists());
            fs::remove_dir_all(t.join("a")).unwrap();
            let _ = fs::remove_dir_all(t.join("out"));
        }
    }
    // Files of other names are not copied at all.
    checkpoint(&t.join("a"), u64::MAX);
    for name in ["qformer_tokenizer/x.txt", "qformer_tokenizer/x.json", "notes.json"] {
        symlink(&secret, t.join("a").join(name)).unwrap();
    }
    converted(&t.join("a"), &t.join("out"), Format::Q4).unwrap();
    let names: Vec<_> = content(&t.join("out")).into_keys().collect();
    assert!(!names.iter().any(|name| name.ends_with("x.txt") || name.ends_with("x.json")));
    assert!(!names.iter().any(|name| name.ends_with("notes.json")));
}

#[test]
fn links_within_a_checkpoint_and_the_cache_are_copied() {
    let t = Temporary::new();
    let snapshot = t.join("models--o--n/snapshots/c");
    checkpoint(&snapshot, u64::MAX);
    fs::create_dir_all(t.join("models--o--n/blobs")).unwrap();
    fs::write(t.join("models--o--n/blobs/one"), "{\"one\":1}").unwrap();
    symlink("../../blobs/one", snapshot.join("special_tokens_map.json")).unwrap();
    symlink("tokenizer.json", snapshot.join("added_tokens.json")).unwrap();
    symlink("nowhere", snapshot.join("processor_config.json")).unwrap();
    converted(&snapshot, &t.join("out"), Format::Q4).unwrap();
    let out = content(&t.join("out"));
    assert_eq!(out[Path::new("special_tokens_map.json")], b"{\"one\":1}");
    assert_eq!(out[Path::new("added_tokens.json")], b"{}");
    // Not where the cache's own folder is a link.
    fs::rename(t.join("models--o--n/blobs"), t.join("home")).unwrap();
    symlink(t.join("home"), t.join("models--o--n/blobs")).unwrap();
    assert_eq!(code(converted(&snapshot, &t.join("out2"), Format::Q4)), "config-invalid");
}

#[test]
fn what_is_copied_is_what_its_name_says() {
    let t = Temporary::new();
    for (name, content) in [
        ("special_tokens_map.json", "-----BEGIN OPENSSH PRIVATE KEY-----"),
        ("special_tokens_map.json", "[\"token\"]"),
        ("special_tokens_map.json", "\"token\""),
        ("tokenizer_config.json", ""),
        ("qformer_tokenizer/vocab.txt", "a\u{0}b"),
        ("qformer_tokenizer/merges.txt", "a\u{1b}b"),
    ] {
        checkpoint(&t.join("a"), u64::MAX);
        fs::write(t.join("a").join(name), content).unwrap();
        assert_eq!(code(converted(&t.join("a"), &t.join("out"), Format::Q4)), "config-invalid");
        fs::remove_dir_all(t.join("a")).unwrap();
        let _ = fs::remove_dir_all(t.join("out"));
    }
    checkpoint(&t.join("a"), u64::MAX);
    fs::write(t.join("a/qformer_tokenizer/vocab.txt"), "[PAD]\nä\n##b\r\n").unwrap();
    converted(&t.join("a"), &t.join("out"), Format::Q4).unwrap();
    assert!(t.join("out/qformer_tokenizer/vocab.txt").exists());
    // A device has no end.
    symlink("/dev/zero", t.join("a/generation_config.json")).unwrap();
    assert_eq!(code(converted(&t.join("a"), &t.join("out2"), Format::Q4)), "config-invalid");
    assert_eq!(code(Folder::open(t.join("a")).unwrap().generation()), "config-invalid");
}
