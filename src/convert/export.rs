//! From a shard set back to a plain Hugging Face checkpoint.
//!
//! In: a shard set (or any checkpoint). Out: the same tensors in f32 and in the shapes of the
//! reference implementation, so that it can measure what packing cost.

use super::journal::Start;
use super::output::OutputFolder;
use super::pack::edit_config;
use super::rows::{self, Rows};
use super::shardset::{Layout, Slot, index_json, plain_name, write_files};
use super::{Meter, Progress, Source, Summary, parallel, small_files};
use crate::checkpoint::Dtype;
use crate::checkpoint::index::INDEX_FILE;
use crate::error::Result;
use std::ops::ControlFlow;
use std::path::Path;

/// How to export.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// Whether a checkpoint in the output folder is replaced.
    pub force: bool,
    /// Most bytes of tensor data in a file; 0 for 2 GB.
    pub limit: u64,
}

/// Bytes of tensor data in a file of an export.
const FILE_LIMIT: u64 = 2_000_000_000;

/// Exports the shard set in `source` to a plain checkpoint in `out`.
///
/// `progress` is called after every block; where it breaks, everything written is removed.
///
/// # Errors
/// The set is invalid or damaged, `out` is not empty or cannot be written, or the export was
/// cancelled.
pub fn export(
    source: &Path,
    out: &Path,
    options: &ExportOptions,
    progress: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
) -> Result<Summary> {
    let opened = Source::open(source)?;
    let tensors = opened.present()?;
    let slots: Vec<Slot> = tensors.iter().map(slot).collect();
    let folder = &opened.folder;
    folder.verify()?;
    let mut output = OutputFolder::create(out, source, options.force)?;
    let limit = if options.limit == 0 { FILE_LIMIT } else { options.limit };
    let mut meter = Meter::new(slots.iter().map(Slot::bytes).sum(), Start::Fresh, progress);
    let layout = Layout { alignment: 1, limit };
    let pieces = rows::pieces(&tensors);
    let work = |piece: usize| {
        let (tensor, block) = &pieces[piece];
        tensors[*tensor]
            .map(block, |w, _| Ok(w.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()))
    };
    let files = parallel::in_order(parallel::cores(), pieces.len(), work, |next| {
        write_files(&mut output, layout, &slots, plain_name, |slot, write| {
            let end = meter.done + slot.bytes();
            while meter.done < end {
                let bytes = next()?;
                write(&bytes)?;
                meter.wrote(&slot.name, bytes.len())?;
            }
            Ok(())
        })
    })?;
    small_files::copy(folder.path(), &mut output)?;
    output.write("config.json", &plain_config(&opened.config)?)?;
    if files.len() > 1 {
        output.write(INDEX_FILE, &index_json(&files, None)?)?;
    }
    let summary = Summary::new(&opened, &files, slots.len());
    output.commit()?;
    Ok(summary)
}

/// A tensor of the export: f32, in the reference's shape.
fn slot(rows: &Rows<'_>) -> Slot {
    let (name, shape) = (rows.wanted.name.clone(), rows.wanted.shape.clone());
    Slot { name, dtype: Dtype::F32, shape, follows: false }
}

/// `config.json` of a plain f32 checkpoint.
fn plain_config(config: &[u8]) -> Result<Vec<u8>> {
    edit_config(config, |config| {
        config.remove("quantization_config");
        // The type is said for the whole and may be repeated for the parts.
        for key in ["torch_dtype", "dtype"] {
            if let Some(value) = config.get_mut(key) {
                *value = "float32".into();
            }
            for part in config.values_mut().filter_map(|part| part.get_mut(key)) {
                *part = "float32".into();
            }
        }
        Ok(())
    })
}
