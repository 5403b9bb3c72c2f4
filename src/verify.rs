//! Compares every stage with recorded outputs ("goldens") of the reference implementation.
//!
//! A golden is a safetensors file with the picture (`image_rgb_u8`), `pixel_values`, token ids,
//! the last hidden state of every stage, the first step's logits, and ids of several ways of
//! decoding, all of one picture and prompt; its metadata holds the `prompt`. The picture pipeline is compared on its
//! own; the model then runs end to end from the golden's `pixel_values`.

mod generation;

pub use generation::SCORE_TOLERANCE;

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use web_time::Instant;

use crate::checkpoint::safetensors::{Dtype, Header, TensorInfo};
use crate::error::{Error, Result};
use crate::image::{self, PixelValues};
use crate::kernels::{TokenHistory, words_tensor};
use crate::models::PictureFeatures;
use crate::models::language::At;
use crate::pace::Pace;
use crate::readback;
use crate::session::Session;

/// Largest relative error ‖a - b‖ / ‖b‖ of a stage, unless asked otherwise. Both sides compute in
/// f32 in different orders; on the goldens the two differ by less than a tenth of this.
pub const DEFAULT_TOLERANCE: f64 = 1e-4;
/// Largest difference of a pixel value: one of 255 levels over the smallest standard deviation.
pub const PIXEL_TOLERANCE: f64 = 0.016;

/// What to compare, and how strictly.
#[derive(Clone, Copy, Debug, Deserialize, TS)]
#[serde(default, rename_all = "camelCase")]
pub struct VerifyOptions {
    /// Largest relative error of a stage.
    pub tolerance: f64,
    /// Leave the vision tower out: the stages after it start from the golden's own features.
    pub from_vision: bool,
    /// End after the vision tower.
    pub only_vision: bool,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { tolerance: DEFAULT_TOLERANCE, from_vision: false, only_vision: false }
    }
}

/// A parsed golden file.
#[derive(Debug)]
pub struct Golden {
    name: String,
    header: Header,
    bytes: Vec<u8>,
}

/// One compared tensor.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct StageReport {
    /// The tensor's name in the golden.
    pub name: &'static str,
    /// max |a - b|.
    pub max_absolute: f64,
    /// ‖a - b‖ / ‖b‖ with b the golden.
    pub relative: f64,
    /// Time until the GPU had it, reading it back included.
    pub milliseconds: f64,
    /// Within the tolerance.
    pub ok: bool,
}

/// One compared list of token ids.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct IdsReport {
    /// What was compared.
    pub name: &'static str,
    /// The golden's ids.
    pub expected: Vec<u32>,
    /// Ours.
    pub found: Vec<u32>,
    /// Time of the computation.
    pub milliseconds: f64,
    /// All equal.
    pub ok: bool,
}

/// The comparison with one golden.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(rename = "VerifyReport")]
pub struct Report {
    /// The golden's file name.
    pub golden: String,
    /// Its prompt.
    pub prompt: String,
    /// Stages, in order.
    pub stages: Vec<StageReport>,
    /// The language model's, the Q-Former's and generated ids.
    pub ids: Vec<IdsReport>,
    /// Everything within its tolerance.
    pub ok: bool,
    /// When the last comparison was done.
    #[serde(skip)]
    last: Instant,
}

impl Golden {
    /// Parses the bytes of a golden file.
    ///
    /// # Errors
    /// It is no valid safetensors file.
    pub fn parse(name: &str, bytes: Vec<u8>) -> Result<Self> {
        let header = Header::parse(name, &bytes, bytes.len() as u64)?;
        Ok(Self { name: name.into(), header, bytes })
    }

    fn info(&self, name: &str) -> Result<(&TensorInfo, &[u8])> {
        let info = self.header.tensors.iter().find(|tensor| tensor.name == name);
        let info = info.ok_or_else(|| self.error(format!("it has no tensor {name}")))?;
        let range =
            self.header.data_start + info.range.start..self.header.data_start + info.range.end;
        let bytes = self.bytes.get(range);
        let bytes = bytes.ok_or_else(|| self.error(format!("{name} is cut off")))?;
        Ok((info, bytes))
    }

    fn has(&self, name: &str) -> bool {
        self.header.tensors.iter().any(|tensor| tensor.name == name)
    }

    fn floats(&self, name: &str) -> Result<(Vec<f32>, Vec<usize>)> {
        let (info, bytes) = self.info(name)?;
        if info.dtype != Dtype::F32 {
            return Err(self.error(format!("{name} is {}, not F32", info.dtype)));
        }
        let (values, _) = bytes.as_chunks::<4>();
        let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
        Ok((values.collect(), info.shape.clone()))
    }

    fn ids(&self, name: &str) -> Result<Vec<u32>> {
        let (info, bytes) = self.info(name)?;
        if info.dtype != Dtype::I64 {
            return Err(self.error(format!("{name} is {}, not I64", info.dtype)));
        }
        let (values, _) = bytes.as_chunks::<8>();
        let ids = values.iter().map(|bytes| u32::try_from(i64::from_le_bytes(*bytes)));
        ids.collect::<Result<_, _>>()
            .map_err(|_| self.error(format!("{name} has ids out of range")))
    }

    /// `image_rgb_u8`, `[height, width, 3]`, or `[pictures, height, width, 3]`.
    fn pictures(&self) -> Result<Vec<::image::RgbImage>> {
        let (info, bytes) = self.info("image_rgb_u8")?;
        let misfit = || self.error(format!("image_rgb_u8 has shape {:?}", info.shape));
        let ([height, width, 3] | [_, height, width, 3]) = info.shape[..] else {
            return Err(misfit());
        };
        let size = height.saturating_mul(width).saturating_mul(3);
        let (width, height) = (u32::try_from(width), u32::try_from(height));
        let (Ok(width), Ok(height), 1..) = (width, height, size) else {
            return Err(misfit());
        };
        let picture = |rgb: &[u8]| ::image::RgbImage::from_raw(width, height, rgb.to_vec());
        bytes.chunks(size).map(|rgb| picture(rgb).ok_or_else(misfit)).collect()
    }

    fn error(&self, reason: String) -> Error {
        Error::CheckpointHeader { file: self.name.clone(), reason }
    }
}

/// Runs the session's model over a golden.
///
/// # Errors
/// The golden lacks a tensor, or the GPU failed. Differences are no errors: see [`Report::ok`].
pub async fn verify(session: &Session, golden: &Golden, options: &VerifyOptions) -> Result<Report> {
    let tolerance = options.tolerance;
    let model = session.model()?;
    let prompt = golden.header.metadata.get("prompt").cloned();
    let prompt = prompt.ok_or_else(|| golden.error("its metadata has no prompt".into()))?;
    let mut report = Report {
        golden: golden.name.clone(),
        prompt,
        stages: Vec::new(),
        ids: Vec::new(),
        ok: true,
        last: Instant::now(),
    };

    let (pixel_values, shape) = golden.floats("pixel_values")?;
    let size = session.config().vision_config.image_size();
    let pictures = golden.pictures()?;
    let picture_len = 3 * size * size;
    if shape.last() != Some(&size) || pixel_values.len() != pictures.len() * picture_len {
        return Err(
            golden.error(format!("pixel_values {shape:?} are not of this model, {size} x {size}"))
        );
    }
    let preprocess = |rgb| image::preprocess(rgb, session.preprocessor()).data;
    let ours: Vec<f32> = pictures.iter().flat_map(preprocess).collect();
    let stage = compare("pixel_values", &ours, &pixel_values, f64::INFINITY);
    let ok = stage.max_absolute <= PIXEL_TOLERANCE;
    report.push_stage(StageReport { ok, ..stage });

    let encoded = session.tokenizers().encode(&report.prompt)?;
    // The reference's ids begin with one placeholder for each query of each picture.
    let queries = session.config().bridge_config.tokens() * pictures.len();
    let mut text_ids = golden.ids("input_ids")?;
    text_ids.drain(..queries.min(text_ids.len()));
    report.push_ids("input_ids", text_ids.clone(), encoded.language.0);
    let qformer_ids = golden.ids("qformer_input_ids")?;
    report.push_ids("qformer_input_ids", qformer_ids.clone(), encoded.qformer.0);

    let pace = Pace::default();
    let mut seen = Vec::new();
    if options.from_vision {
        let (vision, shape) = golden.floats("vision_last_hidden_state")?;
        let width = session.config().vision_config.width();
        let [count, tokens, hidden] = shape[..] else {
            return Err(golden.error(format!("vision_last_hidden_state has shape {shape:?}")));
        };
        if (count, hidden) != (pictures.len(), width) {
            return Err(golden.error(format!(
                "vision_last_hidden_state {shape:?} is not of this model, {width} wide"
            )));
        }
        let vision = TensorData::new(vision, [count, tokens, hidden]);
        let vision = Tensor::<3>::from_data(vision, session.device());
        for picture in vision.split(1, 0) {
            seen.push(model.features(picture, &pace).await?);
        }
    } else {
        for pixel_values in pixel_values.chunks_exact(picture_len) {
            let data = pixel_values.to_vec();
            let pixel_values = PixelValues { data, height: size, width: size };
            seen.push(model.see(&pixel_values, session.device(), &pace).await?);
        }
        let vision = Tensor::cat(seen.iter().map(|picture| picture.vision.clone()).collect(), 0);
        report.push("vision_last_hidden_state", &vision, golden, tolerance).await?;
    }
    if options.only_vision {
        return Ok(report);
    }

    let pictures: Vec<&PictureFeatures> = seen.iter().collect();
    let mut heard = Vec::new();
    let mut probe = |name, value: &Tensor<3>| heard.push((name, value.clone()));
    let queries = model.look(&pictures, &qformer_ids, &pace, &mut probe).await?;
    for (name, value) in std::mem::take(&mut heard) {
        report.push(name, &value, golden, tolerance).await?;
    }
    if golden.has("qformer_cross_attentions") {
        let mut maps = Vec::new();
        for picture in pictures {
            let looks = model.maps(picture, &qformer_ids, &pace).await?;
            maps.extend(looks.into_iter().map(Tensor::unsqueeze::<3>));
        }
        let maps = Tensor::cat(maps, 0);
        report.push("qformer_cross_attentions", &maps, golden, tolerance).await?;
    }
    let mut probe = |name, value: &Tensor<3>| heard.push((name, value.clone()));
    let context = model.read(&queries, &text_ids, &pace, &mut probe).await?;
    for (name, value) in heard {
        report.push(name, &value, golden, tolerance).await?;
    }

    let language = model.language();
    let start = TokenHistory::lines(&[&[context.first()]]);
    let history = TokenHistory::new(words_tensor(start, session.device()), 1);
    let position = words_tensor(vec![0], session.device());
    let at = At { history: &history, position: &position, lineage: None };
    let logits = language.step(at, &mut language.start(&context, 1, 1));
    report.push("decoder_step0_logits", &logits, golden, tolerance).await?;
    report.generation(session, golden, &context).await?;
    Ok(report)
}

impl Report {
    async fn push<const D: usize>(
        &mut self,
        name: &'static str,
        ours: &Tensor<D>,
        golden: &Golden,
        tolerance: f64,
    ) -> Result<()> {
        let ours = readback::floats(ours).await?;
        // The golden's Q-Former state has the text's rows too; the queries come first.
        let (mut theirs, shape) = golden.floats(name)?;
        if name == "qformer_last_hidden_state" && theirs.len() > ours.len() {
            theirs.truncate(ours.len());
        }
        if theirs.len() != ours.len() {
            return Err(golden.error(format!(
                "{name} {shape:?} has {} values, the model makes {}",
                theirs.len(),
                ours.len()
            )));
        }
        self.push_stage(compare(name, &ours, &theirs, tolerance));
        Ok(())
    }

    fn push_stage(&mut self, stage: StageReport) {
        let stage = StageReport { milliseconds: self.lap(), ..stage };
        self.ok &= stage.ok;
        self.stages.push(stage);
    }

    fn push_ids(&mut self, name: &'static str, expected: Vec<u32>, found: Vec<u32>) {
        let ok = expected == found;
        self.ok &= ok;
        let milliseconds = self.lap();
        self.ids.push(IdsReport { name, expected, found, milliseconds, ok });
    }

    /// Milliseconds since the last call.
    fn lap(&mut self) -> f64 {
        let last = std::mem::replace(&mut self.last, Instant::now());
        (self.last - last).as_secs_f64() * 1e3
    }
}

fn compare(name: &'static str, ours: &[f32], theirs: &[f32], tolerance: f64) -> StageReport {
    let mut max_absolute = 0.0f64;
    let (mut difference, mut norm) = (0.0f64, 0.0f64);
    for (a, b) in ours.iter().zip(theirs) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        max_absolute = max_absolute.max((a - b).abs());
        difference += (a - b).powi(2);
        norm += b.powi(2);
    }
    let relative = (difference / norm.max(f64::MIN_POSITIVE)).sqrt();
    StageReport {
        name,
        max_absolute,
        relative,
        milliseconds: 0.0, // known when it is pushed
        // Written so that NaN fails.
        ok: ours.len() == theirs.len() && relative <= tolerance && difference.is_finite(),
    }
}
