//! The stages of an answer and its tokens, timed through the model's own functions.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use web_time::Instant;

use super::spread::{HostClock, Spread};
use super::{BenchOptions, Each, Row};
use crate::error::{Error, Result};
use crate::generation::step::{Choice, Plan, Stepper, Told};
use crate::generation::{GenerationOptions, Generator};
use crate::gpu::Gpu;
use crate::image::PixelValues;
use crate::kernels::record::Recording;
use crate::meter::{self, Counts};
use crate::models::language::Context;
use crate::models::unheard;
use crate::pace::Pace;
use crate::readback;
use crate::session::Session;
use crate::timestamps::{self, Timestamps};

/// No further run of a stage is begun after this.
const LONG_SECONDS: f64 = 20.0;
/// An id that no vocabulary has: a text of that end has as many tokens as asked for.
const NO_END: u32 = u32::MAX;

/// Runs every stage over the output of the one before, then the tokens.
pub(super) async fn measure(
    session: &Session,
    gpu: &Gpu,
    options: &BenchOptions,
    progress: &dyn Fn(&str),
) -> Result<Measured> {
    let mut timer = Timer {
        gpu,
        iterations: options.iterations,
        timestamps: Timestamps::new(gpu),
        rows: Vec::new(),
        progress,
    };
    let (model, device, pace) = (session.model()?, session.device(), Pace::default());
    let ids = session.tokenizers().encode(&options.question)?;

    let vision = &session.config().vision_config;
    let picture = if options.vision {
        let mut pixels = PixelValues::blank(vision.image_size());
        for (i, value) in pixels.data.iter_mut().enumerate() {
            *value = (i % 255) as f32 / 127.0 - 1.0;
        }
        let see = async || model.see(&pixels, device, &pace).await;
        timer.stage("vision", see, |picture| picture.vision.clone()).await?
    } else {
        let shape = [1, vision.grid().tokens(), vision.width()];
        model.features(Tensor::ones(shape, device), &pace).await?
    };
    let look = async || model.look(&[&picture], &ids.qformer.0, &pace, &mut unheard).await;
    let queries = timer.stage("bridge", look, Tensor::clone).await?;
    let read = async || model.read(&queries, &ids.language.0, &pace, &mut unheard).await;
    // The fence waits for all that was launched, whatever it is put behind.
    let context = timer.stage("prefill", read, |_| queries.clone()).await?;

    let language = model.language();
    let decode = |ids: &[u32]| session.tokenizers().decode(ids);
    let [one, all] =
        [1, options.tokens].map(|count| GenerationOptions::greedy(count, vec![NO_END]));
    let generator = Generator { model: language, options: &one, decode: &decode, pace: &pace };
    let first = async || generator.run(&context, &mut |_| Ok(ControlFlow::Continue(()))).await;
    timer.stage("first token", first, |_| queries.clone()).await?;
    let (token, tokens_per_second) =
        timer.tokens(&Generator { options: &all, ..generator }, &context).await?;
    progress("the same dispatches by hand");
    let plan = Plan { rows: 1, tokens: 1, choice: Choice::Greedy, rules: None };
    let mut stepper = Stepper::new(language, &context, plan)?;
    stepper.run(0, Told::default()).await?.words().await?;
    let by_hand = match stepper.recording() {
        Some(step) => Some(replay(gpu, step, options).await?),
        None => None,
    };
    Ok(Measured { stages: timer.rows, token, tokens_per_second, by_hand })
}

/// What was measured of a model.
pub(super) struct Measured {
    pub(super) stages: Vec<Row>,
    pub(super) token: Row,
    pub(super) tokens_per_second: Spread,
    /// See `BenchReport::token_by_hand_host_ms`.
    pub(super) by_hand: Option<Spread>,
}

/// Milliseconds of the host for encoding and submitting a recorded step and nothing else, at the
/// pace of decoding: one step runs while the next is submitted. A sample is the mean of a text.
async fn replay(gpu: &Gpu, step: &Recording, options: &BenchOptions) -> Result<Spread> {
    let mut samples = Vec::new();
    let start = Instant::now();
    for run in 0..=options.iterations {
        let (mut seconds, mut running) = (0.0, None);
        for _ in 0..options.tokens {
            let begun = Instant::now();
            step.submit(gpu, None, |_| ());
            seconds += begun.elapsed().as_secs_f64();
            if let Some(earlier) = running.replace(gpu.submitted()) {
                earlier.done().await?;
            }
        }
        if let Some(last) = running {
            last.done().await?;
        }
        let long = start.elapsed().as_secs_f64() >= LONG_SECONDS;
        if run > 0 || long {
            samples.push(seconds * 1e3 / options.tokens as f64);
        }
        if long {
            break;
        }
    }
    Ok(Spread::of(samples))
}

struct Timer<'a> {
    gpu: &'a Gpu,
    iterations: usize,
    timestamps: Option<Timestamps>,
    rows: Vec<Row>,
    progress: &'a dyn Fn(&str),
}

/// The samples of a row, in milliseconds.
#[derive(Default)]
struct Samples {
    total: Vec<f64>,
    host: Vec<f64>,
    gpu: Vec<f64>,
}

impl Timer<'_> {
    /// Runs a stage several times, and gives the last result to the next one. The first run
    /// compiles pipelines and does not count, unless it took too long to repeat. A stage is over
    /// when the tensor that `end` finds in its result is computed.
    async fn stage<T, const D: usize>(
        &mut self,
        name: &str,
        run: impl AsyncFn() -> Result<T>,
        end: impl Fn(&T) -> Tensor<D>,
    ) -> Result<T> {
        (self.progress)(name);
        let mut samples = Samples::default();
        let start = Instant::now();
        let mut runs = 0;
        loop {
            self.mark();
            let (clock, before, begun) = (HostClock::default(), meter::counts(), Instant::now());
            let result = clock
                .watch(async {
                    let result = run().await?;
                    let end = end(&result);
                    readback::flush(&end.device())?;
                    self.mark();
                    readback::finished(&end).await?;
                    Ok::<_, Error>(result)
                })
                .await?;
            let seconds = begun.elapsed().as_secs_f64();
            let counts = meter::counts() - before;
            let gpu = self.milliseconds().await?;
            let long = start.elapsed().as_secs_f64() >= LONG_SECONDS;
            if runs > 0 || long {
                samples.total.push(seconds * 1e3);
                samples.host.push(clock.seconds() * 1e3);
                samples.gpu.extend(gpu);
            }
            if runs == self.iterations || long {
                self.rows.push(samples.row(name, Each::of(counts, 1), runs == 0));
                return Ok(result);
            }
            runs += 1;
        }
    }

    fn mark(&mut self) {
        if let Some(timestamps) = &mut self.timestamps {
            timestamps.mark(self.gpu);
        }
    }

    async fn milliseconds(&mut self) -> Result<Vec<f64>> {
        match &mut self.timestamps {
            Some(timestamps) => timestamps.milliseconds(self.gpu).await,
            None => Ok(Vec::new()),
        }
    }

    /// Decodes as often as a stage is run, the first time for nothing but the pipelines. Times are
    /// those between two tokens; counts those of all steps after the first.
    async fn tokens(
        &mut self,
        generator: &Generator<'_>,
        context: &Context,
    ) -> Result<(Row, Spread)> {
        let mut samples = Samples::default();
        let (mut steps, mut counts, mut rates) = (0, Counts::default(), Vec::new());
        let start = Instant::now();
        for run in 0..=self.iterations {
            (self.progress)(&format!("tokens, run {run} of {}", self.iterations));
            let clock = HostClock::default();
            let mut ticks = Vec::new();
            let mut tick = |_| {
                ticks.push((Instant::now(), clock.seconds()));
                Ok(ControlFlow::Continue(()))
            };
            timestamps::time_steps(self.gpu);
            let generated = clock.watch(generator.run(context, &mut tick)).await;
            let times = timestamps::take_steps();
            let generated = generated?;
            let long = start.elapsed().as_secs_f64() >= LONG_SECONDS;
            if run == 0 && !long {
                continue;
            }
            for pair in ticks.windows(2) {
                samples.total.push((pair[1].0 - pair[0].0).as_secs_f64() * 1e3);
            }
            // One sample a run: a browser's clock has steps of 0.1 ms.
            if let [first, .., last] = &ticks[..] {
                samples.host.push((last.1 - first.1) * 1e3 / (ticks.len() - 1) as f64);
            }
            if let Some(mut times) = times {
                samples.gpu.extend(times.milliseconds(self.gpu).await?.into_iter().skip(1));
            }
            if let Some((later, seconds, counted)) = generated.clock.later_steps() {
                rates.push(later as f64 / seconds);
                (steps, counts) = (steps + later, counts + counted);
            }
            if long {
                break;
            }
        }
        Ok((samples.row("token", Each::of(counts, steps), false), Spread::of(rates)))
    }
}

impl Samples {
    /// The row, its floors still unknown.
    fn row(self, name: &str, each: Each, cold: bool) -> Row {
        Row {
            name: name.into(),
            runs: self.total.len(),
            cold,
            milliseconds: Spread::of(self.total),
            host_ms: Spread::of(self.host),
            gpu_ms: (!self.gpu.is_empty()).then(|| Spread::of(self.gpu)),
            each,
            floor_ms: 0.0,
            over_floor: 0.0,
            dispatch_floor_ms: 0.0,
            over_dispatch_floor: 0.0,
        }
    }
}
