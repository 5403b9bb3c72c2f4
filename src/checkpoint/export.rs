//! From a shard set back to a plain Hugging Face checkpoint.
//!
//! In: a shard set (or any checkpoint). Out: the same tensors in f32 and in the shapes of the
//! reference implementation, so that it can measure what packing cost.

use super::convert::edit_config;
use super::folder::Folder;
use super::index::INDEX_FILE;
use super::journal::Start;
use super::names::{self, PATCH};
use super::output::OutputFolder;
use super::parallel;
use super::rows::{self, Rows, scales_name};
use super::safetensors::Dtype;
use super::shardset::{Layout, Slot, index_json, plain_name, write_files};
use super::small_files;
use super::{Progress, Summary};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use std::collections::BTreeSet;
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
    let folder = Folder::open(source)?;
    let config = folder.config()?;
    let patch_size = ModelConfig::parse(&config)?.vision_config.patch_size;
    let slots = slots(&folder, patch_size)?;
    folder.verify()?;
    let mut output = OutputFolder::create(out, source, options.force)?;
    let limit = if options.limit == 0 { FILE_LIMIT } else { options.limit };
    let (mut done, total) = (0, slots.iter().map(Slot::bytes).sum());
    let layout = Layout { alignment: 1, limit };
    let tensors = slots
        .iter()
        .map(|slot| Rows::of(&folder, folder.tensor(&slot.name)?))
        .collect::<Result<Vec<_>>>()?;
    let pieces = rows::pieces(&tensors);
    let work = |piece: usize| {
        let (tensor, block) = &pieces[piece];
        tensors[*tensor]
            .map(block, |w, _| Ok(w.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()))
    };
    let files = parallel::in_order(parallel::cores(), pieces.len(), work, |next| {
        write_files(&mut output, layout, &slots, plain_name, |slot, write| {
            let end = done + slot.bytes();
            while done < end {
                let bytes = next()?;
                write(&bytes)?;
                done += bytes.len() as u64;
                if progress(&Progress { done, total, name: &slot.name, start: Start::Fresh })
                    .is_break()
                {
                    return Err(Error::Cancelled);
                }
            }
            Ok(())
        })
    })?;
    small_files::copy(folder.path(), &mut output)?;
    output.write("config.json", &plain_config(&config)?)?;
    if files.len() > 1 {
        output.write(INDEX_FILE, &index_json(&files, None)?)?;
    }
    let summary = Summary::new(&folder, &files, slots.len());
    output.commit()?;
    Ok(summary)
}

/// The tensors of the export: f32, in the reference's shapes.
fn slots(folder: &Folder, patch_size: usize) -> Result<Vec<Slot>> {
    let scales: BTreeSet<String> =
        folder.tensors().filter(|t| t.dtype == Dtype::U32).map(|t| scales_name(t.name)).collect();
    let mut tensors: Vec<_> = folder.tensors().filter(|t| !scales.contains(t.name)).collect();
    tensors.sort_by(|a, b| names::order(a.name, b.name));
    let mut slots = Vec::new();
    for tensor in tensors {
        let rows = Rows::of(folder, tensor)?;
        let shape = match (tensor.name, rows.packing()) {
            (PATCH, _) => patch_shape(&rows, patch_size)?,
            (_, Some(_)) => vec![rows.n, rows.k],
            (_, None) => tensor.shape.to_vec(),
        };
        slots.push(Slot { name: tensor.name.into(), dtype: Dtype::F32, shape, follows: false });
    }
    Ok(slots)
}

/// `[D, channels, p, p]` of the patch convolution.
fn patch_shape(rows: &Rows<'_>, patch_size: usize) -> Result<Vec<usize>> {
    let area =
        patch_size.checked_mul(patch_size).filter(|area| *area > 0 && rows.k.is_multiple_of(*area));
    let area = area.ok_or_else(|| Error::TensorShape {
        name: rows.name.into(),
        expected: format!("rows of patches of {patch_size} x {patch_size}"),
        found: format!("[{}, {}]", rows.n, rows.k),
    })?;
    Ok(vec![rows.n, rows.k / area, patch_size, patch_size])
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
