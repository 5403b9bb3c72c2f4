//! What the largest inputs take in memory, as the bounds on files and pictures promise.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/heap.rs"]
mod heap;

use std::path::Path;

use instructblip_web::image;
use instructblip_web::models::ModelConfig;
use instructblip_web::text::{MAX_PROMPT_BYTES, Tokenizers};
use serde_json::{Value, json};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// The most bytes that were on the heap at once while `f` ran, over those before.
fn bytes_of<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = heap::start();
    let value = f();
    (value, heap::most() - before)
}

/// One test: the counts are those of the whole process.
#[test]
fn the_largest_inputs_take_bounded_memory() {
    deep_pictures();
    profiles();
    the_worst_tokenizer();
}

/// A picture of 16 bits takes the bytes of its pixels in RGB, not of those in the file.
fn deep_pictures() {
    let (side, rgb) = (1500, 1500 * 1500 * 3);
    let png = png(side, png::BitDepth::Sixteen, &vec![0x55; (side * side * 8) as usize], None);
    let (picture, bytes) = bytes_of(|| image::decode(&png).unwrap());
    assert!(picture.as_raw().iter().all(|&v| v == 0x55));
    assert!(bytes < rgb + (1 << 20), "{bytes} bytes for {rgb}");
}

/// A profile of any size, in a file of some kB, takes none.
fn profiles() {
    let png = png(8, png::BitDepth::Eight, &[7; 8 * 8 * 4], Some(vec![0; 64 << 20]));
    assert!(png.len() < 1 << 20);
    let (picture, bytes) = bytes_of(|| image::decode(&png).unwrap());
    assert_eq!(picture.get_pixel(3, 3).0, [7; 3]);
    assert!(bytes < 4 << 20, "{bytes} bytes");
}

fn png(side: u32, depth: png::BitDepth, data: &[u8], profile: Option<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut info = png::Info::with_size(side, side);
    (info.color_type, info.bit_depth) = (png::ColorType::Rgba, depth);
    info.icc_profile = profile.map(Into::into);
    let encoder = png::Encoder::with_info(&mut out, info).unwrap();
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    out
}

/// The longest prompt, made a hundred times as long, and as many pieces as bytes.
fn the_worst_tokenizer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/pocket");
    let read = |name: &str| std::fs::read(root.join(name)).unwrap();
    let config = ModelConfig::parse(&read("config.json")).unwrap();
    let mut t5: Value = serde_json::from_slice(&read("tokenizer.json")).unwrap();
    let (pattern, content) = (json!({"String": "."}), ".".repeat(10));
    let dots = json!({"type": "Replace", "pattern": pattern, "content": content});
    t5["normalizer"] = json!({"type": "Sequence", "normalizers": [dots, dots]});
    t5["pre_tokenizer"] = json!({"type": "Punctuation", "behavior": "Isolated"});
    let (t5, bert) = (t5.to_string(), read("qformer_tokenizer/tokenizer.json"));
    let tokenizers = Tokenizers::new(t5.as_bytes(), Some(&bert), &config).unwrap();
    let prompt = ".".repeat(MAX_PROMPT_BYTES);
    let (encoded, bytes) = bytes_of(|| tokenizers.encode(&prompt).unwrap());
    assert!(encoded.truncated);
    assert!(bytes < 1 << 30, "{bytes} bytes");
}
