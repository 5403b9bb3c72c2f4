#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::error::Result;
use crate::kernels::Activation;
use crate::models::bridge::QFormerConfig;
use crate::models::language::T5Config;
use crate::models::vision::EvaConfig;
use crate::quant::Format;
use serde_json::{Value, json};

/// A small valid configuration.
fn sample() -> Value {
    json!({
        "model_type": "instructblip", "num_query_tokens": 8, "image_token_index": 90, "unknown": {"x": [1]},
        "vision_config": {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 56, "patch_size": 14},
        "qformer_config": {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64, "encoder_hidden_size": 99},
        "text_config": {"model_type": "t5", "vocab_size": 100, "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 3,
                        "feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu", "tie_word_embeddings": false}
    })
}

fn parse(config: &Value) -> Result<ModelConfig> {
    ModelConfig::parse(config.to_string().as_bytes())
}

/// The sections as the first models of each kind have them.
fn sections(config: &ModelConfig) -> (&EvaConfig, &QFormerConfig, &T5Config) {
    match (&config.vision_config, &config.bridge_config, &config.text_config) {
        (VisionConfig::Eva(vision), BridgeConfig::QFormer(bridge), LanguageConfig::T5(text)) => {
            (vision, bridge, text)
        }
        #[allow(unreachable_patterns)]
        other => panic!("{other:?}"),
    }
}

/// The sample with one field set; `/` separates the levels.
fn with(path: &str, value: Value) -> Value {
    let mut config = sample();
    let (parent, field) = path.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap()[field] = value;
    config
}

#[test]
fn fields_defaults_and_derived_values() {
    let c = parse(&sample()).unwrap();
    let (vision, bridge, text) = sections(&c);
    assert_eq!((c.bridge_config.tokens(), c.image_token_index), (8, Some(90)));
    let grid = c.vision_config.grid();
    assert_eq!((grid.side, grid.before, grid.tokens()), (4, 1, 17));
    assert_eq!((vision.layer_norm_eps, bridge.layer_norm_eps), (1e-6, 1e-12));
    assert_eq!(bridge.encoder_hidden_size, 24, "the vision tower's width, as in the reference");
    assert_eq!((text.num_decoder_layers, text.inner_dim()), (2, 48));
    assert_eq!(text.dense_act_fn, Activation::Gelu);
    assert!(text.is_gated_act && !text.scale_decoder_outputs);
    assert_eq!((text.decoder_start_token_id, text.eos_token_id, text.pad_token_id), (0, 1, 0));
    assert!(c.quantization_config.is_none());
    assert_eq!(c.bridge_config.looking_layers(), [0, 2]);
    let shorter = c.with_layers(1);
    let (vision, bridge, text) = sections(&shorter);
    assert_eq!((vision.num_hidden_layers, bridge.num_hidden_layers), (1, 1));
    assert_eq!((text.num_layers, text.num_decoder_layers), (1, 1));
}

#[test]
fn the_defaults_are_the_real_model_s() {
    let flan = json!({"model_type": "t5", "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false});
    let c = parse(&json!({"model_type": "instructblip", "text_config": flan})).unwrap();
    let (vision, bridge, text) = sections(&c);
    assert_eq!(
        (vision.hidden_size, vision.num_hidden_layers, c.vision_config.grid().tokens()),
        (1408, 39, 257)
    );
    assert_eq!((bridge.hidden_size, bridge.num_query_tokens), (768, 32));
    assert_eq!((text.dense_act_fn, text.d_model), (Activation::GeluNew, 512));
}

#[test]
fn activations_derive_from_the_projection_where_absent() {
    for (projection, gated, activation) in [
        ("gated-gelu", true, Activation::GeluNew),
        ("gated-silu", true, Activation::Silu),
        ("relu", false, Activation::Relu),
        ("gelu", false, Activation::Gelu),
    ] {
        let mut config = with("/text_config/feed_forward_proj", projection.into());
        config["text_config"].as_object_mut().unwrap().remove("dense_act_fn");
        let text: T5Config = serde_json::from_value(config["text_config"].clone()).unwrap();
        assert_eq!((text.is_gated_act, text.dense_act_fn), (gated, activation), "{projection}");
        assert_eq!(parse(&config).is_ok(), gated, "{projection}");
    }
}

/// Since version 5 of the reference `tie_word_embeddings` is always true, and another field says
/// what it said.
#[test]
fn an_output_projection_of_its_own_is_told_by_either_field() {
    let mut config = with("/text_config/tie_word_embeddings", json!(true));
    config["text_config"]["scale_decoder_outputs"] = json!(false);
    let config = parse(&config).unwrap();
    assert!(!sections(&config).2.scale_decoder_outputs);
}

#[test]
fn quantisation_is_ours_or_refused() {
    let ours = serde_json::to_value(QuantizationConfig::new(Format::Q4)).unwrap();
    assert_eq!(ours, json!({"quant_method": "instructblip-web", "format": "q4", "group_size": 32}));
    assert_eq!(
        parse(&with("/quantization_config", ours)).unwrap().quantization_config,
        Some(QuantizationConfig::new(Format::Q4))
    );
    for other in [
        json!({"quant_method": "bitsandbytes", "load_in_4bit": true}),
        json!({}),
        json!({"quant_method": "instructblip-web", "format": "q3", "group_size": 32}),
        json!({"quant_method": "instructblip-web", "format": "q4", "group_size": 64}),
    ] {
        assert_eq!(
            parse(&with("/quantization_config", other)).unwrap_err().code(),
            "config-invalid"
        );
    }
    assert!(parse(&with("/quantization_config", Value::Null)).is_ok());
}

#[test]
fn blip_2_generates_but_does_not_retrieve() {
    assert!(parse(&sample()).unwrap().bridge_config.instruction().is_some());
    let mut blip_2 = with("/model_type", json!("blip-2"));
    assert!(parse(&blip_2).unwrap().bridge_config.instruction().is_none());
    blip_2["qformer_config"]["use_qformer_text_input"] = json!(true);
    let error = parse(&blip_2).unwrap_err().to_string();
    assert!(error.contains("use_qformer_text_input"), "{error}");
}

#[test]
fn absurd_values_are_refused_by_name() {
    let huge = u64::MAX;
    for (path, value, named) in [
        ("/model_type", json!("llava"), "model_type"),
        ("/num_query_tokens", json!(0), "num_query_tokens"),
        ("/num_query_tokens", json!(1e9 as u64), "num_query_tokens"),
        ("/vision_config/hidden_size", json!(0), "hidden_size"),
        ("/vision_config/hidden_size", json!(huge), "vision_config"),
        ("/vision_config/hidden_size", json!(25), "num_attention_heads"),
        ("/vision_config/num_attention_heads", json!(0), "num_attention_heads"),
        ("/vision_config/image_size", json!(57), "patch_size"),
        ("/vision_config/image_size", json!(1 << 20), "image_size"),
        ("/vision_config/patch_size", json!(0), "patch_size"),
        ("/vision_config/patch_size", json!(112), "patch_size"),
        ("/vision_config/num_hidden_layers", json!(huge), ""),
        ("/vision_config/num_hidden_layers", json!(100_000), "num_hidden_layers"),
        ("/vision_config/layer_norm_eps", json!(-1.0), "layer_norm_eps"),
        ("/vision_config/layer_norm_eps", json!(2), "layer_norm_eps"),
        ("/vision_config/hidden_act", json!("mish"), "mish"),
        ("/vision_config/hidden_size", json!(3 << 18), "width of a head"),
        ("/vision_config/hidden_size", json!(-24), ""),
        ("/vision_config/hidden_size", json!(24.5), ""),
        ("/vision_config/hidden_size", json!("24"), ""),
        ("/qformer_config/hidden_size", json!(31), "num_attention_heads"),
        ("/qformer_config/vocab_size", json!(0), "vocab_size"),
        ("/qformer_config/cross_attention_frequency", json!(0), "cross_attention_frequency"),
        ("/qformer_config/max_position_embeddings", json!(0), "max_position_embeddings"),
        (
            "/qformer_config/position_embedding_type",
            json!("relative_key"),
            "position_embedding_type",
        ),
        ("/text_config/model_type", json!("llama"), "llama"),
        ("/text_config/model_type", Value::Null, "opt"),
        ("/text_config/is_gated_act", json!(false), "is_gated_act"),
        ("/text_config/feed_forward_proj", json!("relu"), "is_gated_act"),
        ("/text_config/tie_word_embeddings", json!(true), "tie_word_embeddings"),
        ("/text_config/tie_word_embeddings", Value::Null, "tie_word_embeddings"),
        ("/text_config/scale_decoder_outputs", json!(true), "scale_decoder_outputs"),
        ("/text_config/d_kv", json!(0), "d_kv"),
        ("/text_config/num_heads", json!(5000), "num_heads"),
        ("/text_config/vocab_size", json!(1), "eos_token_id"),
        ("/text_config/eos_token_id", json!(100), "eos_token_id"),
        ("/text_config/pad_token_id", json!(-1), ""),
        ("/text_config/relative_attention_num_buckets", json!(2), "buckets"),
        ("/text_config/relative_attention_num_buckets", json!(33), "buckets"),
        ("/text_config/relative_attention_max_distance", json!(16), "max_distance"),
        ("/text_config/layer_norm_epsilon", json!(1e300), ""),
        ("/text_config/feed_forward_proj", json!(7), ""),
        ("/text_config/d_model", json!(5_000_000), "d_model"),
        ("/text_config", Value::Null, ""),
        ("/vision_config", json!(3), ""),
    ] {
        let error = parse(&with(path, value.clone())).map(|_| ()).expect_err(path);
        assert_eq!(error.code(), "config-invalid");
        assert!(error.to_string().starts_with("config.json: "), "{error}");
        assert!(error.to_string().contains(named), "{path} = {value}: {error}");
    }
}

#[test]
fn files_that_are_no_configuration_are_refused() {
    let deep = "[".repeat(100_000);
    let long = format!("{}{}", " ".repeat(1 << 20), sample());
    let texts =
        ["", "{", "null", "[]", "3", "\u{0}", "{\"model_type\": \"instructblip\"}", &deep, &long];
    for text in texts {
        assert_eq!(ModelConfig::parse(text.as_bytes()).unwrap_err().code(), "config-invalid");
    }
    assert!(ModelConfig::parse(&[0xFF, 0xFE, 0x00]).is_err());
    let twice = sample().to_string().replacen('{', r#"{"vision_config":{},"#, 1);
    assert_eq!(ModelConfig::parse(twice.as_bytes()).unwrap_err().code(), "config-invalid");
}
