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
use crate::checkpoint::store::WeightStore;
use crate::config::{GenerationConfig, ModelConfig};
use crate::error::Result;
use crate::generation::Generator;
use crate::models::InstructBlip;
use crate::models::vit::VisionModel;
use crate::pace::Pace;

/// Tokens of a question: kernels for few rows and for many are different ones.
const QUESTION: usize = 12;

/// Compiles what a picture needs.
///
/// # Errors
/// The GPU refuses something: the model itself would fare no better.
pub async fn rehearse_picture(config: &ModelConfig, device: &Device, pace: &Pace) -> Result<()> {
    let config = two_layers(config);
    dry(device, async {
        let mut blank = WeightStore::blank(device, config.quantization_config.clone());
        let model = VisionModel::load(&mut blank, &config.vision_config)?;
        let pixel_values = vec![0.0; 3 * config.vision_config.image_size.pow(2)];
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
    let config = two_layers(config);
    let options = AskOptions { max_new_tokens: Some(2), ..AskOptions::default() };
    let options = options.complete(generation, &config.text_config)?;
    dry(device, async {
        let mut blank = WeightStore::blank(device, config.quantization_config.clone());
        let model = InstructBlip::load(&mut blank, &config)?;
        let vision = &config.vision_config;
        let vision = Tensor::empty([1, vision.num_tokens(), vision.hidden_size], device);
        let picture = model.features(vision, pace).await?;
        let queries = model.query(&picture, &[0; QUESTION], pace).await?;
        let hidden = model.encode(&model.project(&queries), &[0; QUESTION], pace).await?;
        let (model, decode) = (model.language_model(), &|_: &[u32]| Ok(String::new()));
        let generator = Generator { model, options: &options, decode, pace };
        generator.run(&hidden, &mut |_| Ok(ControlFlow::Continue(()))).await?;
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

/// The same model with two layers in each tower: the first one's formats may differ from the
/// others', and the Q-Former's last one skips the text.
fn two_layers(config: &ModelConfig) -> ModelConfig {
    let mut config = config.clone();
    for layers in [
        &mut config.vision_config.num_hidden_layers,
        &mut config.qformer_config.num_hidden_layers,
        &mut config.text_config.num_layers,
        &mut config.text_config.num_decoder_layers,
    ] {
        *layers = (*layers).min(2);
    }
    config
}
