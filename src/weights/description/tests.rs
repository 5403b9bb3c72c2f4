#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::checkpoint::ShardInfo;
use crate::models::{ModelConfig, VisionLanguageModel};

const QUERY: &str = "qformer.encoder.layer.0.attention.attention.query";
const PATCH: &str = "vision_model.embeddings.patch_embedding.weight";

/// A model of eleven vision layers, packed in q4 but for one matrix.
fn description(packed: bool) -> Description {
    let packing = format!(
        r#","quantization_config":{{"quant_method":"instructblip-web","format":"q4","group_size":32,
        "exceptions":{{"{QUERY}.weight":"q8","{PATCH}":"f16"}}}}"#
    );
    let json = format!(
        r#"{{"model_type":"instructblip","num_query_tokens":2,
        "vision_config":{{"hidden_size":64,"intermediate_size":64,"num_hidden_layers":11,
            "num_attention_heads":2,"image_size":8,"patch_size":4}},
        "qformer_config":{{"vocab_size":16,"hidden_size":64,"num_hidden_layers":2,
            "num_attention_heads":2,"intermediate_size":64,"max_position_embeddings":8}},
        "text_config":{{"model_type":"t5","vocab_size":40,"d_model":64,"d_kv":16,"d_ff":96,
            "num_layers":1,"num_heads":3,"feed_forward_proj":"gated-gelu",
            "tie_word_embeddings":false}}{}}}"#,
        if packed { &packing } else { "" }
    );
    let config = ModelConfig::parse(json.as_bytes()).unwrap();
    VisionLanguageModel::describe(&config, &Device::flex()).unwrap()
}

#[test]
fn parts_come_by_use_and_layers_by_number() {
    let description = description(false);
    let order = description.in_order();
    let place = |name: &str| order.iter().position(|wanted| wanted.name == name).unwrap();
    for [earlier, later] in [
        [
            "vision_model.encoder.layers.9.mlp.fc1.weight",
            "vision_model.encoder.layers.10.mlp.fc1.weight",
        ],
        ["vision_model.post_layernorm.weight", "qformer.embeddings.word_embeddings.weight"],
        ["qformer.encoder.layer.1.output.dense.weight", "query_tokens"],
        ["language_projection.weight", "language_model.lm_head.weight"],
        ["language_model.shared.weight", "language_model.encoder.final_layer_norm.weight"],
        [
            "language_model.encoder.final_layer_norm.weight",
            "language_model.decoder.final_layer_norm.weight",
        ],
    ] {
        assert!(place(earlier) < place(later), "{earlier} {later}");
    }
    assert!(order.iter().all(|wanted| wanted.part != Part::Other));
    assert!(order.windows(2).all(|pair| pair[0].part <= pair[1].part));
}

#[test]
fn other_names_are_resolved() {
    let description = description(false);
    for stack in ["encoder", "decoder"] {
        let alias = format!("language_model.{stack}.embed_tokens.weight");
        assert_eq!(description.resolve(&alias), "language_model.shared.weight");
    }
    assert_eq!(description.resolve("query_tokens"), "query_tokens");
}

#[test]
fn a_tensor_is_compared_with_what_it_should_be() {
    let (plain, packed) = (description(false), description(true));
    let query = format!("{QUERY}.weight");
    let (queries, shared) = ("query_tokens", "language_model.shared.weight");
    let scales = "language_model.shared.scales";
    let fc1 = "vision_model.encoder.layers.0.mlp.fc1.weight";
    for (description, name, dtype, shape, fits) in [
        (&plain, shared, Dtype::BF16, &[40, 64][..], true),
        (&plain, shared, Dtype::I32, &[40, 64], false),
        (&plain, shared, Dtype::F32, &[64, 40], false),
        (&plain, PATCH, Dtype::F16, &[64, 3, 4, 4], true),
        (&plain, PATCH, Dtype::F16, &[64, 48], true),
        (&plain, PATCH, Dtype::F16, &[64, 4, 4, 3], false),
        (&plain, PATCH, Dtype::F16, &[32, 96], false),
        (&plain, queries, Dtype::F32, &[1, 2, 64], true),
        (&plain, queries, Dtype::F32, &[2, 64], true),
        (&plain, queries, Dtype::F32, &[2, 1, 64], false),
        (&packed, shared, Dtype::U32, &[40, 8], true),
        (&packed, shared, Dtype::U32, &[40, 16], false),
        (&packed, shared, Dtype::F32, &[40, 64], false),
        (&packed, scales, Dtype::F16, &[40, 2], true),
        (&packed, scales, Dtype::F32, &[40, 2], false),
        (&packed, &query, Dtype::U32, &[64, 16], true),
        (&packed, &query, Dtype::U32, &[64, 8], false),
        (&packed, PATCH, Dtype::F16, &[64, 48], true),
        (&packed, fc1, Dtype::U32, &[64, 8], true),
        (&packed, queries, Dtype::F32, &[1, 2, 64], true),
        (&packed, queries, Dtype::U32, &[1, 2, 8], false),
    ] {
        let checked = description.check(name, dtype, shape);
        assert_eq!(checked.is_ok(), fits, "{name} {dtype} {shape:?}");
        match checked {
            Ok(wanted) => assert!(wanted.is_some(), "{name}"),
            Err(error) => assert_eq!(error.code(), "tensor-shape"),
        }
    }
    // What nobody reads may be anything.
    for name in ["strange", "qformer.encoder.layer.1.intermediate.dense.weight", scales] {
        assert_eq!(plain.check(name, Dtype::I64, &[7]).unwrap(), None, "{name}");
    }
}

/// Two shards: the vision tower, and the rest.
fn index(description: &Description) -> Index {
    let file = |part| if part == Part::Vision { "a.safetensors" } else { "b.safetensors" };
    let mut index = Index::default();
    let mut lengths = BTreeMap::new();
    for wanted in description.wanted().iter().filter(|wanted| wanted.read) {
        *lengths.entry(file(wanted.part)).or_insert(1000) += description.bytes(wanted);
        let names = description.names(wanted).map(|name| (name, file(wanted.part).to_owned()));
        index.weight_map.extend(names);
    }
    let info =
        |(file, bytes): (&str, u64)| (file.to_owned(), ShardInfo { bytes, sha256: String::new() });
    index.shards = lengths.into_iter().map(info).collect();
    index
}

#[test]
fn an_index_must_name_every_tensor() {
    for packed in [false, true] {
        let description = description(packed);
        let whole = index(&description);
        description.check_index(&whole).unwrap();
        for name in whole.weight_map.keys() {
            let mut torn = whole.clone();
            torn.weight_map.remove(name);
            let error = description.check_index(&torn).unwrap_err();
            assert_eq!(error.code(), "tensor-missing");
            assert!(error.to_string().contains(name.as_str()), "{error}");
        }
    }
}

#[test]
fn shards_must_have_the_length_of_their_tensors() {
    let description = description(true);
    let whole = index(&description);
    let with = |change: fn(&mut Index)| {
        let mut index = whole.clone();
        change(&mut index);
        description.check_index(&index).map_err(|error| error.code())
    };
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(with(|index| index.shards[0].1.bytes += 1000), Ok(()));
    assert_eq!(with(|index| index.shards[0].1.bytes -= 1001), Err("index-invalid"));
    assert_eq!(with(|index| index.shards[0].1.bytes += 1 << 20), Err("index-invalid"));
    // With tensors that the model does not have, a shard may be longer.
    let strange = |index: &mut Index| {
        index.weight_map.insert("strange".into(), "a.safetensors".into());
        index.shards[0].1.bytes += 1 << 20;
    };
    assert_eq!(with(strange), Ok(()));
    // One layer less than the configuration says.
    let mut less = whole.clone();
    less.weight_map.retain(|name, _| !name.contains("layers.10."));
    assert_eq!(description.check_index(&less).unwrap_err().code(), "tensor-missing");
}
