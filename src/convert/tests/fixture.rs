//! A checkpoint of a few kilobytes, and what the tests do with folders.

use crate::checkpoint::index::INDEX_FILE;
use crate::checkpoint::*;
use crate::convert::output::OutputFolder;
use crate::convert::shardset::{Layout, Slot, index_json, write_files};
use crate::convert::*;
use crate::error::Result;
use crate::models::ModelConfig;
use crate::quant::Format;
use crate::quant::testing::Normal;
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder that goes when the test ends.
pub(super) struct Temporary(PathBuf);

impl Temporary {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("instructblip-web-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const CONFIG: &str = r#"{"model_type":"instructblip","num_query_tokens":2,"torch_dtype":"bfloat16",
  "vision_config":{"hidden_size":8,"intermediate_size":64,"num_hidden_layers":1,"num_attention_heads":2,
    "image_size":8,"patch_size":4,"layer_norm_eps":1e-6,"hidden_act":"gelu","qkv_bias":true},
  "qformer_config":{"vocab_size":16,"hidden_size":32,"num_hidden_layers":1,"num_attention_heads":2,
    "intermediate_size":64,"max_position_embeddings":8,"cross_attention_frequency":2,"encoder_hidden_size":8},
  "text_config":{"model_type":"t5","vocab_size":40,"d_model":64,"d_kv":16,"d_ff":96,"num_layers":1,"num_decoder_layers":1,"num_heads":3,
    "feed_forward_proj":"gated-gelu","dense_act_fn":"gelu","is_gated_act":true,"tie_word_embeddings":false,"torch_dtype":"bfloat16"}}"#;

pub(super) const PATCH: &str = "vision_model.embeddings.patch_embedding.weight";
pub(super) const SHARED: &str = "language_model.shared.weight";

/// The model's tensors. The embedding that both stacks share is there twice, under the names of
/// its users, and a buffer of positions that is no weight.
fn slots() -> Vec<Slot> {
    let description = describe(&ModelConfig::parse(CONFIG.as_bytes()).unwrap()).unwrap();
    let slot = |name: &str, dtype, shape: &[usize]| Slot {
        name: name.into(),
        dtype,
        shape: shape.into(),
        follows: false,
    };
    let mut slots = Vec::new();
    for wanted in description.wanted() {
        match wanted.name.as_str() {
            SHARED => slots.extend(["decoder", "encoder"].map(|stack| {
                let name = format!("language_model.{stack}.embed_tokens.weight");
                slot(&name, Dtype::F32, &wanted.shape)
            })),
            PATCH => slots.push(slot(PATCH, Dtype::F16, &wanted.shape)),
            name if name.contains("lm_head") => {
                slots.push(slot(name, Dtype::BF16, &wanted.shape));
            }
            name => slots.push(slot(name, Dtype::F32, &wanted.shape)),
        }
    }
    slots.push(slot("qformer.embeddings.position_ids", Dtype::I64, &[1, 8]));
    slots
}

/// How many tensors the model has.
pub(super) fn count() -> usize {
    slots().len() - 2
}

/// Writes the checkpoint, in files of at most `limit` bytes; `change` may damage values.
pub(super) fn checkpoint_with(at: &Path, limit: u64, change: impl Fn(&str, &mut Vec<f32>)) {
    let slots = slots();
    let mut out = OutputFolder::create(at, Path::new("/"), false).unwrap();
    let file = |n: usize, all: usize, _: &str| match all {
        1 => "model.safetensors".to_owned(),
        _ => format!("model-{n}.safetensors"),
    };
    let files =
        write_files(&mut out, Layout { alignment: 1, limit }, &slots, file, |slot, write| {
            let seed = if slot.name.contains("embed_tokens") { 1 } else { slot.name.len() as u64 };
            let mut values = Normal::new(seed).take(slot.shape.iter().product());
            change(&slot.name, &mut values);
            let bytes: Vec<u8> = match slot.dtype {
                Dtype::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
                Dtype::F16 => {
                    values.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect()
                }
                Dtype::BF16 => {
                    values.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect()
                }
                _ => vec![0; slot.bytes() as usize],
            };
            write(&bytes)
        })
        .unwrap();
    if files.len() > 1 {
        out.write(INDEX_FILE, &index_json(&files, None).unwrap()).unwrap();
    }
    out.write("config.json", CONFIG.as_bytes()).unwrap();
    out.write("tokenizer.json", b"{}").unwrap();
    out.write("qformer_tokenizer/tokenizer.json", b"{\"a\":1}").unwrap();
    out.commit().unwrap();
}

pub(super) fn checkpoint(at: &Path, limit: u64) {
    checkpoint_with(at, limit, |_, _| ());
}

pub(super) fn go(_: &Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(super) fn converted(source: &Path, out: &Path, format: Format) -> Result<Summary> {
    convert(source, out, &ConvertOptions { limit: 8 << 10, ..ConvertOptions::new(format) }, &mut go)
}

/// All files of a folder with their bytes.
pub(super) fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().into(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

pub(super) fn floats(folder: &Path, name: &str) -> Vec<f32> {
    let source = Source::open(folder).unwrap();
    let wanted = source.description.get(name).unwrap();
    let rows = rows::Rows::of(&source, wanted).unwrap().unwrap();
    rows.read(0..rows.n).unwrap()
}

pub(super) fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    result.unwrap_err().code()
}
