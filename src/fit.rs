//! Whether a model fits a GPU, told before it is downloaded.
//!
//! In: `config.json`, the index of the shard set, and the GPU's limits. Out: the bytes that the
//! model [needs](Needs), or an error that names a smaller format. WebGPU tells limits, but not how
//! much memory there is; whether that suffices shows when it is allocated.

use std::fmt;

use crate::checkpoint::Index;
use crate::checkpoint::index::INDEX_FILE;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::models::ModelConfig;
use crate::quant::Format;
use crate::text::MAX_QFORMER_TOKENS;
use crate::weights::Description;

/// What the shards of any model may have beyond its weights, and what is asked of a GPU at a time:
/// headers, fillers, and tensors that no model reads.
pub const SPARE_BYTES: u64 = 256 << 20;

/// Compares what an index claims with the model that the configuration describes: an index of a
/// few kB can claim terabytes, and asking a GPU for those may end it for every page.
///
/// # Errors
/// [`Error::IndexInvalid`] where it claims far more.
pub fn check_claim(description: &Description, index: &Index) -> Result<()> {
    let (claimed, weights) = (index.shard_bytes(), description.weight_bytes());
    if claimed <= weights + weights / 8 + SPARE_BYTES {
        return Ok(());
    }
    Err(Error::IndexInvalid {
        file: INDEX_FILE.into(),
        reason: format!(
            "its shards have {}, but the model that config.json describes has {}. These files do not belong together; convert the checkpoint again",
            Size(claimed),
            Size(weights)
        ),
    })
}

/// What one buffer may be, of the limits of a WebGPU device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimits {
    /// `maxBufferSize`: bytes of a buffer.
    pub max_buffer_size: u64,
    /// `maxStorageBufferBindingSize`: bytes of it that a kernel may see.
    pub max_storage_buffer_binding_size: u64,
}

impl BufferLimits {
    fn largest(self) -> u64 {
        self.max_buffer_size.min(self.max_storage_buffer_binding_size)
    }
}

/// Bytes that a model needs on the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// All weights.
    pub weights: u64,
    /// The largest weight. A shard over 32 MiB holds a single tensor, so it is the largest shard.
    pub largest_weight: u64,
    /// Intermediate values of the widest stage.
    pub activations: u64,
    /// Keys and values of the decoder, for the longest question and the usual longest answer.
    pub kv_cache: u64,
    format: Format,
}

impl Needs {
    /// What the shard set `index` of the model `config` needs.
    #[must_use]
    pub fn of(config: &ModelConfig, index: &Index) -> Self {
        let (bridge, language) = (&config.bridge_config, &config.text_config);
        let prompt = bridge.tokens() + language.max_prompt_tokens();
        let activations = [
            config.vision_config.stage_bytes(),
            bridge.stage_bytes(MAX_QFORMER_TOKENS),
            language.stage_bytes(prompt),
        ];
        Self {
            weights: index.shard_bytes(),
            largest_weight: index.shards.iter().map(|(_, shard)| shard.bytes).max().unwrap_or(0),
            activations: activations.into_iter().max().unwrap_or(0),
            kv_cache: (prompt + Settings::default().max_new_tokens) as u64 * language.cache_bytes(),
            format: config.quantization_config.as_ref().map_or(Format::F32, |packed| packed.format),
        }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.weights + self.activations + self.kv_cache
    }

    /// # Errors
    /// [`Error::ModelTooLarge`] where a weight is larger than a buffer may be.
    pub fn check(&self, limits: BufferLimits) -> Result<()> {
        let (largest, limit) = (self.largest_weight, limits.largest());
        if largest <= limit {
            return Ok(());
        }
        let would_fit = |format: &Format| self.scaled(largest, *format) <= limit;
        let advice = match self.narrower().find(would_fit) {
            Some(format) => self.advise(format),
            None => "No format that `instructblip convert` writes would fit.".into(),
        };
        Err(Error::ModelTooLarge {
            reason: format!(
                "one of its tensors has {}, and this GPU takes at most {} at a time",
                Size(largest),
                Size(limit)
            ),
            advice,
        })
    }

    /// The error for a GPU whose memory does not suffice.
    #[must_use]
    pub fn out_of_memory(&self) -> Error {
        let mut advice = format!(
            "The model needs about {} on the GPU, {} of it for its weights ({}). Close other tabs and programs that use the GPU.",
            Size(self.total()),
            Size(self.weights),
            self.format
        );
        if let Some(format) = self.narrower().last() {
            advice.push(' ');
            advice.push_str(&self.advise(format));
        }
        Error::OutOfMemory { advice }
    }

    fn advise(&self, format: Format) -> String {
        let rest = self.total() - self.weights;
        let total = self.scaled(self.weights, format) + rest;
        format!("Converted with `--quant {format}` it would need about {}.", Size(total))
    }

    fn narrower(&self) -> impl Iterator<Item = Format> {
        let own = self.format;
        Format::ALL.into_iter().filter(move |format| format.group_bits() < own.group_bits())
    }

    /// About what `bytes` of this model's format would be in another.
    fn scaled(&self, bytes: u64, format: Format) -> u64 {
        bytes / self.format.group_bits() * format.group_bits()
    }
}

/// Bytes for people, in decimal units.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ 1_000_000_000.. => write!(f, "{:.1} GB", bytes as f64 / 1e9),
            bytes => write!(f, "{:.0} MB", (bytes as f64 / 1e6).max(1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::checkpoint::ShardInfo;
    use crate::config::QuantizationConfig;

    /// The defaults that every WebGPU device has.
    const DEFAULTS: BufferLimits =
        BufferLimits { max_buffer_size: 256 << 20, max_storage_buffer_binding_size: 128 << 20 };

    /// The sizes of the first published model, in shards of these bytes.
    fn needs(format: Option<Format>, shards: &[u64]) -> Needs {
        let mut config = ModelConfig::parse(
            br#"{"model_type":"instructblip","text_config":{"model_type":"t5","d_model":2048,
                "d_kv":64,"d_ff":5120,"num_heads":32,"num_layers":24,
                "feed_forward_proj":"gated-gelu","tie_word_embeddings":false}}"#,
        )
        .unwrap();
        config.quantization_config = format.map(QuantizationConfig::new);
        let shard = |(at, bytes): (usize, &u64)| {
            let info = ShardInfo { bytes: *bytes, sha256: String::new() };
            (format!("{at}.safetensors"), info)
        };
        let shards = shards.iter().enumerate().map(shard).collect();
        Needs::of(&config, &Index { shards, ..Index::default() })
    }

    #[test]
    fn adds_up_what_the_full_size_needs() {
        let needs = needs(Some(Format::Q4), &[32 << 20; 68]);
        assert_eq!(needs.weights, 68 * (32 << 20));
        // 24 layers, keys and values, 32 + 512 + 256 positions of 32 x 64 floats.
        assert_eq!(needs.kv_cache, 24 * 2 * 800 * 2048 * 4);
        assert!(needs.activations > 257 * 6144 * 4 && needs.activations < 64 << 20);
        assert_eq!(needs.total(), needs.weights + needs.activations + needs.kv_cache);
        assert!(needs.check(DEFAULTS).is_ok());
    }

    #[test]
    fn an_index_may_not_claim_what_the_configuration_does_not_imply() {
        let config = |format| {
            let packed = format!(
                r#""quantization_config":{{"quant_method":"instructblip-web","format":"{format}","group_size":32}}"#
            );
            let json = format!(
                r#"{{"model_type":"instructblip","text_config":{{"model_type":"t5","d_model":2048,
                "d_kv":64,"d_ff":5120,"num_heads":32,"num_layers":24,
                "feed_forward_proj":"gated-gelu","tie_word_embeddings":false}},{packed}}}"#
            );
            crate::convert::describe(&ModelConfig::parse(json.as_bytes()).unwrap()).unwrap()
        };
        let claim = |bytes: u64| {
            let info = ShardInfo { bytes, sha256: String::new() };
            Index { shards: vec![("x.safetensors".into(), info)], ..Index::default() }
        };
        // As published, but for the one word piece that its Q-Former's vocabulary has more.
        assert_eq!(config("f32").weight_bytes(), 4_022_968_320 * 4);
        let q4 = config("q4").weight_bytes();
        assert!((2_250_000_000..2_300_000_000).contains(&q4), "{q4}");
        for (bytes, accepted) in [
            (0, true),
            (q4 + q4 / 100, true),
            (q4 + q4 / 8 + SPARE_BYTES, true),
            (q4 + q4 / 8 + SPARE_BYTES + 1, false),
            (53_700_000_000, false),
            (u64::MAX, false),
        ] {
            let checked = check_claim(&config("q4"), &claim(bytes));
            assert_eq!(checked.is_ok(), accepted, "{bytes}");
            if let Err(error) = checked {
                assert_eq!(error.code(), "index-invalid");
                assert!(error.to_string().contains("2.3 GB"), "{error}");
            }
        }
    }

    #[test]
    fn a_tensor_may_be_as_large_as_a_binding() {
        assert!(needs(Some(Format::Q8), &[128 << 20]).check(DEFAULTS).is_ok());
        let small = BufferLimits { max_buffer_size: 64 << 20, ..DEFAULTS };
        assert!(needs(Some(Format::Q8), &[128 << 20]).check(small).is_err());
    }

    #[test]
    fn a_tensor_that_is_too_large_is_said_with_the_format_that_fits() {
        let f16 = needs(Some(Format::F16), &[134_217_729, 66_000_000]);
        let error = f16.check(DEFAULTS).unwrap_err();
        assert_eq!(error.code(), "model-too-large");
        let sentence = error.to_string();
        assert!(sentence.contains("has 134 MB, and this GPU takes at most 134 MB"), "{sentence}");
        assert!(sentence.contains("`--quant q8`"), "{sentence}");
        let q4 = needs(Some(Format::Q4), &[300 << 20]).check(DEFAULTS).unwrap_err().to_string();
        assert!(q4.contains("No format"), "{q4}");
        let f32 = needs(None, &[600 << 20]).check(DEFAULTS).unwrap_err().to_string();
        assert!(f32.contains("`--quant q4`"), "{f32}");
    }

    #[test]
    fn too_little_memory_names_the_smallest_format() {
        let error = needs(Some(Format::Q8), &[100_000_000; 43]).out_of_memory();
        assert_eq!(error.code(), "out-of-memory");
        let sentence = error.to_string();
        assert!(sentence.contains("4.3 GB of it for its weights (q8)"), "{sentence}");
        assert!(sentence.contains("`--quant q4` it would need about 2.6 GB"), "{sentence}");
        let smallest = needs(Some(Format::Q4), &[100_000_000]).out_of_memory().to_string();
        assert!(!smallest.contains("--quant"), "{smallest}");
    }
}
