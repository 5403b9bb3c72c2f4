//! One error type for the whole crate.
//!
//! Every variant has a stable [code](Error::code) that is the same in Rust, in JavaScript
//! (`error.code`) and on the page, and a sentence that says what happened and what to do.

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, from the bytes of a picture to a lost GPU.
///
/// The sentences quote names and texts of files as they are: whoever prints one to a terminal
/// escapes its control characters first, as the command line does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The picture's file is empty.
    #[error("The picture is empty (0 bytes). Choose another file.")]
    PictureEmpty,
    /// The bytes are not a picture in a supported format.
    #[error(
        "This file is not a picture that can be read ({reason}). Use PNG, JPEG, WebP, GIF or BMP."
    )]
    PictureUndecodable {
        /// What the decoder said.
        reason: String,
    },
    /// The picture has more pixels than are decoded.
    #[error(
        "The picture has {width} x {height} pixels; at most {limit_megapixels} megapixels and 65,535 pixels a side are read. Make it smaller first."
    )]
    PictureTooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The limit in megapixels.
        limit_megapixels: u32,
    },
    /// A configuration file is malformed or asks for something unsupported.
    #[error("{file}: {reason}")]
    ConfigInvalid {
        /// The file, such as `config.json`.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A safetensors file is truncated or its header lies.
    #[error("{file} is not a valid safetensors file: {reason}. Download or convert it again.")]
    CheckpointHeader {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The index of a sharded checkpoint is malformed or names a file outside its folder.
    #[error("{file}: {reason}")]
    IndexInvalid {
        /// The index file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint lacks a tensor.
    #[error(
        "The checkpoint lacks the tensor {name}, which a model with its config.json has. Download or convert it again."
    )]
    TensorMissing {
        /// The tensor's name.
        name: String,
    },
    /// A tensor's shape or type is not what the configuration implies.
    #[error(
        "Tensor {name}: expected {expected}, found {found}. The checkpoint does not fit its config.json."
    )]
    TensorShape {
        /// The tensor's name.
        name: String,
        /// Shape or type implied by the configuration.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// A tensor holds a value that the chosen format cannot store.
    #[error("Tensor {name}: {reason}. Choose a wider format for it, or repair the checkpoint.")]
    TensorValue {
        /// The tensor's name.
        name: String,
        /// Which value, and why.
        reason: String,
    },
    /// A tokenizer file is malformed or does not fit the model's vocabulary.
    #[error("{file}: {reason}")]
    TokenizerInvalid {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The question has no text.
    #[error("The question is empty. Type a question about the picture.")]
    QuestionEmpty,
    /// A question was asked before a picture was given.
    #[error("There is no picture yet. Choose a picture first.")]
    PictureMissing,
    /// An option of a request is out of its range.
    #[error("{option}: {reason}")]
    OptionInvalid {
        /// The option's name.
        option: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of a data set, or of a file of answers, is malformed.
    #[error("{file}, line {line}: {reason}")]
    DataInvalid {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The browser has no WebGPU.
    #[error(
        "This browser has no WebGPU. Use a current Chrome, Edge, Safari or Firefox, over https or on localhost."
    )]
    WebGpuMissing,
    /// WebGPU is there, but no GPU adapter.
    #[error(
        "No GPU adapter was found ({reason}). Update the graphics driver, or turn on hardware acceleration in the browser's settings."
    )]
    AdapterMissing {
        /// What the GPU interface said.
        reason: String,
    },
    /// The GPU device was lost while in use.
    #[error(
        "The GPU was lost ({reason}). The model has to be loaded again; its files are still in the cache."
    )]
    DeviceLost {
        /// What the GPU interface said.
        reason: String,
    },
    /// The model does not fit the GPU's limits.
    #[error("The model does not fit this GPU: {reason}. {advice}")]
    ModelTooLarge {
        /// Which limit, and what the model needs.
        reason: String,
        /// Which smaller format would fit.
        advice: String,
    },
    /// The GPU has no memory left.
    #[error("The GPU ran out of memory. {advice}")]
    OutOfMemory {
        /// What the model needs, and what to do.
        advice: String,
    },
    /// The GPU refused an allocation, a pipeline or a launch.
    #[error("The GPU refused an operation: {reason}")]
    Gpu {
        /// What the GPU interface said.
        reason: String,
    },
    /// A file could not be fetched.
    #[error("Could not fetch {url}: {reason}")]
    Network {
        /// The address.
        url: String,
        /// Status code or the network's message.
        reason: String,
    },
    /// A host answers, but does not let this page read what it sends.
    #[error(
        "{url} cannot be read from this page: its host must send the header Access-Control-Allow-Origin: {origin} (or *)."
    )]
    CorsMissing {
        /// The address.
        url: String,
        /// The page's origin.
        origin: String,
    },
    /// A shard's bytes do not have the length or hash that the index promises.
    #[error(
        "{file} is damaged: {reason}. Download or convert the model again; a host may be serving a broken copy."
    )]
    ShardCorrupt {
        /// The shard.
        file: String,
        /// Which check failed.
        reason: String,
    },
    /// The user cancelled.
    #[error("Cancelled.")]
    Cancelled,
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// Something this crate promised itself did not hold.
    #[error("Internal error: {reason}. Please report it.")]
    Internal {
        /// What did not hold.
        reason: String,
    },
}

impl Error {
    /// The stable code, the same in JavaScript and on the page.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::PictureEmpty => "picture-empty",
            Self::PictureUndecodable { .. } => "picture-undecodable",
            Self::PictureTooLarge { .. } => "picture-too-large",
            Self::ConfigInvalid { .. } => "config-invalid",
            Self::CheckpointHeader { .. } => "checkpoint-header",
            Self::IndexInvalid { .. } => "index-invalid",
            Self::TensorMissing { .. } => "tensor-missing",
            Self::TensorShape { .. } => "tensor-shape",
            Self::TensorValue { .. } => "tensor-value",
            Self::TokenizerInvalid { .. } => "tokenizer-invalid",
            Self::QuestionEmpty => "question-empty",
            Self::PictureMissing => "picture-missing",
            Self::OptionInvalid { .. } => "option-invalid",
            Self::DataInvalid { .. } => "data-invalid",
            Self::WebGpuMissing => "webgpu-missing",
            Self::AdapterMissing { .. } => "adapter-missing",
            Self::DeviceLost { .. } => "device-lost",
            Self::ModelTooLarge { .. } => "model-too-large",
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::Gpu { .. } => "gpu",
            Self::Network { .. } => "network",
            Self::CorsMissing { .. } => "cors-missing",
            Self::ShardCorrupt { .. } => "shard-corrupt",
            Self::Cancelled => "cancelled",
            Self::Io { .. } => "io",
            Self::Internal { .. } => "internal",
        }
    }

    /// Wraps an operating-system error with the path it is about.
    pub fn io(path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().display().to_string(), source }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::BTreeSet;

    /// The quoted words of a text that have the form of a code.
    fn quoted(text: &str) -> Vec<&str> {
        let plain = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        text.split('"').skip(1).step_by(2).filter(plain).collect()
    }

    /// The part between two marks.
    fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
        let (_, rest) = text.split_once(begin).unwrap();
        rest.split_once(end).unwrap().0
    }

    /// What JavaScript throws is of these codes, too: `tsc` compares it with the list there.
    #[test]
    fn javascript_knows_the_same_codes() {
        let here = between(include_str!("error.rs"), "pub fn code(", "\n    }\n");
        let there = between(include_str!("../www/engine/errors.js"), "const CODES", "]);");
        let (here, there) = (quoted(here), quoted(there));
        assert!(here.len() > 20);
        assert_eq!(here, there);
        assert_eq!(here.iter().collect::<BTreeSet<_>>().len(), here.len(), "one code a variant");
    }
}
