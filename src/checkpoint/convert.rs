//! From a plain Hugging Face checkpoint to a shard set.
//!
//! In: a folder with f32, f16 or bf16 weights. Out: a folder of safetensors files of at most
//! 32 MiB each, named by their hash, with the index, the configuration and the tokenizers.
//! Tensors stream through one block at a time; the same checkpoint and recipe give the same
//! bytes, however the source is cut into files and however many threads work.

use super::card;
use super::folder::Folder;
use super::index::{INDEX_FILE, ShardInfo, hex};
use super::names;
use super::output::OutputFolder;
use super::parallel;
use super::recipe::{Recipe, Storage};
use super::rows::{self, Rows, scales_name};
use super::safetensors::Dtype;
use super::shardset::{ALIGNMENT, Layout, SHARD_LIMIT, Slot, index_json, write_files};
use super::small_files;
use super::{Progress, Summary};
use crate::config::{ModelConfig, QuantizationConfig};
use crate::error::{Error, Result};
use crate::quant::{self, Format, f16};
use half::f16 as Half;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

/// How to convert.
#[derive(Debug, Clone)]
pub struct ConvertOptions {
    /// Which tensor is stored in which format.
    pub recipe: Recipe,
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
        Self { recipe: Recipe::new(format), force: false, threads: 0, limit: 0 }
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
    let folder = Folder::open(source)?;
    let config = folder.config()?;
    let model = ModelConfig::parse(&config)?;
    if model.quantization_config.is_some() {
        return Err(Error::ConfigInvalid {
            file: "config.json".into(),
            reason: "this is a shard set already; turn it back with `instructblip export` first"
                .into(),
        });
    }
    let plan = Plan::new(&folder, &options.recipe)?;
    let threads = match options.threads {
        0 => parallel::cores(),
        threads => threads,
    };
    let limit = if options.limit == 0 { SHARD_LIMIT } else { options.limit };
    let layout = Layout { alignment: ALIGNMENT, limit };
    let key = key(&folder, layout, &plan)?;
    let (mut output, start) = OutputFolder::resume(out, source, options.force, &key)?;
    let first = first_slot(layout, &plan, &mut output);
    let written =
        write_weights(&folder, &plan, layout, threads, first, &mut output, &mut |name, done| {
            progress(&Progress { done, total: plan.bytes, name, start })
        });
    let files = written.inspect_err(|error| {
        if !matches!(error, Error::Cancelled | Error::Io { .. }) {
            output.forget();
        }
    })?;
    let summary = Summary::new(&folder, &files, plan.storage.len());
    let copied = small_files::copy(folder.path(), &mut output)?;
    if !copied.contains(card::FILE) && !card::is_kept(out) {
        let formats = plan.formats(options.recipe.format());
        output.write(card::FILE, card::text(&config, &model, &formats, &summary).as_bytes())?;
    }
    output.write("config.json", &with_quantization(&config, &plan, options.recipe.format())?)?;
    output.write(INDEX_FILE, &index_json(&files, Some(&options.recipe.format().to_string()))?)?;
    output.commit()?;
    Ok(summary)
}

/// What the bytes of all files depend on, as a hash.
fn key(folder: &Folder, layout: Layout, plan: &Plan<'_>) -> Result<String> {
    let mut hash = Sha256::new_with_prefix(env!("CARGO_PKG_VERSION"));
    hash.update(folder.identity()?);
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
    folder: &Folder,
    plan: &'a Plan<'_>,
    layout: Layout,
    threads: usize,
    first: usize,
    output: &mut OutputFolder,
    report: &mut dyn FnMut(&str, u64) -> ControlFlow<()>,
) -> Result<Vec<(String, ShardInfo, &'a [Slot])>> {
    let (before, slots) = plan.slots.split_at(first);
    let tensors = slots
        .iter()
        .filter(|slot| plan.storage.contains_key(slot.name.as_str()))
        .map(|slot| Rows::of(folder, folder.tensor(&slot.name)?))
        .collect::<Result<Vec<_>>>()?;
    let pieces = rows::pieces(&tensors);
    let work = |piece: usize| {
        let (tensor, block) = &pieces[piece];
        let rows = &tensors[*tensor];
        rows.map(block, |w, n| encode(w, n, plan.storage[rows.name]))
    };
    let name =
        |_, _, sha256: &str| format!("model-{}.safetensors", sha256.get(..16).unwrap_or(sha256));
    let (mut done, mut scales) = (before.iter().map(Slot::bytes).sum(), Vec::new());
    let mut report = |name: &str, done| match report(name, done) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    };
    report("", done)?;
    parallel::in_order(threads, pieces.len(), work, |next| {
        write_files(output, layout, &plan.slots, name, |slot, write| {
            let mut write = |bytes: &[u8]| {
                write(bytes)?;
                done += bytes.len() as u64;
                report(&slot.name, done)
            };
            if !plan.storage.contains_key(slot.name.as_str()) {
                // A slot without a tensor of its own: the scales of the weight before it.
                return write(&std::mem::take(&mut scales));
            }
            let mut left = slot.bytes();
            while left > 0 {
                let (bytes, more) = next()?;
                left = left.saturating_sub(bytes.len() as u64);
                scales.extend(more);
                write(&bytes)?;
            }
            Ok(())
        })
    })
}

/// What is written, in order.
struct Plan<'a> {
    slots: Vec<Slot>,
    /// How the checkpoint's own tensors are stored.
    storage: BTreeMap<&'a str, Storage>,
    bytes: u64,
}

impl<'a> Plan<'a> {
    fn new(folder: &'a Folder, recipe: &Recipe) -> Result<Self> {
        let mut tensors: Vec<_> = folder.tensors().collect();
        tensors.sort_by(|a, b| names::order(a.name, b.name));
        let (mut slots, mut storage) = (Vec::new(), BTreeMap::new());
        let mut matrices = Vec::new();
        for tensor in tensors {
            // Refuses what holds no weights, and weights that are packed already.
            let rows = Rows::of(folder, tensor)?;
            if rows.packing().is_some() || folder.tensor(&scales_name(tensor.name)).is_ok() {
                return Err(Error::TensorShape {
                    name: tensor.name.into(),
                    expected: "floating-point weights without scales".into(),
                    found: format!("{} {:?} with scales", tensor.dtype, tensor.shape),
                });
            }
            let stored = recipe.storage(tensor.name, tensor.shape);
            storage.insert(tensor.name, stored);
            let mut slot = |name: String, dtype, shape: &[usize], follows| {
                slots.push(Slot { name, dtype, shape: shape.to_vec(), follows });
            };
            let name = tensor.name.to_owned();
            match stored {
                Storage::Plain => slot(name, Dtype::F32, tensor.shape, false),
                Storage::Matrix { format, n, k } => {
                    matrices.push(tensor.name);
                    match (format, format.weights_per_word()) {
                        (_, Some(per_word)) => {
                            slot(name, Dtype::U32, &[n, k / per_word], false);
                            slot(
                                scales_name(tensor.name),
                                Dtype::F16,
                                &[n, k / quant::GROUP],
                                true,
                            );
                        }
                        (Format::F16, _) => slot(name, Dtype::F16, &[n, k], false),
                        _ => slot(name, Dtype::F32, &[n, k], false),
                    }
                }
            }
        }
        if let Some(pattern) = recipe.idle_rules(&matrices).next() {
            return Err(Error::OptionInvalid {
                option: "keep".into(),
                reason: format!("{pattern:?} matches no matrix of the checkpoint"),
            });
        }
        let bytes = slots.iter().map(Slot::bytes).sum();
        Ok(Self { slots, storage, bytes })
    }

    /// How many matrices are in each format that any is in, `first` before others.
    fn formats(&self, first: Format) -> Vec<(Format, usize)> {
        let others = Format::ALL.into_iter().filter(|format| *format != first);
        let count = |format: Format| {
            let is = |s: &&Storage| matches!(s, Storage::Matrix { format: f, .. } if *f == format);
            (format, self.storage.values().filter(is).count())
        };
        [first].into_iter().chain(others).map(count).filter(|(_, count)| *count > 0).collect()
    }
}

/// The bytes of `n` rows as they are stored, and those of their scales.
fn encode(w: &[f32], n: usize, storage: Storage) -> Result<(Vec<u8>, Vec<u8>)> {
    let halves = |values: &[Half]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    match storage {
        Storage::Matrix { format, k, .. } if format.is_packed() => {
            let packed = quant::quantize(format, w, n, k)?;
            let words = packed.words.iter().flat_map(|x| x.to_le_bytes()).collect();
            Ok((words, halves(&packed.scales)))
        }
        Storage::Matrix { format: Format::F16, k, .. } => {
            Ok((halves(&f16::quantize(w, k)?), Vec::new()))
        }
        _ => Ok((w.iter().flat_map(|x| x.to_le_bytes()).collect(), Vec::new())),
    }
}

/// `config.json` with the format of the matrices and the names of those in another one.
fn with_quantization(config: &[u8], plan: &Plan<'_>, format: Format) -> Result<Vec<u8>> {
    let other = |(name, storage): (&&str, &Storage)| match storage {
        Storage::Matrix { format: other, .. } if *other != format => {
            Some(((*name).to_owned(), *other))
        }
        _ => None,
    };
    let exceptions = plan.storage.iter().filter_map(other).collect();
    let packed = QuantizationConfig { exceptions, ..QuantizationConfig::new(format) };
    edit_config(config, |config| {
        let value = serde_json::to_value(packed).map_err(|e| json_error(&e))?;
        config.insert("quantization_config".into(), value);
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

impl Summary {
    pub(super) fn new(
        folder: &Folder,
        files: &[(String, ShardInfo, &[Slot])],
        tensors: usize,
    ) -> Self {
        let end = |header: &super::Header| header.tensors.last().map_or(0, |t| t.range.end);
        Self {
            tensors,
            source_bytes: folder.headers().map(|(_, h)| (h.data_start + end(h)) as u64).sum(),
            files: files.len(),
            bytes: files.iter().map(|(_, info, _)| info.bytes).sum(),
        }
    }
}
