//! Random checkpoints in exactly the real layout, of any size: what the loader, the converter and
//! the kernels are tried on where no trained weights are at hand.
//!
//! A weight is a function of the seed, its tensor's name and its place, so that the bytes do not
//! depend on the number of threads or on the other tensors. Its scale follows from its role and
//! its spread, which the model says, so that activations stay finite through all layers and logits
//! differ: fan-in for products, norms around 1.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use half::slice::HalfFloatSliceExt;
use serde_json::{Value, json};

use super::journal::Start;
use super::output::OutputFolder;
use super::shardset::{Layout, Slot, index_json, plain_name, write_files};
use super::{Meter, Progress, Summary, describe, small_files};
use crate::checkpoint::Dtype;
use crate::checkpoint::index::INDEX_FILE;
use crate::error::{Error, Result};
use crate::models::ModelConfig;
use crate::random::{STEP, mix};
use crate::weights::{Role, Wanted};

/// What to make.
#[derive(Debug, Clone)]
pub struct SynthOptions {
    /// The model's `config.json`; see [`named_config`].
    pub config: Vec<u8>,
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// F16, BF16 or F32.
    pub dtype: Dtype,
    /// A folder with tokenizers and processor files to copy, where wanted.
    pub tokenizers: Option<PathBuf>,
    /// Whether a checkpoint in the output folder is replaced.
    pub force: bool,
    /// Most bytes of tensor data in a file; 0 for 5 GB, as transformers cuts.
    pub limit: u64,
}

/// The sizes that [`named_config`] knows.
pub const SIZES: [&str; 3] = ["flan-t5-xl", "flan-t5-xxl", "mini"];
const FILE_LIMIT: u64 = 5_000_000_000;
/// Weights made at a time.
const BLOCK: usize = 1 << 20;

/// `config.json` of a published size, or of `mini`: small, with the published head widths (88 and
/// 64) and widths that are multiples of 32.
///
/// # Errors
/// There is no such size.
pub fn named_config(size: &str) -> Result<Vec<u8>> {
    let text = |d_model: usize, d_ff: usize, heads: usize, layers: usize| {
        json!({
            "model_type": "t5", "vocab_size": 32128, "d_model": d_model, "d_kv": 64, "d_ff": d_ff,
            "num_heads": heads, "num_layers": layers, "num_decoder_layers": layers,
            "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
            "feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu", "is_gated_act": true,
            "layer_norm_epsilon": 1e-6, "tie_word_embeddings": false, "decoder_start_token_id": 0,
            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
        })
    };
    let vision = |hidden: usize, inner: usize, layers: usize, heads: usize| {
        json!({
            "model_type": "instructblip_vision_model", "hidden_size": hidden,
            "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
            "image_size": 224, "patch_size": 14, "layer_norm_eps": 1e-6, "hidden_act": "gelu",
            "qkv_bias": true,
        })
    };
    let qformer = |hidden: usize, inner: usize, layers: usize, heads: usize, image: usize| {
        json!({
            "model_type": "instructblip_qformer", "vocab_size": 30523, "hidden_size": hidden,
            "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
            "max_position_embeddings": 512, "cross_attention_frequency": 2,
            "encoder_hidden_size": image, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
            "position_embedding_type": "absolute",
        })
    };
    let giant = || (vision(1408, 6144, 39, 16), qformer(768, 3072, 12, 12, 1408));
    let ((vision, qformer), text) = match size {
        "flan-t5-xl" => (giant(), text(2048, 5120, 32, 24)),
        "flan-t5-xxl" => (giant(), text(4096, 10240, 64, 24)),
        "mini" => ((vision(352, 1408, 4, 4), qformer(256, 1024, 4, 4, 352)), text(512, 1280, 8, 4)),
        _ => {
            return Err(Error::OptionInvalid {
                option: "size".into(),
                reason: format!("{size:?} is not one of {}", SIZES.join(", ")),
            });
        }
    };
    let config = json!({
        "architectures": ["InstructBlipForConditionalGeneration"], "model_type": "instructblip",
        "num_query_tokens": 32, "image_token_index": 32100, "vision_config": vision,
        "qformer_config": qformer, "text_config": text,
    });
    to_json(&config)
}

/// Writes a random checkpoint to `out`, a tensor at a time.
///
/// `progress` is called after every block; where it breaks, everything written is removed.
///
/// # Errors
/// The configuration is invalid, `dtype` holds no weights, `out` is not empty or cannot be
/// written, or it was cancelled.
pub fn synth(
    out: &Path,
    options: &SynthOptions,
    progress: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
) -> Result<Summary> {
    let config = ModelConfig::parse(&options.config)?;
    let dtype = options.dtype;
    let name_of_dtype = match dtype {
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        Dtype::F32 => "float32",
        _ => {
            return Err(Error::OptionInvalid {
                option: "dtype".into(),
                reason: format!("{dtype} is not f16, bf16 or f32"),
            });
        }
    };
    let description = describe(&config)?;
    let slot = |wanted: &Wanted| {
        let (name, shape) = (wanted.name.clone(), wanted.shape.clone());
        Slot { name, dtype, shape, follows: false }
    };
    let slots: Vec<Slot> = description.wanted().iter().map(slot).collect();
    let source = options.tokenizers.as_deref().unwrap_or(Path::new(""));
    let mut output = OutputFolder::create(out, source, options.force)?;
    let limit = if options.limit == 0 { FILE_LIMIT } else { options.limit };
    let mut meter = Meter::new(slots.iter().map(Slot::bytes).sum(), Start::Fresh, progress);
    let files = write_files(
        &mut output,
        Layout { alignment: 1, limit },
        &slots,
        plain_name,
        |slot, write| {
            let missing = || Error::TensorMissing { name: slot.name.clone() };
            let wanted = description.get(&slot.name).ok_or_else(missing)?;
            let noise = Noise::of(wanted, options.seed);
            let count = wanted.parameters() as usize;
            for first in (0..count).step_by(BLOCK) {
                let bytes = noise.bytes(first, BLOCK.min(count - first), dtype);
                write(&bytes)?;
                meter.wrote(&slot.name, bytes.len())?;
            }
            Ok(())
        },
    )?;
    if files.len() > 1 {
        output.write(INDEX_FILE, &index_json(&files, None)?)?;
    }
    if let Some(folder) = &options.tokenizers {
        small_files::copy_tokenizers(folder, &mut output)?;
    }
    let mut json: Value = serde_json::from_slice(&options.config).map_err(|error| {
        Error::ConfigInvalid { file: "config.json".into(), reason: error.to_string() }
    })?;
    json["dtype"] = name_of_dtype.into();
    output.write("config.json", &to_json(&json)?)?;
    let size = config.vision_config.image_size();
    output.write("preprocessor_config.json", &to_json(&preprocessor(size))?)?;
    let summary = Summary {
        tensors: slots.len(),
        left_out: 0,
        source_bytes: 0,
        files: files.len(),
        bytes: files.iter().map(|(_, info, _)| info.bytes).sum(),
    };
    output.commit()?;
    Ok(summary)
}

/// The published processor, for another size of picture.
fn preprocessor(size: usize) -> Value {
    json!({
        "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
        "image_mean": [0.481_454_66, 0.457_827_5, 0.408_210_73],
        "image_std": [0.268_629_54, 0.261_302_58, 0.275_777_11],
        "image_processor_type": "BlipImageProcessor", "processor_class": "InstructBlipProcessor",
        "resample": 3, "rescale_factor": 0.003_921_568_627_450_98,
        "size": { "height": size, "width": size },
    })
}

fn to_json(value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|error| Error::Internal { reason: error.to_string() })
}

/// How one tensor is filled: `mean + scale * noise`.
struct Noise {
    key: u64,
    mean: f32,
    scale: f32,
}

impl Noise {
    fn of(wanted: &Wanted, seed: u64) -> Self {
        let fan_in = wanted.rows().1.max(1) as f32;
        let (mean, scale) = match wanted.role {
            Role::Product => (0.0, fan_in.powf(-0.5)),
            Role::Embedding => (0.0, 1.0),
            Role::Gain => (1.0, 0.1),
            Role::Bias => (0.0, 0.05),
            Role::Learned => (0.0, 0.5),
        };
        // FNV-1a of the name, mixed with the seed.
        let hash = wanted.name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { key: mix(seed ^ mix(hash)), mean, scale: scale * wanted.spread }
    }

    /// Weights `first..first + count`, little-endian, made on two threads.
    fn bytes(&self, first: usize, count: usize, dtype: Dtype) -> Vec<u8> {
        let mut bytes = vec![0; count * dtype.size()];
        let half = count.div_ceil(2);
        std::thread::scope(|scope| {
            for (part, chunk) in bytes.chunks_mut(half.max(1) * dtype.size()).enumerate() {
                scope.spawn(move || self.fill(first + part * half, chunk, dtype));
            }
        });
        bytes
    }

    fn fill(&self, first: usize, bytes: &mut [u8], dtype: Dtype) {
        let values: Vec<f32> =
            (first..first + bytes.len() / dtype.size()).map(|at| self.value(at)).collect();
        match dtype {
            Dtype::F16 => {
                let mut halves = vec![half::f16::ZERO; values.len()];
                halves.convert_from_f32_slice(&values);
                bytes.copy_from_slice(bytemuck::cast_slice(&halves));
            }
            Dtype::BF16 => {
                let mut halves = vec![half::bf16::ZERO; values.len()];
                halves.convert_from_f32_slice(&values);
                bytes.copy_from_slice(bytemuck::cast_slice(&halves));
            }
            _ => bytes.copy_from_slice(bytemuck::cast_slice(&values)),
        }
    }

    fn value(&self, at: usize) -> f32 {
        // Four 16-bit uniforms: their sum is close to normal, and sqrt(3) makes its variance 1.
        let bits = mix(self.key.wrapping_add((at as u64).wrapping_mul(STEP)));
        let sum: u32 = (0..4).map(|part| (bits >> (16 * part)) as u32 & 0xffff).sum();
        let noise = (sum as f32 / 65_536.0 - 2.0 + 2.0 / 65_536.0) * 3.0f32.sqrt();
        self.mean + self.scale * noise
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::checkpoint::Folder;

    fn small() -> SynthOptions {
        let mut config: Value = serde_json::from_slice(&named_config("mini").unwrap()).unwrap();
        for (path, value) in [
            ("/vision_config/num_hidden_layers", 1),
            ("/qformer_config/num_hidden_layers", 2),
            ("/qformer_config/vocab_size", 64),
            ("/text_config/vocab_size", 96),
            ("/text_config/num_layers", 1),
            ("/text_config/num_decoder_layers", 1),
        ] {
            *config.pointer_mut(path).unwrap() = value.into();
        }
        config["image_token_index"] = 95.into();
        SynthOptions {
            config: serde_json::to_vec(&config).unwrap(),
            seed: 7,
            dtype: Dtype::BF16,
            tokenizers: None,
            force: false,
            limit: 4 << 20,
        }
    }

    fn make(options: &SynthOptions) -> (tempfile::TempDir, Summary) {
        let out = tempfile::tempdir().unwrap();
        let summary = synth(out.path(), options, &mut |_| ControlFlow::Continue(())).unwrap();
        (out, summary)
    }

    #[test]
    fn the_published_size_has_the_published_numbers() {
        let config = ModelConfig::parse(&named_config("flan-t5-xl").unwrap()).unwrap();
        let description = describe(&config).unwrap();
        assert_eq!(description.wanted().len(), 1363);
        assert_eq!(description.parameters(), 4_022_969_088);
        for size in SIZES {
            ModelConfig::parse(&named_config(size).unwrap()).unwrap();
        }
        assert_eq!(named_config("huge").unwrap_err().code(), "option-invalid");
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let read = |folder: &tempfile::TempDir, name: &str| {
            let folder = Folder::open(folder.path()).unwrap();
            folder.tensor(name).unwrap().read().unwrap()
        };
        let (first, summary) = make(&small());
        assert!(summary.files > 1);
        let (again, _) = make(&small());
        let (other, _) = make(&SynthOptions { seed: 8, ..small() });
        let name = "language_model.lm_head.weight";
        assert_eq!(read(&first, name), read(&again, name));
        assert_ne!(read(&first, name), read(&other, name));
        assert_ne!(read(&first, name), read(&first, "language_model.shared.weight"));
    }

    #[test]
    fn noise_has_mean_zero_and_variance_one() {
        let noise = Noise { key: 5, mean: 0.0, scale: 1.0 };
        let values: Vec<f64> = (0..100_000).map(|at| f64::from(noise.value(at))).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn other_types_and_cancelling_leave_nothing() {
        let out = tempfile::tempdir().unwrap();
        let wrong = SynthOptions { dtype: Dtype::I64, ..small() };
        let error = synth(out.path(), &wrong, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!(error.code(), "option-invalid");
        let error = synth(out.path(), &small(), &mut |_| ControlFlow::Break(())).unwrap_err();
        assert_eq!(error.code(), "cancelled");
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    }
}
