//! The stages of an answer and its tokens, timed through the model's own functions.

use std::cell::RefCell;
use std::ops::ControlFlow;

use burn::tensor::Tensor;
use web_time::Instant;

use super::floors::Floors;
use super::spread::{HostClock, Spread};
use super::{BenchOptions, Each, Row};
use crate::error::Result;
use crate::generation::{GenerationOptions, Generator};
use crate::kernels::{argmax, words_tensor};
use crate::meter::{self, Counts};
use crate::pace::Pace;
use crate::readback;
use crate::session::Session;

/// No further run of a stage is begun after this.
const LONG_SECONDS: f64 = 20.0;
/// An id that no vocabulary has: a text of that end has as many tokens as asked for.
const NO_END: u32 = u32::MAX;

/// Runs every stage over the output of the one before, then the tokens.
pub(super) async fn measure(
    session: &Session,
    floors: &Floors,
    options: &BenchOptions,
    progress: &dyn Fn(&str),
) -> Result<(Vec<Row>, Row)> {
    let timer =
        Timer { floors, iterations: options.iterations, rows: RefCell::default(), progress };
    let (model, device, pace) = (session.model(), session.device(), Pace::default());
    let config = session.config();
    let ids = session.tokenizers().encode(&options.question)?;

    let vision = &config.vision_config;
    let picture = if options.vision {
        let pixels: Vec<f32> =
            (0..3 * vision.image_size.pow(2)).map(|i| (i % 255) as f32 / 127.0 - 1.0).collect();
        timer
            .stage("vision", async || {
                let picture = model.see(&pixels, device, &pace).await?;
                readback::finished(&picture.vision).await?;
                Ok(picture)
            })
            .await?
    } else {
        let tokens = 1 + (vision.image_size / vision.patch_size).pow(2);
        model.features(Tensor::ones([1, tokens, vision.hidden_size], device), &pace).await?
    };
    let queries = timer
        .stage("Q-Former", async || done(model.query(&picture, &ids.qformer.0, &pace).await?).await)
        .await?;
    let projected = timer.stage("projection", async || done(model.project(&queries)).await).await?;
    let encoded = timer
        .stage("encoder", async || done(model.encode(&projected, &ids.t5.0, &pace).await?).await)
        .await?;
    let language = model.language_model();
    let cross = timer
        .stage("cross keys", async || {
            let cross = language.cross_keys(&encoded, &pace).await?;
            readback::finished(&encoded).await?;
            Ok(cross)
        })
        .await?;
    let start = config.text_config.decoder_start_token_id;
    timer
        .stage("first step", async || {
            let tokens = words_tensor(vec![start], device);
            let logits = language.step(&tokens, None, &mut language.start(&cross, 1));
            readback::words(&argmax(&logits)).await
        })
        .await?;

    let generation = GenerationOptions::greedy(options.tokens, start, NO_END);
    let generator = Generator {
        model: language,
        options: &generation,
        decode: &|ids| session.tokenizers().decode(ids),
        pace: &pace,
    };
    let token = timer.tokens(&generator, &encoded).await?;
    Ok((timer.rows.into_inner(), token))
}

/// Waits until the GPU has computed it.
async fn done(tensor: Tensor<3>) -> Result<Tensor<3>> {
    readback::finished(&tensor).await?;
    Ok(tensor)
}

struct Timer<'a> {
    floors: &'a Floors,
    iterations: usize,
    rows: RefCell<Vec<Row>>,
    progress: &'a dyn Fn(&str),
}

/// The samples of a row.
#[derive(Default)]
struct Samples {
    total: Vec<f64>,
    host: Vec<f64>,
}

impl Timer<'_> {
    /// Runs a stage several times, and gives the last result to the next one. The first run
    /// compiles pipelines and does not count, unless it took too long to repeat.
    async fn stage<T>(&self, name: &str, run: impl AsyncFn() -> Result<T>) -> Result<T> {
        (self.progress)(name);
        let mut samples = Samples::default();
        let start = Instant::now();
        let mut runs = 0;
        loop {
            let (clock, before, begun) = (HostClock::default(), meter::counts(), Instant::now());
            let result = clock.watch(run()).await?;
            let seconds = begun.elapsed().as_secs_f64();
            let long = start.elapsed().as_secs_f64() >= LONG_SECONDS;
            if runs > 0 || long {
                samples.total.push(seconds * 1e3);
                samples.host.push(clock.seconds() * 1e3);
            }
            let counts = meter::counts() - before;
            if runs == self.iterations || long {
                let row = self.row(name, samples, Each::of(counts, 1), runs == 0);
                self.rows.borrow_mut().push(row);
                return Ok(result);
            }
            runs += 1;
        }
    }

    /// Decodes as often as a stage is run, the first time for nothing but the pipelines. Times are
    /// those between two tokens; counts those of all steps after the first.
    async fn tokens(&self, generator: &Generator<'_>, encoded: &Tensor<3>) -> Result<Row> {
        let mut samples = Samples::default();
        let (mut steps, mut counts) = (0, Counts::default());
        let start = Instant::now();
        for run in 0..=self.iterations {
            (self.progress)(&format!("tokens, run {run} of {}", self.iterations));
            let clock = HostClock::default();
            let mut ticks = Vec::new();
            let mut tick = |_| {
                ticks.push((Instant::now(), clock.seconds()));
                Ok(ControlFlow::Continue(()))
            };
            let generated = clock.watch(generator.run(encoded, &mut tick)).await?;
            let long = start.elapsed().as_secs_f64() >= LONG_SECONDS;
            if run == 0 && !long {
                continue;
            }
            for pair in ticks.windows(2) {
                samples.total.push((pair[1].0 - pair[0].0).as_secs_f64() * 1e3);
                samples.host.push((pair[1].1 - pair[0].1) * 1e3);
            }
            if let Some((later, _, counted)) = generated.clock.later_steps() {
                (steps, counts) = (steps + later, counts + counted);
            }
            if long {
                break;
            }
        }
        Ok(self.row("token", samples, Each::of(counts, steps), false))
    }

    fn row(&self, name: &str, samples: Samples, each: Each, cold: bool) -> Row {
        let runs = samples.total.len();
        let milliseconds = Spread::of(samples.total);
        let floor_ms = self.floors.milliseconds(each.bytes_moved, each.flops);
        let dispatch_floor_ms =
            self.floors.with_dispatches(each.bytes_moved, each.flops, each.dispatches);
        Row {
            name: name.into(),
            runs,
            cold,
            milliseconds,
            host_ms: Spread::of(samples.host),
            each,
            floor_ms,
            over_floor: milliseconds.median / floor_ms,
            dispatch_floor_ms,
            over_dispatch_floor: milliseconds.median / dispatch_floor_ms,
        }
    }
}
