//! From a plain Hugging Face checkpoint to a shard set.
//!
//! In: a folder with f32, f16 or bf16 weights. Out: a folder of safetensors files of at most
//! 32 MiB each, named by their hash, with the index, the configuration and the tokenizers.
//! Tensors stream through one block at a time; the same checkpoint and recipe give the same
//! bytes, however the source is cut into files and however many threads work.

use super::card;
use super::output::OutputFolder;
use super::recipe::Recipe;
use super::rows::{self, Rows};
use super::shardset::{ALIGNMENT, Layout, SHARD_LIMIT, Slot, index_json, write_files};
use super::{Meter, Progress, Source, Summary, parallel, small_files};
use crate::checkpoint::index::{INDEX_FILE, ShardInfo, hex};
use crate::checkpoint::{Dtype, Header};
use crate::config::{About, QuantizationConfig, about};
use crate::error::{Error, Result};
use crate::quant::Format;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::ops::ControlFlow;
use std::path::Path;

/// How to convert.
#[derive(Debug, Clone)]
pub struct ConvertOptions {
    /// Which tensor is stored in which format.
    pub recipe: Recipe,
    /// What the set says of itself; `None` leaves what the source says.
    pub about: Option<About>,
    /// Whether a checkpoint in the output folder is replaced.
    pub force: bool,
    /// Threads that pack; 0 for one per core.
    pub threads: usize,
    /// Most bytes of tensor data in a file; 0 for [`SHARD_LIMIT`].
    pub limit: u64,
}

impl ConvertOptions {
    /// All matrices in `format`, into an empty folder.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { recipe: Recipe::new(format), about: None, force: false, threads: 0, limit: 0 }
    }
}

/// Converts the checkpoint in `source` to a shard set in `out`.
///
/// `progress` is called after every block. Where it breaks, where the disk is full or the process
/// is killed, the files that are complete stay in [`UNFINISHED`](super::output::UNFINISHED), and
/// the same call continues after them; a call with other options or another source starts over.
///
/// # Errors
/// The checkpoint is invalid or a shard set already, `out` is not empty or cannot be written,
/// a weight cannot be stored in its format, or the conversion was cancelled.
pub fn convert(
    source: &Path,
    out: &Path,
    options: &ConvertOptions,
    progress: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
) -> Result<Summary> {
    let opened = Source::open(source)?;
    if opened.description.packing().is_some() {
        return Err(Error::ConfigInvalid {
            file: "config.json".into(),
            reason: "this is a shard set already; turn it back with `instructblip export` first"
                .into(),
        });
    }
    let plan = Plan::new(&opened, &options.recipe)?;
    let threads = match options.threads {
        0 => parallel::cores(),
        threads => threads,
    };
    let limit = if options.limit == 0 { SHARD_LIMIT } else { options.limit };
    let layout = Layout { alignment: ALIGNMENT, limit };
    let key = key(&opened, layout, &plan)?;
    let (mut output, start) = OutputFolder::resume(out, source, options.force, &key)?;
    let first = first_slot(layout, &plan, &mut output);
    let mut meter = Meter::new(plan.bytes, start, progress);
    let written = write_weights(&plan, layout, threads, first, &mut output, &mut meter);
    let files = written.inspect_err(|error| {
        if !matches!(error, Error::Cancelled | Error::Io { .. }) {
            output.forget();
        }
    })?;
    let summary = Summary::new(&opened, &files, plan.tensors.len());
    let copied = small_files::copy(opened.folder.path(), &mut output)?;
    if !copied.contains(card::FILE) && !card::is_kept(out) {
        let formats = plan.formats(options.recipe.format());
        let text = card::text(&opened.config, &opened.model_type, &formats, &summary);
        output.write(card::FILE, text.as_bytes())?;
    }
    let format = options.recipe.format();
    let config = with_quantization(&opened.config, &plan, format)?;
    let config = with_about(config, options.about.as_ref())?;
    output.write("config.json", &config)?;
    output.write(INDEX_FILE, &index_json(&files, Some(&format.to_string()))?)?;
    output.commit()?;
    Ok(summary)
}

/// What the bytes of all files depend on, as a hash.
fn key(source: &Source, layout: Layout, plan: &Plan<'_>) -> Result<String> {
    let mut hash = Sha256::new_with_prefix(env!("CARGO_PKG_VERSION"));
    hash.update(source.folder.identity()?);
    for run in layout.cut(&plan.slots) {
        hash.update(layout.header(run)?);
    }
    Ok(hex(&hash.finalize()))
}

/// The slot at which the work begins, after those in complete files.
fn first_slot(layout: Layout, plan: &Plan<'_>, output: &mut OutputFolder) -> usize {
    let runs = layout.cut(&plan.slots);
    // The scales of a very large weight are in the file after it, and known only once the weight
    // was packed: then that file is made again.
    let torn = |run: Option<&&[Slot]>| run.and_then(|run| run.first()).is_some_and(|s| s.follows);
    let mut count = output.done().len().min(runs.len());
    while count > 0 && torn(runs.get(count)) {
        count -= 1;
    }
    output.truncate_done(count);
    runs.iter().take(count).map(|run| run.len()).sum()
}

/// Packs and writes the slots from `first` on. `report` gets the name at work and the bytes there
/// are by then.
fn write_weights<'a>(
    plan: &'a Plan<'_>,
    layout: Layout,
    threads: usize,
    first: usize,
    output: &mut OutputFolder,
    meter: &mut Meter<'_>,
) -> Result<Vec<(String, ShardInfo, &'a [Slot])>> {
    let (before, slots) = plan.slots.split_at(first);
    let heads = slots.iter().filter(|slot| !slot.follows).count();
    let tensors = plan.tensors.get(plan.tensors.len() - heads..).unwrap_or_default();
    let (rows, formats): (Vec<Rows<'_>>, Vec<Option<Format>>) = tensors.iter().cloned().unzip();
    let pieces = rows::pieces(&rows);
    let work = |piece: usize| {
        let (tensor, block) = &pieces[piece];
        let Rows { k, .. } = rows[*tensor];
        let spec = formats[*tensor].unwrap_or(Format::F32).spec();
        rows[*tensor].map(block, |w, n| (spec.pack)(w, n, k))
    };
    let name =
        |_, _, sha256: &str| format!("model-{}.safetensors", sha256.get(..16).unwrap_or(sha256));
    meter.done = before.iter().map(Slot::bytes).sum();
    meter.wrote("", 0)?;
    // The pieces of the weight at work that are written after it.
    let mut companions: Vec<Vec<u8>> = Vec::new();
    parallel::in_order(threads, pieces.len(), work, |next| {
        write_files(output, layout, &plan.slots, name, |slot, write| {
            let mut write = |bytes: &[u8]| {
                write(bytes)?;
                meter.wrote(&slot.name, bytes.len())
            };
            if slot.follows {
                return match companions.is_empty() {
                    true => Err(internal(format!("{} has nothing before it", slot.name))),
                    false => write(&companions.remove(0)),
                };
            }
            let mut left = slot.bytes();
            while left > 0 {
                let mut bytes = next()?.into_iter();
                let first = bytes.next().unwrap_or_default();
                left = left.saturating_sub(first.len() as u64);
                write(&first)?;
                companions.resize_with(bytes.len(), Vec::new);
                companions.iter_mut().zip(bytes).for_each(|(all, more)| all.extend(more));
            }
            Ok(())
        })
    })
}

/// What is written, in order.
struct Plan<'a> {
    /// The tensors, and the formats of matrices.
    tensors: Vec<(Rows<'a>, Option<Format>)>,
    slots: Vec<Slot>,
    bytes: u64,
}

impl<'a> Plan<'a> {
    fn new(source: &'a Source, recipe: &Recipe) -> Result<Self> {
        let format = |rows: Rows<'a>| {
            let format = recipe.storage(rows.wanted);
            (rows, format)
        };
        let tensors: Vec<_> = source.present()?.into_iter().map(format).collect();
        let mut slots = Vec::new();
        let mut matrices = Vec::new();
        for (Rows { wanted, .. }, format) in &tensors {
            let Some(format) = format else {
                let (name, shape) = (wanted.name.clone(), wanted.shape.clone());
                slots.push(Slot { name, dtype: Dtype::F32, shape, follows: false });
                continue;
            };
            matrices.push(wanted.name.as_str());
            let pieces = wanted.pieces(*format).into_iter().enumerate();
            slots.extend(pieces.map(|(i, (name, dtype, shape))| Slot {
                name,
                dtype,
                shape,
                follows: i > 0,
            }));
        }
        if let Some(pattern) = recipe.idle_rules(&matrices).next() {
            return Err(Error::OptionInvalid {
                option: "keep".into(),
                reason: format!("{pattern:?} matches no matrix of the checkpoint"),
            });
        }
        let bytes = slots.iter().map(Slot::bytes).sum();
        Ok(Self { tensors, slots, bytes })
    }

    /// How many matrices are in each format that any is in, `first` before others.
    fn formats(&self, first: Format) -> Vec<(Format, usize)> {
        let others = Format::ALL.into_iter().filter(|format| *format != first);
        let count = |format: Format| {
            (format, self.tensors.iter().filter(|(_, own)| *own == Some(format)).count())
        };
        [first].into_iter().chain(others).map(count).filter(|(_, count)| *count > 0).collect()
    }
}

/// `config.json` with the format of the matrices and the names of those in another one.
fn with_quantization(config: &[u8], plan: &Plan<'_>, format: Format) -> Result<Vec<u8>> {
    let other = |(rows, own): &(Rows<'_>, Option<Format>)| {
        own.filter(|own| *own != format).map(|own| (rows.wanted.name.clone(), own))
    };
    let exceptions = plan.tensors.iter().filter_map(other).collect();
    let packed = QuantizationConfig { exceptions, ..QuantizationConfig::new(format) };
    edit_config(config, |config| {
        let value = serde_json::to_value(packed).map_err(|e| json_error(&e))?;
        config.insert("quantization_config".into(), value);
        Ok(())
    })
}

/// `config.json` with what the set says of itself.
fn with_about(config: Vec<u8>, about: Option<&About>) -> Result<Vec<u8>> {
    let Some(about) = about else { return Ok(config) };
    edit_config(&config, |config| {
        let value = serde_json::to_value(about).map_err(|e| json_error(&e))?;
        config.insert(about::SECTION.into(), value);
        Ok(())
    })
}

/// Applies a change to the object in `config.json`.
pub(super) fn edit_config(
    bytes: &[u8],
    edit: impl FnOnce(&mut serde_json::Map<String, Value>) -> Result<()>,
) -> Result<Vec<u8>> {
    let mut config = serde_json::from_slice(bytes).map_err(|e| json_error(&e))?;
    edit(&mut config)?;
    let mut text = serde_json::to_vec_pretty(&config).map_err(|e| json_error(&e))?;
    text.push(b'\n');
    Ok(text)
}

fn json_error(error: &serde_json::Error) -> Error {
    Error::ConfigInvalid { file: "config.json".into(), reason: error.to_string() }
}

fn internal(reason: String) -> Error {
    Error::Internal { reason }
}

impl Summary {
    pub(super) fn new(
        source: &Source,
        files: &[(String, ShardInfo, &[Slot])],
        tensors: usize,
    ) -> Self {
        let end = |header: &Header| header.tensors.last().map_or(0, |t| t.range.end);
        let headers = source.folder.headers();
        Self {
            tensors,
            left_out: source.strange().count(),
            source_bytes: headers.map(|(_, h)| (h.data_start + end(h)) as u64).sum(),
            files: files.len(),
            bytes: files.iter().map(|(_, info, _)| info.bytes).sum(),
        }
    }
}
