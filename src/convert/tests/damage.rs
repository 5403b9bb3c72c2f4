//! Checkpoints that are damaged or lie.

use super::fixture::*;
use crate::checkpoint::index::INDEX_FILE;
use crate::checkpoint::*;
use crate::convert::*;
use crate::error::Error;
use crate::quant::Format;
use std::fs;

#[test]
fn values_that_cannot_be_stored_are_named() {
    let t = Temporary::new();
    checkpoint_with(&t.join("a"), u64::MAX, |name, w| {
        if name.ends_with(".q.weight") {
            w[130] = f32::NAN;
        }
    });
    for format in [Format::F16, Format::Q8, Format::Q4] {
        let error = converted(&t.join("a"), &t.join("set"), format).unwrap_err();
        assert_eq!(error.code(), "tensor-value");
        let said = error.to_string();
        assert!(said.contains("SelfAttention.q.weight") && said.contains("row 2"), "{said}");
        assert!(!t.join("set").exists());
    }
}

#[test]
fn packed_weights_are_not_packed_again() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    converted(&t.join("a"), &t.join("set"), Format::Q4).unwrap();
    assert_eq!(code(converted(&t.join("set"), &t.join("b"), Format::Q8)), "config-invalid");
    // The same without the note in the configuration.
    fs::copy(t.join("a/config.json"), t.join("set/config.json")).unwrap();
    assert_eq!(code(converted(&t.join("set"), &t.join("b"), Format::Q8)), "tensor-shape");
}

#[test]
fn damage_is_found() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    converted(&t.join("a"), &t.join("set"), Format::Q4).unwrap();
    let set = Folder::open(t.join("set")).unwrap();
    let shard = t.join("set").join(set.index().unwrap().files()[1]);
    drop(set);
    let good = fs::read(&shard).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&shard, &bad).unwrap();
    let folder = Folder::open(t.join("set")).unwrap();
    assert_eq!(code(folder.verify()), "shard-corrupt");
    let mut names = 0;
    assert_eq!(
        code(folder.for_each_tensor(|_| {
            names += 1;
            Ok(())
        })),
        "shard-corrupt"
    );
    assert!(names > 0, "the shard before it is good");
    assert_eq!(
        code(export(&t.join("set"), &t.join("b"), &ExportOptions::default(), &mut go)),
        "shard-corrupt"
    );
    drop(folder);
    fs::write(&shard, [&good[..], b"x"].concat()).unwrap();
    assert_eq!(code(Folder::open(t.join("set"))), "shard-corrupt");
    let plain = fs::read(t.join("a/model.safetensors")).unwrap();
    for cut in [0, 7, 8, 100, good.len() - 1] {
        fs::write(&shard, &good[..cut]).unwrap();
        assert_eq!(code(Folder::open(t.join("set"))), "shard-corrupt", "{cut}");
        fs::write(t.join("a/model.safetensors"), &plain[..cut]).unwrap();
        assert_eq!(code(Folder::open(t.join("a"))), "checkpoint-header", "{cut}");
    }
    fs::remove_file(&shard).unwrap();
    let error = Folder::open(t.join("set")).unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if path.ends_with(shard.file_name().unwrap().to_str().unwrap()))
    );
}

#[test]
fn an_index_that_lies_is_refused() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), 5_000);
    let index = fs::read_to_string(t.join("a").join(INDEX_FILE)).unwrap();
    let with = |text: String| {
        fs::write(t.join("a").join(INDEX_FILE), text).unwrap();
        Folder::open(t.join("a")).unwrap_err().code()
    };
    for name in
        ["../x.safetensors", "/etc/passwd", "http://x/y.safetensors", "a/../../b.safetensors"]
    {
        assert_eq!(with(index.replacen("model-0.safetensors", name, 1)), "index-invalid", "{name}");
    }
    assert_eq!(with(index.replace("model-0.", "model-999.")), "io");
    assert_eq!(with(index.replace("query_tokens", "query_token")), "tensor-missing");
    let mut moved: serde_json::Value = serde_json::from_str(&index).unwrap();
    moved["weight_map"]["query_tokens"] = "model-0.safetensors".into();
    assert_eq!(with(moved.to_string()), "index-invalid");
    assert_eq!(with(index[..index.len() / 2].to_owned()), "index-invalid");
    fs::remove_file(t.join("a").join(INDEX_FILE)).unwrap();
    assert_eq!(code(Folder::open(t.join("a"))), "io");
}
