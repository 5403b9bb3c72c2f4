#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use serde_json::{Value, json};

#[test]
fn files_that_are_no_configuration_are_refused() {
    let deep = "[".repeat(100_000);
    let long = format!("{}{{}}", " ".repeat(1 << 20));
    for text in ["", "{", "null", "[]", "3", "\u{0}", &deep, &long] {
        let preprocessor = PreprocessorConfig::parse(text.as_bytes()).map(|_| ());
        let generation = GenerationConfig::parse(text.as_bytes()).map(|_| ());
        for error in [preprocessor, generation].into_iter().filter_map(Result::err) {
            assert_eq!(error.code(), "config-invalid");
        }
    }
}

#[test]
fn preprocessor_sizes_and_defaults() {
    let parse = |v: Value| PreprocessorConfig::parse(v.to_string().as_bytes());
    let c = parse(
        json!({"size": {"height": 56, "width": 56}, "image_processor_type": "BlipImageProcessor"}),
    )
    .unwrap();
    assert_eq!((c.size, c.rescale_factor), (PictureSize { height: 56, width: 56 }, 1.0 / 255.0));
    assert_eq!(parse(json!({"size": 224})).unwrap().size, PictureSize { height: 224, width: 224 });
    assert_eq!(
        parse(json!({"size": {"height": 2, "width": 3}})).unwrap().size,
        PictureSize { height: 2, width: 3 }
    );
    for bad in [
        json!({"size": 0}),
        json!({"size": 100_000}),
        json!({"size": {"shortest_edge": 224}}),
        json!({"resample": 2}),
        json!({"do_resize": false}),
        json!({"image_std": [1, 0, 1]}),
        json!({"image_std": [1, 1]}),
        json!({"image_mean": [1, 1, 1, 1]}),
        json!({"rescale_factor": -1}),
        json!({"rescale_factor": 0}),
    ] {
        assert_eq!(parse(bad.clone()).expect_err(&bad.to_string()).code(), "config-invalid");
    }
    assert!(c.check_fits(56).is_ok());
    assert_eq!(c.check_fits(224).unwrap_err().code(), "config-invalid");
}

#[test]
fn generation_defaults() {
    let parse = |v: Value| GenerationConfig::parse(v.to_string().as_bytes());
    assert_eq!(
        parse(json!({"transformers_version": "4.57.6"})).unwrap(),
        GenerationConfig::default()
    );
    let c = parse(json!({"max_new_tokens": 64, "num_beams": 5, "length_penalty": -1.0, "eos_token_id": [1, 2], "top_p": 0.9})).unwrap();
    assert_eq!((c.max_new_tokens, c.num_beams, c.length_penalty), (Some(64), Some(5), Some(-1.0)));
    // Not acted on, whatever they say.
    let other = json!({"max_length": 20, "eos_token_id": [2], "pad_token_id": null});
    assert_eq!(parse(other).unwrap(), GenerationConfig::default());
    for bad in [
        json!({"num_beams": 0}),
        json!({"max_new_tokens": 1e9 as u64}),
        json!({"top_p": 1.5}),
        json!({"temperature": -1}),
        json!({"min_length": -4}),
    ] {
        assert_eq!(parse(bad.clone()).expect_err(&bad.to_string()).code(), "config-invalid");
    }
}
