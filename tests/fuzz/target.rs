//! What is fuzzed: the files of the models in the repository, and the functions that read them.

use std::path::Path;

use instructblip_web::checkpoint::safetensors::MAX_HEADER;
use instructblip_web::checkpoint::{Header, Index};
use instructblip_web::config::{GenerationConfig, PreprocessorConfig};
use instructblip_web::error::Result;
use instructblip_web::image;
use instructblip_web::models::ModelConfig;
use instructblip_web::session::{Blueprint, ModelFiles};
use instructblip_web::text::Tokenizers;

use super::mutate::{self, Random};

/// Kinds of inputs.
pub const KINDS: [&str; 9] = [
    "config",
    "generation",
    "preprocessor",
    "index",
    "header",
    "tokenizer",
    "qformer",
    "model",
    "picture",
];

/// A question that every form of Unicode has something to do with.
const QUESTION: &str =
    "What IS  in this picture? a aa ﷺ é e\u{301} İ 東京 \u{200b}\u{feff} 🦀</s>[SEP] don 't\t\0.";

struct Model {
    files: ModelFiles,
    config: ModelConfig,
}

/// The unchanged files.
pub struct Seeds {
    models: Vec<Model>,
    index: Vec<u8>,
    /// The beginnings of safetensors files with the lengths of the files.
    headers: Vec<(Vec<u8>, u64)>,
    pictures: Vec<Vec<u8>>,
}

impl Seeds {
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |name: &str| std::fs::read(root.join(name)).unwrap();
        let folders = ["www/pocket", "tests/fixtures/random/model", "tests/fixtures/blip2/model"];
        let models = folders.map(|folder| {
            let file = |name: &str| read(&format!("{folder}/{name}"));
            let qformer = format!("{folder}/qformer_tokenizer/tokenizer.json");
            let files = ModelFiles {
                config: file("config.json"),
                preprocessor: file("preprocessor_config.json"),
                generation: Some(file("generation_config.json")),
                tokenizer: file("tokenizer.json"),
                qformer_tokenizer: std::fs::read(root.join(qformer)).ok(),
            };
            let config = ModelConfig::parse(&files.config).unwrap();
            Model { files, config }
        });
        let headers = ["random/model/model", "random/q4", "blip2/checkpoint"].map(|name| {
            let file = read(&format!("tests/fixtures/{name}.safetensors"));
            let span = Header::span(name, &file).unwrap();
            (file[..span].to_vec(), file.len() as u64)
        });
        Self {
            models: models.into(),
            index: read("www/pocket/model.safetensors.index.json"),
            headers: headers.into(),
            pictures: pictures(),
        }
    }

    /// The input of a kind with a number: always the same for a seed.
    pub fn input(&self, kind: usize, seed: u64, number: usize) -> Input<'_> {
        let mut random = Random::new(seed ^ (kind as u64) << 56 ^ (number as u64) << 24);
        let model = &self.models[random.below(self.models.len())];
        let mut files = model.files.clone();
        let changed = |random: &mut Random, file: &[u8]| mutate::json(random, file);
        let what = match KINDS[kind] {
            "config" => What::Config(changed(&mut random, &files.config)),
            "generation" => {
                What::Generation(changed(&mut random, &files.generation.unwrap_or_default()))
            }
            "preprocessor" => What::Preprocessor(changed(&mut random, &files.preprocessor)),
            "index" => What::Index(changed(&mut random, &self.index)),
            "header" => header(&mut random, &self.headers),
            "tokenizer" => {
                files.tokenizer = tokenizer(&mut random, &files.tokenizer);
                What::Tokenizers(files)
            }
            "qformer" => {
                let instructed = &self.models[random.below(2)]; // the third has none
                files.qformer_tokenizer = instructed.files.qformer_tokenizer.clone();
                let file = files.qformer_tokenizer.unwrap_or_default();
                files.qformer_tokenizer = Some(tokenizer(&mut random, &file));
                return Input { config: &instructed.config, what: What::Tokenizers(files) };
            }
            "model" => {
                for _ in 0..=random.below(3) {
                    match random.below(5) {
                        0 => files.config = changed(&mut random, &files.config),
                        1 => files.preprocessor = changed(&mut random, &files.preprocessor),
                        2 => files.tokenizer = changed(&mut random, &files.tokenizer),
                        3 => files.qformer_tokenizer = model.files.generation.clone(),
                        _ => {
                            let file = files.generation.take().unwrap_or_default();
                            files.generation = Some(changed(&mut random, &file));
                        }
                    }
                }
                What::Model(files)
            }
            _ => {
                let picture = random.pick(&self.pictures).clone();
                What::Picture(mutate::bytes(&mut random, picture))
            }
        };
        Input { config: &model.config, what }
    }
}

/// A small picture in every format, and one of 16 bits.
fn pictures() -> Vec<Vec<u8>> {
    use ::image::{DynamicImage, ImageBuffer, ImageFormat, Rgba};
    let rgba = ImageBuffer::from_fn(23, 17, |x, y| Rgba([x as u8 * 9, y as u8 * 7, 40, 255]));
    let rgba = DynamicImage::ImageRgba8(rgba);
    let rgb = DynamicImage::ImageRgb8(rgba.to_rgb8());
    let deep = DynamicImage::ImageRgba16(rgba.to_rgba16());
    [
        (&rgba, ImageFormat::Png),
        (&deep, ImageFormat::Png),
        (&rgb, ImageFormat::Jpeg),
        (&rgb, ImageFormat::WebP),
        (&rgba, ImageFormat::Gif),
        (&rgb, ImageFormat::Bmp),
    ]
    .map(|(picture, format)| {
        let mut out = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut out, format).unwrap();
        out.into_inner()
    })
    .into()
}

/// A tokenizer with a mutation, or with parts of our own making.
fn tokenizer(random: &mut Random, file: &[u8]) -> Vec<u8> {
    if random.once_in(2) {
        return mutate::json(random, file);
    }
    let mut value: serde_json::Value = serde_json::from_slice(file).unwrap();
    let (name, children) = *random.pick(&[
        ("normalizer", "normalizers"),
        ("pre_tokenizer", "pretokenizers"),
        ("decoder", "decoders"),
    ]);
    let mut part = String::new();
    mutate::part(random, children, 0).write(&mut part);
    // What is not sound JSON stays out of it.
    value[name] = serde_json::from_str(&part).unwrap_or_default();
    value.to_string().into_bytes()
}

/// A header whose JSON or length was changed; the length is made to fit most of the time.
fn header(random: &mut Random, headers: &[(Vec<u8>, u64)]) -> What {
    let (whole, file_len) = random.pick(headers).clone();
    if random.once_in(4) {
        return What::Header(mutate::bytes(random, whole), file_len);
    }
    let json = mutate::json(random, &whole[8..]);
    let data = file_len - whole.len() as u64;
    let length =
        if random.once_in(10) { random.next() >> random.below(64) } else { json.len() as u64 };
    let bytes = [&length.to_le_bytes()[..], &json].concat();
    let file_len = bytes.len() as u64 + data;
    What::Header(bytes, file_len)
}

pub struct Input<'a> {
    config: &'a ModelConfig,
    what: What,
}

enum What {
    Config(Vec<u8>),
    Generation(Vec<u8>),
    Preprocessor(Vec<u8>),
    Index(Vec<u8>),
    Header(Vec<u8>, u64),
    Tokenizers(ModelFiles),
    Model(ModelFiles),
    Picture(Vec<u8>),
}

impl Input<'_> {
    /// Reads the input as the product does.
    pub fn run(&self) -> Result<()> {
        match &self.what {
            What::Config(file) => ModelConfig::parse(file).map(drop),
            What::Generation(file) => GenerationConfig::parse(file).map(drop),
            What::Preprocessor(file) => {
                PreprocessorConfig::parse(file)?.check_fits(self.config.vision_config.image_size())
            }
            What::Index(file) => {
                let index = Index::parse(file)?;
                for name in index.files() {
                    assert!(!name.contains(['/', '\\']) && name.ends_with(".safetensors"));
                }
                Ok(())
            }
            What::Header(bytes, file_len) => {
                let span = Header::span("a", bytes)?;
                assert!(span <= MAX_HEADER + 8);
                let header = Header::parse("a", bytes, *file_len)?;
                let end = header.tensors.iter().map(|tensor| tensor.range.end).max();
                assert!((header.data_start + end.unwrap_or(0)) as u64 <= *file_len);
                Ok(())
            }
            What::Tokenizers(files) => {
                let qformer = files.qformer_tokenizer.as_deref();
                use_tokenizers(&Tokenizers::new(&files.tokenizer, qformer, self.config)?)
            }
            What::Model(files) => use_tokenizers(&Blueprint::parse(files)?.tokenizers),
            What::Picture(bytes) => image::decode(bytes).map(drop),
        }
    }

    /// The bytes, with a name for each.
    pub fn files(&self) -> Vec<(&'static str, &[u8])> {
        match &self.what {
            What::Config(file) => vec![("config.json", file)],
            What::Generation(file) => vec![("generation_config.json", file)],
            What::Preprocessor(file) => vec![("preprocessor_config.json", file)],
            What::Index(file) => vec![("model.safetensors.index.json", file)],
            What::Header(bytes, _) => vec![("model.safetensors", bytes)],
            What::Picture(bytes) => vec![("picture", bytes)],
            What::Tokenizers(files) | What::Model(files) => vec![
                ("config.json", &files.config),
                ("preprocessor_config.json", &files.preprocessor),
                ("generation_config.json", files.generation.as_deref().unwrap_or_default()),
                ("tokenizer.json", &files.tokenizer),
                ("qformer_tokenizer.json", files.qformer_tokenizer.as_deref().unwrap_or_default()),
            ],
        }
    }
}

/// Encodes and decodes, at once and as a stream.
fn use_tokenizers(tokenizers: &Tokenizers) -> Result<()> {
    for question in [QUESTION.to_owned(), QUESTION.repeat(20), "a".repeat(2000)] {
        tokenizers.encode(&question)?;
    }
    let ids: Vec<u32> = (0..300).map(|i| i * 7 % 620).collect();
    let whole = tokenizers.decode(&ids)?;
    let mut stream = tokenizers.stream();
    for &id in &ids[..40] {
        stream.push(tokenizers, id)?;
    }
    stream.finish(tokenizers)?;
    // Pieces of at most 512 bytes, and what the decoders may make of them.
    assert!(whole.len() <= ids.len() * 512 * 4, "{} bytes", whole.len());
    Ok(())
}
