//! Every shard from its first byte to its last: length, hash, and tensors against the index.

use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use super::source::{Absent, Opened, Source};
use super::{Report, headers};
use crate::checkpoint::{Header, Index, ShardInfo};
use crate::error::{Error, Result};
use crate::limits;
use crate::weights::Description;

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// Reads all shards of the index.
pub(super) fn check(
    source: &Source,
    description: &Description,
    index: &Index,
    report: &mut Report,
    progress: &mut dyn FnMut(u64, u64),
) {
    let total = index.shard_bytes();
    let mut before = 0;
    for (file, info) in &index.shards {
        let mut opened = match source.open(file) {
            Ok(opened) => opened,
            Err(absent) => {
                report.broken(
                    file,
                    match absent {
                        Absent::NotThere => "there is no such file, but the index names it".into(),
                        Absent::Failed(reason) => reason,
                    },
                );
                before += info.bytes;
                continue;
            }
        };
        source.listen(file, &opened.facts, true, report);
        let known = |done: u64| (before + done.min(info.bytes), total);
        let found = read(file, info, &mut opened, description, &mut |done| {
            let (done, total) = known(done);
            progress(done, total);
        });
        match found {
            Ok(bytes) => {
                report.files += 1;
                report.bytes += bytes;
            }
            Err(what) => report.broken(file, what),
        }
        before += info.bytes;
        progress(before, total);
    }
    if let Some((largest, _)) = index.shards.iter().max_by_key(|(_, info)| info.bytes) {
        source.try_range(largest, report);
    }
}

/// Bytes of the file, or what is wrong with it.
fn read(
    file: &str,
    info: &ShardInfo,
    opened: &mut Opened,
    description: &Description,
    report: &mut dyn FnMut(u64),
) -> Result<u64, String> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    // What comes before the data: its length in the first eight bytes.
    let (mut head, mut span) = (Vec::new(), 8);
    let mut piece = vec![0; PIECE];
    loop {
        let count = opened.body.read(&mut piece).map_err(|error| {
            format!("it breaks off after {bytes} of {} bytes ({error})", info.bytes)
        })?;
        if count == 0 {
            break;
        }
        let part = &piece[..count];
        if bytes == 0 && limits::is_web_page(part) {
            return Err("the host sends a web page in its place".into());
        }
        hash.update(part);
        bytes += count as u64;
        if bytes > info.bytes {
            return Err(format!("it has more than the {} bytes that the index says", info.bytes));
        }
        if head.len() < span {
            head.extend_from_slice(part);
            if head.len() >= 8 {
                span = Header::span(file, &head).unwrap_or(0);
            }
        }
        report(bytes);
    }
    if headers::encoding(&opened.facts.headers).is_some() {
        return Ok(bytes);
    }
    let reason = |error: Error| match error {
        Error::ShardCorrupt { reason, .. } | Error::CheckpointHeader { reason, .. } => reason,
        error => error.to_string(),
    };
    info.check_length(file, bytes).map_err(reason)?;
    info.check_digest(file, &hash.finalize()).map_err(reason)?;
    tensors(file, &head, bytes, description).map_err(reason)?;
    Ok(bytes)
}

/// Compares the tensors of a shard with what the model asks for.
fn tensors(file: &str, head: &[u8], bytes: u64, description: &Description) -> Result<()> {
    let header = Header::parse(file, head, bytes)?;
    for tensor in header.real_tensors() {
        description.check(&tensor.name, tensor.dtype, &tensor.shape)?;
    }
    Ok(())
}
