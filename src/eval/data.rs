//! The data set: one JSON object a line, checked whole before the model is asked anything.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::line::{Images, Line};
use super::{Metric, prompt, report};
use crate::error::{Error, Result};

/// Fewest answers for which the VQA rule can reach full agreement.
const FEWEST_PEOPLE: usize = 4;

/// A checked item.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    /// Its line in the file, from 1.
    pub line: usize,
    /// Its name, unique in the file; the line's number where none is given.
    pub id: String,
    /// Its pictures.
    pub images: Vec<PathBuf>,
    /// The finished prompt.
    pub prompt: String,
    /// What people answered.
    pub answers: Vec<String>,
    /// What to rank; empty when the answer is generated.
    pub candidates: Vec<String>,
    /// Index of the right candidate.
    pub gold: Option<usize>,
    /// Rows of the report.
    pub task: String,
    /// How it is scored.
    pub metric: Metric,
}

/// Reads a data set. Pictures are looked for in `images` and nowhere else, `metric` overrules
/// the lines'.
///
/// # Errors
/// [`Error::DataInvalid`] with the first line that is malformed, contradicts the others, or
/// names a picture that is not there or lies outside of `images`; that folder is not there.
pub fn read(path: &Path, images: &Path, metric: Option<Metric>) -> Result<Vec<Item>> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    let pictures = Pictures::open(images)?;
    let default_task = path.file_stem().unwrap_or_default().to_string_lossy();
    let invalid =
        |line, reason| Error::DataInvalid { file: path.display().to_string(), line, reason };
    let mut items = Vec::new();
    let mut ids = HashSet::new();
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for (number, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let line = serde_json::from_str(text)
            .map_err(|error| invalid(number, format!("{error} of this line")))?;
        let item = check(line, number, &pictures, &default_task, metric)
            .map_err(|reason| invalid(number, reason))?;
        if !ids.insert(item.id.clone()) {
            return Err(invalid(number, format!("the id {} occurred before", item.id)));
        }
        let first = *metrics.entry(item.task.clone()).or_insert(item.metric);
        if first != item.metric {
            return Err(invalid(
                number,
                format!(
                    "task {} is scored by {} before and by {} here; give the lines one metric or two tasks",
                    item.task,
                    first.name(),
                    item.metric.name()
                ),
            ));
        }
        items.push(item);
    }
    if items.is_empty() {
        return Err(invalid(1, "there is no item in the file".into()));
    }
    Ok(items)
}

/// The folder of the pictures.
struct Pictures<'a> {
    folder: &'a Path,
    /// The same without links.
    real: PathBuf,
}

impl<'a> Pictures<'a> {
    fn open(folder: &'a Path) -> Result<Self> {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let real = here.canonicalize().map_err(|error| Error::io(here, error))?;
        Ok(Self { folder, real })
    }

    /// A picture in the folder: a data set may come from anybody, and names no other files.
    fn find(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        let missing = || format!("there is no picture {}; is --images right?", path.display());
        let real = path.canonicalize().map_err(|_| missing())?;
        if !real.starts_with(&self.real) {
            return Err(format!(
                "the picture {} lies outside of {}; give the folder that holds all of them as --images",
                path.display(),
                self.real.display()
            ));
        }
        if real.is_file() { Ok(path) } else { Err(missing()) }
    }
}

fn check(
    line: Line,
    number: usize,
    pictures: &Pictures<'_>,
    default_task: &str,
    metric: Option<Metric>,
) -> Result<Item, String> {
    let task = line.task.clone().unwrap_or_else(|| default_task.to_owned());
    let metric = metric.or(line.metric).or(report::metric_of(&task)).unwrap_or({
        let people = line.candidates.is_empty() && line.answers.len() >= FEWEST_PEOPLE;
        if people { Metric::Vqa } else { Metric::Exact }
    });
    let gold = match line.label {
        Some(label) if label >= line.candidates.len() => {
            return Err(format!(
                "label {label} is not the index of one of the {} candidates",
                line.candidates.len()
            ));
        }
        Some(label) => Some(label),
        None => line.candidates.iter().position(|candidate| line.answers.contains(candidate)),
    };
    enough(&line, metric, gold)?;
    let images: Vec<PathBuf> = match &line.image {
        Images::One(name) => vec![pictures.find(name)?],
        Images::Several(names) => {
            names.iter().map(|name| pictures.find(name)).collect::<Result<_, _>>()?
        }
    };
    if images.is_empty() {
        return Err("image is an empty list".into());
    }
    let id = match &line.id {
        None => number.to_string(),
        Some(serde_json::Value::String(id)) => id.clone(),
        Some(serde_json::Value::Number(id)) => id.to_string(),
        Some(_) => return Err("id is neither a string nor a number".into()),
    };
    let prompt = prompt::build(&line, metric)?;
    let Line { answers, candidates, .. } = line;
    Ok(Item { line: number, id, images, prompt, answers, candidates, gold, task, metric })
}

/// Whether the line has what the metric needs.
fn enough(line: &Line, metric: Metric, gold: Option<usize>) -> Result<(), String> {
    let (answers, candidates) = (line.answers.len(), line.candidates.len());
    let missing = match metric {
        Metric::Vqa if answers < FEWEST_PEOPLE => {
            format!("at least {FEWEST_PEOPLE} answers, usually 10; for fewer use exact")
        }
        Metric::Exact if answers == 0 && gold.is_none() => {
            "answers, or candidates and label".into()
        }
        Metric::Cider if answers == 0 => "answers".into(),
        Metric::Cider if candidates > 0 => "no candidates".into(),
        Metric::Mrr if candidates < 2 || gold.is_none() => {
            "two candidates or more, and the right one as label or answer".into()
        }
        Metric::Auc if candidates != 2 || gold.is_none() => {
            "two candidates, the negative first, and the right one as label or answer".into()
        }
        _ => return Ok(()),
    };
    Err(format!("the metric {} needs {missing}", metric.name()))
}
