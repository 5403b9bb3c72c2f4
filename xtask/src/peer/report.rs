//! The arithmetic of the comparison, and its table.

use std::fmt;

use serde_json::{Value, json};

/// What is compared, in the order in which it happens.
pub const STAGES: [&str; 3] = ["image encode", "question prefill", "token"];
/// The peer's own 4-bit products throughout, which the table compares with besides its fastest.
const Q4: &str = "q4";

/// Milliseconds of each stage in one run.
pub type Run = [f64; STAGES.len()];

/// The runs of an engine, or of one of its formats; those of the same place belong together.
#[derive(Debug)]
pub struct Runs {
    pub name: String,
    pub runs: Vec<Run>,
}

impl Runs {
    fn stage(&self, stage: usize) -> Vec<f64> {
        self.runs.iter().map(|run| run[stage]).collect()
    }

    fn spread(&self, stage: usize) -> Spread {
        Spread::of(self.stage(stage))
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "milliseconds": self.runs })
    }
}

/// Median and extremes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of an even number of samples the median is the mean of the two in the middle; of none, all is NaN.
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |index: usize| samples.get(index).copied().unwrap_or(f64::NAN);
        let last = samples.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(samples.len() / 2));
        Self { median, min: at(0), max: at(last) }
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }

    /// Of how many times as long the peer took in runs that were made side by side.
    fn of_ratios(peer: &[f64], engine: &[f64]) -> Self {
        Self::of(peer.iter().zip(engine).map(|(peer, engine)| peer / engine).collect())
    }
}

/// The milliseconds in what tools/peer prints of a run. Where a stage was not timed by itself, it
/// comes from the times from the question to each token: a token is what each after the first took,
/// and the prefill what the first took beyond that.
pub fn run_of(sample: &Value) -> Option<Run> {
    let given = |name: &str| sample[name].as_f64();
    let (image_encode, prefill) = (given("imageEncodeMs")?, given("prefillMs"));
    let Some(times) = sample["tokenTimes"].as_array() else {
        return Some([image_encode, prefill?, given("tokenMs")?]);
    };
    let (first, last) = (times.first()?.as_f64()?, times.last()?.as_f64()?);
    let steps = times.len().checked_sub(1).filter(|steps| *steps > 0)?;
    let token = (last - first) / steps as f64;
    Some([image_encode, prefill.unwrap_or(first - token), token])
}

/// A model's samples in one place.
pub struct Report {
    pub model: String,
    pub machine: String,
    pub engine: Runs,
    /// The peer in several formats of the weights.
    pub peer: Vec<Runs>,
}

/// A stage of the engine against the peer's.
struct Comparison {
    stage: &'static str,
    /// The peer's format with the least median.
    fastest: String,
    to_fastest: Spread,
    to_q4: Option<Spread>,
}

impl Report {
    fn compare(&self) -> Vec<Comparison> {
        let compare = |(stage, name): (usize, &&'static str)| {
            let median = |peer: &Runs| peer.spread(stage).median;
            let fastest = self.peer.iter().min_by(|a, b| median(a).total_cmp(&median(b)))?;
            let engine = self.engine.stage(stage);
            let ratio = |peer: &Runs| Spread::of_ratios(&peer.stage(stage), &engine);
            Some(Comparison {
                stage: name,
                fastest: fastest.name.clone(),
                to_fastest: ratio(fastest),
                to_q4: self.peer.iter().find(|peer| peer.name == Q4).map(ratio),
            })
        };
        STAGES.iter().enumerate().filter_map(compare).collect()
    }

    /// All samples and ratios.
    pub fn json(&self) -> Value {
        let ratio = |row: &Comparison| {
            let (to_fastest, to_q4) = (row.to_fastest.json(), row.to_q4.map(Spread::json));
            json!({ "stage": row.stage, "fastest": row.fastest, "toFastest": to_fastest, "toQ4": to_q4 })
        };
        let peer: Vec<Value> = self.peer.iter().map(Runs::json).collect();
        let ratios: Vec<Value> = self.compare().iter().map(ratio).collect();
        json!({
            "model": self.model, "machine": self.machine, "stages": STAGES,
            "engine": self.engine.json(), "peer": peer, "ratios": ratios,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.engine.runs.len();
        writeln!(
            f,
            "{}: {}; milliseconds, median (least to most) of {runs} runs\n",
            self.model, self.machine
        )?;
        write!(f, "| | {} |", self.engine.name)?;
        for peer in &self.peer {
            write!(f, " ONNX Runtime {} |", peer.name)?;
        }
        writeln!(f, " its fastest over ours | its q4 over ours |")?;
        writeln!(f, "|---|{}", "---:|".repeat(self.peer.len() + 3))?;
        for (stage, compared) in self.compare().iter().enumerate() {
            write!(f, "| {} |", compared.stage)?;
            for runs in std::iter::once(&self.engine).chain(&self.peer) {
                write!(f, " {} |", Shown(runs.spread(stage)))?;
            }
            write!(f, " **{}** |", Shown(compared.to_fastest))?;
            match compared.to_q4 {
                Some(ratio) => writeln!(f, " {} |", Shown(ratio))?,
                None => writeln!(f, " |")?,
            }
        }
        Ok(())
    }
}

/// A spread with as many decimals as it deserves.
struct Shown(Spread);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, min, max } = self.0;
        let decimals = match median {
            100.0.. => 0,
            10.0.. => 1,
            0.1.. => 2,
            _ => 4,
        };
        write!(f, "{median:.decimals$} ({min:.decimals$} to {max:.decimals$})")
    }
}

#[cfg(test)]
mod unit {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn runs(name: &str, runs: &[Run]) -> Runs {
        Runs { name: name.into(), runs: runs.to_vec() }
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(Spread::of(vec![9.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 9.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 9.0]).median, 3.0);
        assert!(Spread::of(Vec::new()).median.is_nan());
    }

    /// A machine that was twice as slow in the second repetition changes times, not ratios.
    #[test]
    fn ratios_are_of_runs_made_side_by_side() {
        let ratio = Spread::of_ratios(&[30.0, 60.0, 31.0], &[10.0, 20.0, 10.0]);
        assert_eq!(ratio, Spread { median: 3.0, min: 3.0, max: 3.1 });
    }

    #[test]
    fn an_answers_clock_is_split_into_prefill_and_tokens() {
        let split = |times: Value| run_of(&json!({ "imageEncodeMs": 7.0, "tokenTimes": times }));
        assert_eq!(split(json!([110.0, 120.0, 130.0])), Some([7.0, 100.0, 10.0]));
        // Nothing changes where tokens are told two at a time.
        assert_eq!(split(json!([110.0, 130.0, 130.0])), Some([7.0, 100.0, 10.0]));
        assert_eq!(split(json!([110.0])), None);
        assert_eq!(split(json!([])), None);
        let timed =
            json!({ "imageEncodeMs": 7.0, "prefillMs": 90.0, "tokenTimes": [110.0, 130.0] });
        assert_eq!(run_of(&timed), Some([7.0, 90.0, 20.0]));
        let stages = json!({ "imageEncodeMs": 7.0, "prefillMs": 100.0, "tokenMs": 10.0 });
        assert_eq!(run_of(&stages), Some([7.0, 100.0, 10.0]));
    }

    #[test]
    fn each_stage_is_compared_with_the_fastest_format() {
        let report = Report {
            model: "model".into(),
            machine: "machine".into(),
            engine: runs("engine", &[[10.0, 10.0, 1.0], [20.0, 20.0, 2.0]]),
            peer: vec![
                runs("f32", &[[30.0, 20.0, 9.0], [60.0, 40.0, 16.0]]),
                runs("q4", &[[20.0, 30.0, 8.0], [40.0, 60.0, 18.0]]),
            ],
        };
        let compared = report.compare();
        let fastest: Vec<_> = compared.iter().map(|row| row.fastest.as_str()).collect();
        assert_eq!(fastest, ["q4", "f32", "f32"]);
        assert_eq!(compared[1].to_fastest.median, 2.0);
        assert_eq!(compared[1].to_q4.unwrap().median, 3.0);
        assert_eq!(compared[2].to_fastest, Spread { median: 8.5, min: 8.0, max: 9.0 });
        let text = report.to_string();
        let row = "| question prefill | 15.0 (10.0 to 20.0) | 30.0 (20.0 to 40.0) | 45.0 (30.0 to 60.0) | **2.00 (2.00 to 2.00)** | 3.00 (3.00 to 3.00) |";
        assert!(text.contains(row), "{text}");
    }
}
