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
    let fit = |v: Value| parse(v).unwrap().fit;
    let squash = |height, width| Fit::Squash(PictureSize { height, width });
    let shortest = |edge, height, width| {
        let crop = PictureSize { height, width };
        Fit::ShortestEdge { edge, crop }
    };
    let c = parse(
        json!({"size": {"height": 56, "width": 56}, "image_processor_type": "BlipImageProcessor"}),
    )
    .unwrap();
    assert_eq!((c.fit, c.rescale_factor), (squash(56, 56), Some(1.0 / 255.0)));
    assert_eq!(fit(json!({"size": 224})), squash(224, 224));
    assert_eq!(fit(json!({"size": {"height": 2, "width": 3}})), squash(2, 3));
    // What the classes of transformers 4.57 take for granted, and what a number means to each.
    let of = |name: &str, size: Value| {
        fit(json!({"image_processor_type": name, "size": size, "do_convert_rgb": null}))
    };
    assert_eq!(of("BlipImageProcessor", Value::Null), squash(384, 384));
    assert_eq!(of("CLIPImageProcessor", Value::Null), shortest(224, 224, 224));
    assert_eq!(of("CLIPImageProcessorFast", 336.into()), shortest(336, 224, 224));
    assert_eq!(of("LlavaImageProcessor", Value::Null), shortest(224, 224, 224));
    assert_eq!(of("SiglipImageProcessor", Value::Null), squash(224, 224));
    let siglip = parse(json!({"image_processor_type": "SiglipImageProcessor"})).unwrap();
    assert_eq!(siglip.normalize, Some(Normalize { mean: [0.5; 3], std: [0.5; 3] }));
    let clip = |v: Value| {
        let mut file = json!({"feature_extractor_type": "CLIPFeatureExtractor"});
        file.as_object_mut().unwrap().extend(v.as_object().unwrap().clone());
        parse(file)
    };
    let old = json!({"size": 336, "crop_size": 300, "do_center_crop": true, "resample": 2});
    let old = clip(old).unwrap();
    assert_eq!((old.fit, old.resample), (shortest(336, 300, 300), Resample::Bilinear));
    let sides = json!({"height": 9, "width": 8});
    assert_eq!(clip(json!({"size": sides, "crop_size": sides})).unwrap().fit, squash(9, 8));
    let uncut = json!({"size": sides, "do_center_crop": false, "do_normalize": false});
    assert_eq!(clip(uncut).unwrap().fit, squash(9, 8));
    for bad in [
        json!({"size": 0}),
        json!({"size": 100_000}),
        json!({"size": {"shortest_edge": 224}}),
        json!({"resample": 1}),
        json!({"do_resize": false}),
        json!({"image_std": [1, 0, 1]}),
        json!({"image_std": [1, 1]}),
        json!({"image_mean": [1, 1, 1, 1]}),
        json!({"rescale_factor": -1}),
        json!({"rescale_factor": 0}),
        json!({"do_pad": true}),
        json!({"image_processor_type": "LlavaNextImageProcessor"}),
        json!({"image_processor_type": ""}),
    ] {
        assert_eq!(parse(bad.clone()).expect_err(&bad.to_string()).code(), "config-invalid");
    }
    for bad in [
        json!({"do_center_crop": false}),
        json!({"size": 0}),
        json!({"size": {"shortest_edge": 1u64 << 62}}),
        json!({"size": {"longest_edge": 224}}),
        json!({"crop_size": 0}),
        json!({"crop_size": {"shortest_edge": 224}}),
        json!({"size": sides}),
        json!({"size": -1}),
    ] {
        assert_eq!(clip(bad.clone()).expect_err(&bad.to_string()).code(), "config-invalid");
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
