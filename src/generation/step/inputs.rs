//! The words that change between steps, where the recorded kernels read them.

use burn::tensor::{Device, Int, Tensor};

use super::{Choice, Plan, Told};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernels::record::Slot;
use crate::kernels::{TokenHistory, words_tensor};
use crate::models::language::Context;

/// A ban on nothing: beyond every vocabulary.
const NO_BAN: u32 = u32::MAX;

/// Everything that is not a weight and not made by the step itself.
pub(super) struct Inputs {
    pub(super) texts: Input,
    pub(super) position: Input,
    pub(super) lineage: Option<Input>,
    pub(super) bans: Input,
    pub(super) numbers: Input,
    bans_at_most: usize,
    rows: usize,
}

impl Inputs {
    pub(super) fn new(
        gpu: Option<&Gpu>,
        plan: &Plan,
        capacity: usize,
        context: &Context,
    ) -> Result<Self> {
        let Plan { rows, tokens, choice, rules } = *plan;
        let device = context.device();
        let input = |words: Vec<u32>| Input::new(gpu, words, &device);
        let mut texts = vec![context.first(); rows];
        texts.resize(TokenHistory::line(tokens, rows).end, 0);
        let bans = rules.map_or(0, |rules| rules.bans).max(1);
        let beams = matches!(choice, Choice::Best(_));
        let lineage = beams.then(|| input(vec![0; rows * capacity])).transpose()?;
        Ok(Self {
            texts: input(texts)?,
            position: input(vec![0])?,
            lineage,
            bans: input(vec![NO_BAN; bans])?,
            numbers: input(vec![0; rows])?,
            bans_at_most: bans,
            rows,
        })
    }

    /// The texts so far.
    pub(super) fn history(&self) -> TokenHistory {
        TokenHistory::new(self.texts.words.clone(), self.rows)
    }

    /// Makes the table of rows as wide as the cache.
    pub(super) fn grow(
        &mut self,
        gpu: Option<&Gpu>,
        capacity: usize,
        device: &Device,
    ) -> Result<()> {
        if let Some(lineage) = &mut self.lineage {
            *lineage = Input::new(gpu, vec![0; self.rows * capacity], device)?;
        }
        Ok(())
    }

    /// Writes what the host says of the step at `position`.
    pub(super) fn tell(
        &mut self,
        gpu: Option<&Gpu>,
        capacity: usize,
        position: usize,
        told: &Told<'_>,
    ) {
        self.position.write(gpu, 0, &[position as u32]);
        if let Some(texts) = told.texts {
            self.texts.write(gpu, 0, texts);
        }
        if let (Some(input), Some(lineage)) = (&mut self.lineage, told.lineage) {
            for (row, past) in lineage.iter().enumerate() {
                input.write(gpu, row * capacity, past);
            }
        }
        if let Some(numbers) = told.numbers {
            self.numbers.write(gpu, 0, numbers);
        }
        if let Some(bans) = told.bans {
            let mut bans = bans.to_vec();
            bans.resize(self.bans_at_most, NO_BAN);
            self.bans.write(gpu, 0, &bans);
        }
    }
}

/// Words on the device that the host rewrites.
pub(super) struct Input {
    pub(super) words: Tensor<1, Int>,
    target: Target,
}

enum Target {
    /// Where the tensor lies.
    Memory(Slot),
    /// What it holds, to make it anew.
    Copy(Vec<u32>),
}

impl Input {
    fn new(gpu: Option<&Gpu>, words: Vec<u32>, device: &Device) -> Result<Self> {
        let tensor = words_tensor(words.clone(), device);
        let target = match gpu {
            Some(_) => Target::Memory(Slot::new(&tensor)?),
            None => Target::Copy(words),
        };
        Ok(Self { words: tensor, target })
    }

    fn write(&mut self, gpu: Option<&Gpu>, at: usize, words: &[u32]) {
        match (&mut self.target, gpu) {
            (Target::Memory(slot), Some(gpu)) => slot.write(gpu, at, words),
            (Target::Memory(_), None) => {}
            (Target::Copy(copy), _) => {
                copy.iter_mut().skip(at).zip(words).for_each(|(old, new)| *old = *new);
                self.words = words_tensor(copy.clone(), &self.words.device());
            }
        }
    }
}
