//! Folders of a few kilobytes: converted, exported, inspected, and damaged in every way.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod damage;
mod fixture;
#[cfg(unix)]
mod links;
mod resume;
mod texts;

use super::*;
use crate::checkpoint::*;
use crate::quant::Format;
use fixture::*;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

#[test]
fn f32_comes_back_bit_for_bit() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    converted(&t.join("a"), &t.join("set"), Format::F32).unwrap();
    export(&t.join("set"), &t.join("b"), &ExportOptions::default(), &mut go).unwrap();
    let (a, b) = (Folder::open(t.join("a")).unwrap(), Folder::open(t.join("b")).unwrap());
    // The two aliases are one, the positions are dropped.
    assert_eq!(b.tensors().count(), count());
    for tensor in b.tensors() {
        let alias = "language_model.encoder.embed_tokens.weight";
        let name = if tensor.name == SHARED { alias } else { tensor.name };
        assert_eq!(tensor.shape, a.tensor(name).unwrap().shape, "{name}");
        assert_eq!(tensor.dtype, Dtype::F32);
        assert_eq!(floats(&t.join("a"), tensor.name), floats(&t.join("b"), tensor.name));
    }
    assert!(b.tensor(SHARED).is_ok());
    let config = String::from_utf8(b.config().unwrap()).unwrap();
    assert!(!config.contains("bfloat16") && !config.contains("quantization_config"));
    assert_eq!(b.read("qformer_tokenizer/tokenizer.json").unwrap(), b"{\"a\":1}");
}

#[test]
fn packed_values_are_those_of_the_oracle() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    for format in [Format::Q4, Format::Q8] {
        let (set, back) = (t.join(&format!("set-{format}")), t.join(&format!("back-{format}")));
        let summary = converted(&t.join("a"), &set, format).unwrap();
        assert_eq!(summary.left_out, 1, "the positions");
        assert!(summary.files > 1 && summary.tensors == count(), "{summary:?}");
        export(&set, &back, &ExportOptions { limit: 10_000, ..Default::default() }, &mut go)
            .unwrap();
        for (name, n, k) in [(SHARED, 40, 64), ("language_model.lm_head.weight", 40, 64)] {
            let w = floats(&t.join("a"), name);
            let spec = format.spec();
            let packed = (spec.pack)(&w, n, k).unwrap();
            let packed: Vec<&[u8]> = packed.iter().map(Vec::as_slice).collect();
            let oracle = (spec.unpack)(&packed, n, k).unwrap();
            assert_eq!(floats(&set, name), oracle);
            assert_eq!(floats(&back, name), oracle);
        }
        // 48 does not divide into groups: stored as f16, as is the patch matrix.
        let folder = Folder::open(&set).unwrap();
        let o =
            folder.tensor("language_model.decoder.block.0.layer.0.SelfAttention.o.weight").unwrap();
        assert_eq!((o.dtype, o.shape), (Dtype::F16, &[64, 48][..]));
        let patch = folder.tensor(PATCH).unwrap();
        assert_eq!((patch.dtype, patch.shape), (Dtype::F16, &[8, 48][..]));
        assert_eq!(Folder::open(&back).unwrap().tensor(PATCH).unwrap().shape, [8, 3, 4, 4]);
        for (_, header) in folder.headers() {
            assert_eq!(header.data_start % 256, 0);
            assert!(header.real_tensors().all(|tensor| tensor.range.start % 256 == 0));
        }
        assert_eq!(folder.index().unwrap().files().len(), summary.files);
        let names: usize = folder.index().unwrap().weight_map.len();
        let mut seen = 0;
        folder
            .for_each_tensor(|_| {
                seen += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, names);
    }
}

#[test]
fn the_bytes_depend_on_weights_and_recipe_only() {
    let t = Temporary::new();
    checkpoint(&t.join("one"), u64::MAX);
    checkpoint(&t.join("many"), 5_000);
    assert!(Folder::open(t.join("many")).unwrap().headers().count() > 3);
    converted(&t.join("one"), &t.join("set"), Format::Q4).unwrap();
    converted(&t.join("many"), &t.join("set2"), Format::Q4).unwrap();
    let options = ConvertOptions { limit: 8 << 10, threads: 3, ..ConvertOptions::new(Format::Q4) };
    convert(&t.join("one"), &t.join("set3"), &options, &mut go).unwrap();
    assert_eq!(content(&t.join("set")), content(&t.join("set2")));
    assert_eq!(content(&t.join("set")), content(&t.join("set3")));
}

#[test]
fn rules_change_single_tensors() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    let with = |rule: &str| ConvertOptions {
        recipe: Recipe::new(Format::Q4).with_rule(rule).unwrap(),
        ..ConvertOptions::new(Format::Q4)
    };
    convert(&t.join("a"), &t.join("set"), &with("*lm_head.weight=q8"), &mut go).unwrap();
    let table = inspect(&t.join("set")).unwrap();
    let row = table.rows.iter().find(|row| row.part == "embeddings").unwrap();
    let formats: Vec<_> =
        row.formats.iter().map(|s| (s.format.as_str(), s.tensors, s.parameters, s.bytes)).collect();
    assert_eq!(formats, [("q4", 1, 2560, 1440), ("q8", 1, 2560, 2720)]);
    assert_eq!((table.tensors, table.files), (count() as u64, 1));
    assert_eq!(
        table.file_bytes,
        Folder::open(t.join("set")).unwrap().index().unwrap().shard_bytes()
    );
    assert_eq!(
        code(convert(&t.join("a"), &t.join("set2"), &with("lm_head=q8"), &mut go)),
        "option-invalid"
    );
    assert!(!t.join("set2").exists());
}

#[test]
fn nothing_is_left_of_what_was_cancelled() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    let mut calls = 0;
    let mut stop = |_: &Progress<'_>| {
        calls += 1;
        if calls == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = ConvertOptions::new(Format::Q4);
    assert_eq!(code(convert(&t.join("a"), &t.join("set"), &options, &mut stop)), "cancelled");
    assert!(!t.join("set").exists());
    let mut stop = |_: &Progress<'_>| ControlFlow::Break(());
    assert_eq!(
        code(export(&t.join("a"), &t.join("b"), &ExportOptions::default(), &mut stop)),
        "cancelled"
    );
    assert!(!t.join("b").exists());
}

#[test]
fn a_folder_in_use_is_replaced_only_when_told() {
    let t = Temporary::new();
    checkpoint(&t.join("a"), u64::MAX);
    converted(&t.join("a"), &t.join("set"), Format::Q8).unwrap();
    fs::write(t.join("set/notes.txt"), "mine").unwrap();
    assert_eq!(code(converted(&t.join("a"), &t.join("set"), Format::Q4)), "option-invalid");
    assert_eq!(code(converted(&t.join("set"), &t.join("x"), Format::Q4)), "config-invalid");
    let force = ConvertOptions { force: true, limit: 8 << 10, ..ConvertOptions::new(Format::Q4) };
    assert_eq!(code(convert(&t.join("a"), &t.join("a"), &force, &mut go)), "option-invalid");
    convert(&t.join("a"), &t.join("set"), &force, &mut go).unwrap();
    converted(&t.join("a"), &t.join("fresh"), Format::Q4).unwrap();
    let mut files = content(&t.join("set"));
    assert_eq!(files.remove(Path::new("notes.txt")).unwrap(), b"mine");
    assert_eq!(files, content(&t.join("fresh")));
}
