//! A run of the whole model before its weights are there, for the pipelines it compiles.
//!
//! A kernel's pipeline is compiled when it is first launched, which takes seconds for all of them.
//! The rehearsal is a model of two layers in each tower, with the real widths, formats and lengths
//! but blank weights, that goes from a picture to two tokens in CubeCL's dry-run mode: everything
//! is compiled, nothing runs on the GPU. It may go on beside the download.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::pin;

use burn::cubecl::dry_run::DryRun;
use burn::tensor::{Device, Tensor};

use super::AskOptions;
use crate::config::GenerationConfig;
use crate::error::Result;
use crate::generation::Generator;
use crate::image::PixelValues;
use crate::kernels::census;
use crate::models::{ModelConfig, VisionLanguageModel, VisionTower, unheard};
use crate::pace::Pace;
use crate::weights::Blank;

/// Tokens of a question: kernels for few rows and for many are different ones.
const QUESTION: usize = 12;
/// Layers in each tower: the first one's formats may differ from the others', and the Q-Former's
/// last one skips the text.
const LAYERS: usize = 2;

/// Lists the pipelines that the two rehearsals will compile, see [`census`].
///
/// # Errors
/// As [`rehearse_picture`].
pub async fn list_pipelines(
    config: &ModelConfig,
    generation: &GenerationConfig,
    device: &Device,
    pace: &Pace,
) -> Result<()> {
    census::list(async {
        rehearse_picture(config, device, pace).await?;
        rehearse_question(config, generation, device, pace).await
    })
    .await
}

/// Compiles what a picture needs.
///
/// # Errors
/// The GPU refuses something: the model itself would fare no better.
pub async fn rehearse_picture(config: &ModelConfig, device: &Device, pace: &Pace) -> Result<()> {
    let config = config.with_layers(LAYERS);
    dry(device, async {
        let blank = Blank::new(device, config.quantization_config.clone());
        let model = VisionTower::load(&blank.weights(), &config.vision_config)?;
        let pixel_values = PixelValues::blank(config.vision_config.image_size());
        model.forward(&pixel_values, device, pace).await?;
        Ok(())
    })
    .await
}

/// Compiles what the first question about it needs, with default options.
///
/// # Errors
/// As [`rehearse_picture`].
pub async fn rehearse_question(
    config: &ModelConfig,
    generation: &GenerationConfig,
    device: &Device,
    pace: &Pace,
) -> Result<()> {
    let config = config.with_layers(LAYERS);
    let options = AskOptions { max_new_tokens: Some(2), ..AskOptions::default() };
    let options = options.complete(generation, &config.text_config)?;
    dry(device, async {
        let blank = Blank::new(device, config.quantization_config.clone());
        let model = VisionLanguageModel::load(&blank.weights(), &config)?;
        let vision = &config.vision_config;
        let vision = Tensor::empty([1, vision.grid().tokens(), vision.width()], device);
        let picture = model.features(vision, pace).await?;
        let queries = model.look(&[&picture], &[0; QUESTION], pace, &mut unheard).await?;
        let context = model.read(&queries, &[0; QUESTION], pace, &mut unheard).await?;
        let (model, decode) = (model.language(), &|_: &[u32]| Ok(String::new()));
        let generator = Generator { model, options: &options, decode, pace };
        generator.run(&context, &mut |_| Ok(ControlFlow::Continue(()))).await?;
        Ok(())
    })
    .await
}

/// The mode is the whole process's: it lasts no longer than a step of `run`, since others work too.
async fn dry(device: &Device, run: impl Future<Output = Result<()>>) -> Result<()> {
    let mut run = pin!(run);
    poll_fn(|context| {
        let _dry = DryRun::new();
        run.as_mut().poll(context)
    })
    .await?;
    device.memory_cleanup();
    Ok(())
}
