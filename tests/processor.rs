//! The picture pipeline and both tokenizers against the reference's own numbers.
//!
//! Needs the oracle: set `INSTRUCTBLIP_ORACLE` to its folder. `cargo xtask test`
//! counts these tests as skipped without it, and runs them with it. From it are read `golden/*` (pictures as decoded, `pixel_values`,
//! token ids), the processor files of the model each golden was made with, and
//! `data/tokenizer_cases.json`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use instructblip_web::config::{GenerationConfig, PreprocessorConfig};
use instructblip_web::image::{RgbImage, decode, preprocess};
use instructblip_web::models::ModelConfig;
use instructblip_web::text::Tokenizers;
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn oracle() -> PathBuf {
    std::env::var_os("INSTRUCTBLIP_ORACLE").expect("INSTRUCTBLIP_ORACLE is set").into()
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn model_config(folder: &Path) -> ModelConfig {
    ModelConfig::parse(&read(folder.join("config.json"))).unwrap()
}

fn tokenizers(folder: &Path) -> Tokenizers {
    let qformer = read(folder.join("qformer_tokenizer/tokenizer.json"));
    Tokenizers::new(&read(folder.join("tokenizer.json")), Some(&qformer), &model_config(folder))
        .unwrap()
}

/// The models whose goldens are read, by how the goldens' names begin; the oracle has others.
const MODELS: [(&str, &str); 3] = [("nano", "nano"), ("nanoeos", "nano_eos"), ("tiny", "tiny")];

/// Those whose pictures alone are: CLIP's and SigLIP's processors, and BLIP's before other models.
const OF_PICTURES: [(&str, &str); 6] = [
    ("nanollava", "nano_llava"),
    ("nanoqwen", "nano_llava_qwen"),
    ("tinyllava", "tiny_llava"),
    ("nanovicuna", "nano_vicuna"),
    ("nanoopt", "nano_blip2_opt"),
    ("nanominigpt4", "nano_minigpt4"),
];

/// Every golden's name and the folder of the model it was made with.
fn goldens(oracle: &Path, models: &[(&str, &str)]) -> Vec<(String, PathBuf)> {
    let mut found: Vec<(String, PathBuf)> = std::fs::read_dir(oracle.join("golden"))
        .unwrap()
        .filter_map(|entry| {
            let file = entry.unwrap().file_name();
            let name = file.to_str()?.strip_suffix(".safetensors")?;
            let (_, model) =
                models.iter().find(|(begin, _)| name.split('_').next() == Some(begin))?;
            Some((name.to_owned(), oracle.join("models").join(model)))
        })
        .collect();
    found.sort();
    assert!(found.len() > models.len(), "{found:?}");
    found
}

#[test]
#[ignore = "needs INSTRUCTBLIP_ORACLE"]
fn pixel_values_equal_the_reference_s_bit_for_bit() {
    let oracle = oracle();
    for (name, folder) in goldens(&oracle, &[&MODELS[..], &OF_PICTURES].concat()) {
        let bytes = read(oracle.join(format!("golden/{name}.safetensors")));
        let golden = SafeTensors::deserialize(&bytes).unwrap();
        let picture = golden.tensor("image_rgb_u8").unwrap();
        let (height, width) = (picture.shape()[0], picture.shape()[1]);
        let rgb = RgbImage::from_raw(width as u32, height as u32, picture.data().to_vec()).unwrap();

        let config =
            PreprocessorConfig::parse(&read(folder.join("preprocessor_config.json"))).unwrap();
        let model: Value = serde_json::from_slice(&read(folder.join("config.json"))).unwrap();
        let side = model["vision_config"]["image_size"].as_u64().unwrap();
        config.check_fits(side as usize).unwrap();
        let got = preprocess(&rgb, &config);

        let want = golden.tensor("pixel_values").unwrap();
        assert_eq!(want.shape(), [1, 3, got.height, got.width]);
        let want: Vec<f32> =
            want.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let differing =
            got.data.iter().zip(&want).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        let worst = got.data.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        println!(
            "{name}: {width} x {height}, {} values, {differing} not bit-equal, largest difference {worst:e}",
            want.len()
        );
        assert_eq!(got.data.len(), want.len());
        assert_eq!(differing, 0, "{name}");
    }
}

#[test]
#[ignore = "needs INSTRUCTBLIP_ORACLE"]
fn token_ids_and_answers_equal_the_goldens() {
    let oracle = oracle();
    for (name, folder) in goldens(&oracle, &MODELS) {
        let tokenizers = tokenizers(&folder);
        let golden: Value =
            serde_json::from_slice(&read(oracle.join(format!("golden/{name}.json")))).unwrap();
        let encoded = tokenizers.encode(golden["prompt"].as_str().unwrap()).unwrap();
        let config = model_config(&folder);
        let picture = vec![config.image_token_index.unwrap(); config.bridge_config.tokens()];
        assert_eq!([picture, encoded.language.0].concat(), ids(&golden["input_ids"]), "{name}");
        assert_eq!(encoded.qformer.0, ids(&golden["qformer_input_ids"]), "{name}");

        let answer = ids(&golden["greedy"]);
        assert_eq!(
            tokenizers.decode(&answer).unwrap(),
            golden["greedy_text"].as_str().unwrap(),
            "{name}"
        );
        let mut stream = tokenizers.stream();
        let pieces: String =
            answer.iter().map(|&id| stream.push(&tokenizers, id).unwrap()).collect();
        assert_eq!(pieces, golden["greedy_text"].as_str().unwrap(), "{name}");
    }
}

#[test]
#[ignore = "needs INSTRUCTBLIP_ORACLE"]
fn tokenizer_cases_are_equal() {
    let oracle = oracle();
    // The tokenizers of `data` have no configuration of their own; the models' is the same size.
    let config = model_config(&oracle.join("models/nano"));
    let bert = read(oracle.join("data/bert/hf-dec/tokenizer.json"));
    let plain =
        Tokenizers::new(&read(oracle.join("data/t5/hf/tokenizer.json")), Some(&bert), &config)
            .unwrap();
    let cases: Vec<Value> =
        serde_json::from_slice(&read(oracle.join("data/tokenizer_cases.json"))).unwrap();
    for tokenizers in [plain, tokenizers(&oracle.join("models/nano"))] {
        for case in &cases {
            let text = case["text"].as_str().unwrap();
            let encoded = tokenizers.encode_any(text).unwrap();
            assert_eq!(encoded.language.0, ids(&case["t5"]), "{text:?}");
            assert_eq!(encoded.qformer.0, ids(&case["bert"]), "{text:?}");
            assert_eq!(tokenizers.encode(text).is_err(), text.trim().is_empty(), "{text:?}");

            let mut stream = tokenizers.stream();
            let mut pieces: String = encoded
                .language
                .0
                .iter()
                .map(|&id| stream.push(&tokenizers, id).unwrap())
                .collect();
            pieces += &stream.finish(&tokenizers).unwrap();
            assert_eq!(pieces, tokenizers.decode(&encoded.language.0).unwrap(), "{text:?}");
        }
    }
    println!("{} cases equal", cases.len());
}

#[test]
#[ignore = "needs INSTRUCTBLIP_ORACLE"]
fn every_model_folder_s_files_are_read() {
    let oracle = oracle();
    for model in ["nano", "nano_eos", "nano_sharded", "tiny"] {
        let folder = oracle.join("models").join(model);
        let config = model_config(&folder);
        assert!(config.bridge_config.instruction().is_some(), "{model}");
        GenerationConfig::parse(&read(folder.join("generation_config.json"))).unwrap();
    }
}

#[test]
#[ignore = "needs INSTRUCTBLIP_ORACLE"]
fn pictures_decode_as_the_reference_saw_them() {
    let oracle = oracle();
    for (name, _) in goldens(&oracle, &MODELS) {
        let golden: Value =
            serde_json::from_slice(&read(oracle.join(format!("golden/{name}.json")))).unwrap();
        let file = golden["image"].as_str().unwrap();
        let got = decode(&read(oracle.join(file))).unwrap();
        let bytes = read(oracle.join(format!("golden/{name}.safetensors")));
        let golden = SafeTensors::deserialize(&bytes).unwrap();
        let want = golden.tensor("image_rgb_u8").unwrap();
        assert_eq!(want.shape(), [got.height() as usize, got.width() as usize, 3]);
        let worst =
            got.as_raw().iter().zip(want.data()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let differing = got.as_raw().iter().zip(want.data()).filter(|(a, b)| a != b).count();
        println!(
            "{file}: {differing} of {} bytes differ, by at most {worst} levels",
            want.data().len()
        );
        let config = PreprocessorConfig::parse(b"{}").unwrap();
        let golden = RgbImage::from_raw(got.width(), got.height(), want.data().to_vec()).unwrap();
        let (a, b) = (preprocess(&got, &config), preprocess(&golden, &config));
        let apart = a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        println!("{file}: pixel_values of the file differ by at most {apart}");
        // PNG is exact. JPEG leaves the decoder some freedom.
        assert!(worst <= if file.ends_with(".png") { 0 } else { 8 }, "{file}: {worst} levels");
    }
}
