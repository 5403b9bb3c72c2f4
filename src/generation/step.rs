//! A decoder step with the choice of the next tokens: recorded once, replayed for every token.
//!
//! On a GPU the first step is written down while the model's modules run, and every step replays
//! it: one compute pass, one submit, and a copy of the chosen tokens that is read while the next
//! step runs already. Where nothing can be recorded (the CPU device, or a device that was not
//! opened by [`crate::gpu`]) the same function runs anew for every step.

mod inputs;

use burn::cubecl::dry_run::dry_run;
use burn::tensor::{Int, Tensor};

use inputs::Inputs;

use crate::error::Result;
use crate::gpu::{self, Gpu};
use crate::kernels::census;
use crate::kernels::record::{Recording, Slot, record};
use crate::kernels::{self, ProcessLogits, TokenHistory, Warp, argmax, process_logits, top_k};
use crate::models::LanguageModel;
use crate::models::language::{At, Context, State};
use crate::readback::{self, Reading, Ring};
use crate::timestamps::{self, PassTimes};

/// Bytes of keys and values that room is made for at first; a text that outgrows it doubles it.
const FIRST_CACHE_BYTES: usize = 64 << 20;
/// Tokens there is always room for.
const LEAST_CAPACITY: usize = 32;
/// Reads on their way at most: one step runs while the one before it is read.
const READS: usize = 2;

/// How the next tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// The most likely one of each text.
    Greedy,
    /// One drawn for each text.
    Draw(Warp),
    /// The best continuations of all texts, as many.
    Best(usize),
}

impl Choice {
    /// Words that a step gives the host.
    fn words(self, rows: usize) -> usize {
        match self {
            Self::Best(count) => 2 * count,
            Self::Greedy | Self::Draw(_) => TokenHistory::line(0, rows).len(),
        }
    }
}

/// What a sequence of steps does.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Texts side by side.
    pub rows: usize,
    /// Tokens at most.
    pub tokens: usize,
    /// How the next tokens are chosen.
    pub choice: Choice,
    /// The scores are processed first: log-softmax, penalty, bans.
    pub rules: Option<Rules>,
}

/// What happens to the scores before the choice.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Log-softmax first.
    pub normalize: bool,
    /// The repetition penalty; 1 for none.
    pub penalty: f32,
    /// Tokens that may be banned in one step.
    pub bans: usize,
}

/// What the host tells a step; what is `None` stays as it was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// All lines of the [`TokenHistory`] up to the position of the step.
    pub texts: Option<&'a [u32]>,
    /// `[rows][position + 1]`: the row whose cache holds each token of a text.
    pub lineage: Option<&'a [Vec<u32>]>,
    /// Indices `row * vocab_size + token` of what may not come next.
    pub bans: Option<&'a [u32]>,
    /// Bits of a number for each row: the uniform draws, or the sums of the beams.
    pub numbers: Option<&'a [u32]>,
}

/// The steps of one generation.
pub struct Stepper<'a> {
    model: &'a LanguageModel,
    plan: Plan,
    state: State,
    inputs: Inputs,
    /// Replays; `None` where every step is launched anew.
    tape: Option<Tape>,
    /// Whether there would be a tape, were nothing only noted.
    replays: bool,
}

/// A recorded step.
struct Tape {
    gpu: &'static Gpu,
    /// Made with the first step, and anew when the cache has grown.
    step: Option<(Recording, Slot)>,
    ring: Ring,
}

/// What a step chose, on its way to the host.
pub enum Chosen {
    /// From a replay.
    Read(Reading),
    /// From a launched step.
    There(Vec<u32>),
}

impl Chosen {
    /// `[2 * rows]` words, ids and the bits of their log-probabilities; of the best continuations
    /// pairs of index and bits, see [`top_k()`].
    ///
    /// # Errors
    /// The GPU failed.
    pub async fn words(self) -> Result<Vec<u32>> {
        match self {
            Self::Read(reading) => reading.words().await,
            Self::There(words) => Ok(words),
        }
    }
}

impl<'a> Stepper<'a> {
    /// Makes room and records nothing yet.
    ///
    /// # Errors
    /// The GPU failed.
    pub fn new(model: &'a LanguageModel, context: &Context, plan: Plan) -> Result<Self> {
        let gpu = gpu::open_device().filter(|gpu| gpu.device == context.device());
        let replays = gpu.is_some();
        // What is only noted is not recorded either.
        let gpu = gpu.filter(|_| !census::is_noting());
        Ok(Self { replays, ..Self::with(gpu, model, context, plan)? })
    }

    /// As [`Stepper::new`], every step launched anew: what a replay is compared with.
    ///
    /// # Errors
    /// The GPU failed.
    pub fn launching(model: &'a LanguageModel, context: &Context, plan: Plan) -> Result<Self> {
        Self::with(None, model, context, plan)
    }

    fn with(
        gpu: Option<&'static Gpu>,
        model: &'a LanguageModel,
        context: &Context,
        plan: Plan,
    ) -> Result<Self> {
        let token_bytes = plan.rows * model.cache_bytes();
        let fit = (FIRST_CACHE_BYTES / token_bytes.max(1)).max(LEAST_CAPACITY);
        let state = model.start(context, plan.rows, plan.tokens.clamp(1, fit));
        let capacity = state.capacity();
        let inputs = Inputs::new(gpu, &plan, capacity, context)?;
        let words = plan.choice.words(plan.rows);
        let tape = gpu.map(|gpu| Tape { gpu, step: None, ring: Ring::new(gpu, READS, words) });
        Ok(Self { model, plan, state, inputs, replays: tape.is_some(), tape })
    }

    /// Whether steps are replayed.
    #[must_use]
    pub fn replays(&self) -> bool {
        self.tape.is_some()
    }

    /// The recorded step, once one has run.
    pub(crate) fn recording(&self) -> Option<&Recording> {
        self.tape.as_ref()?.step.as_ref().map(|(recording, _)| recording)
    }

    /// Runs the step that reads the tokens at `position`, without waiting for it. Positions come
    /// in order, from 0.
    ///
    /// # Errors
    /// The GPU failed.
    pub async fn run(&mut self, position: usize, told: Told<'_>) -> Result<Chosen> {
        if position == self.state.capacity() {
            self.grow()?;
        }
        let gpu = self.tape.as_ref().map(|tape| tape.gpu);
        self.inputs.tell(gpu, self.state.capacity(), position, &told);
        let first = match self.plan.choice {
            Choice::Best(_) => 0,
            _ => TokenHistory::line(position + 1, self.plan.rows).start,
        };
        if census::is_noting() {
            census::for_replays(self.replays, || self.launch());
            return Ok(Chosen::There(vec![0; self.plan.choice.words(self.plan.rows)]));
        }
        if self.tape.is_none() {
            let chosen = self.launch();
            let words = readback::words(&chosen).await?;
            let words = words.into_iter().skip(first).take(self.plan.choice.words(self.plan.rows));
            return Ok(Chosen::There(words.collect()));
        }
        self.prepare()?;
        let Some(Tape { gpu, step: Some((step, chosen)), ring }) = &mut self.tape else {
            return Err(crate::Error::Internal { reason: "no step was recorded".into() });
        };
        if dry_run() {
            // A rehearsal: pipelines are made, nothing runs.
            return Ok(Chosen::There(vec![0; ring.words()]));
        }
        let times = timestamps::step();
        let submission = step.submit(gpu, times.as_ref().map(PassTimes::writes), |encoder| {
            chosen.copy_to(encoder, first, ring.words(), ring.target());
        });
        Ok(Chosen::Read(ring.read(gpu, submission)))
    }

    /// Records the step if it is not.
    fn prepare(&mut self) -> Result<()> {
        let Some(tape) = &self.tape else { return Ok(()) };
        if tape.step.is_some() {
            return Ok(());
        }
        let gpu = tape.gpu;
        let (chosen, recording) = record(gpu, || self.launch())?;
        let chosen = recording.output(&chosen)?;
        // What Burn has been given so far comes before the replays.
        readback::flush(&gpu.device)?;
        if let Some(tape) = &mut self.tape {
            tape.step = Some((recording, chosen));
        }
        Ok(())
    }

    /// The step itself: decoder, rules, choice. Returns the tensor that holds what was chosen.
    fn launch(&mut self) -> Tensor<1, Int> {
        let inputs = &mut self.inputs;
        let (history, position) = (inputs.history(), &inputs.position.words);
        let at = At {
            history: &history,
            position,
            lineage: inputs.lineage.as_ref().map(|input| &input.words),
        };
        let mut scores = self.model.step(at, &mut self.state);
        if let Some(rules) = self.plan.rules {
            scores = process_logits(&ProcessLogits {
                logits: &scores,
                normalize: rules.normalize,
                history: &history,
                position,
                penalty: rules.penalty,
                bans: &inputs.bans.words,
            });
        }
        let history = match self.plan.choice {
            Choice::Best(count) => return top_k(&scores, &inputs.numbers.words, count),
            Choice::Greedy => argmax(&scores, history, position),
            Choice::Draw(warp) => {
                kernels::sample(&scores, &inputs.numbers.words, warp, history, position)
            }
        };
        inputs.texts.words = history.into_words();
        inputs.texts.words.clone()
    }

    /// Makes more room; the next step is recorded anew.
    fn grow(&mut self) -> Result<()> {
        let gpu = self.tape.as_ref().map(|tape| tape.gpu);
        self.model.grow(&mut self.state);
        let device = self.inputs.texts.words.device();
        self.inputs.grow(gpu, self.state.capacity(), &device)?;
        if let Some(tape) = &mut self.tape {
            tape.step = None;
        }
        Ok(())
    }
}
