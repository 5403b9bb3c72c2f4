//! Receives one file, continues where it was cut off, and compares it with its hash.
//!
//! In: an address, what the list says about the file, and the path of an unfinished file, which
//! may hold bytes of an earlier run. Out: the complete, verified file at that path. The hash is
//! that of all bytes, old and new, so nothing depends on where the old ones came from: where it
//! is wrong they are thrown away, and the file is fetched anew once.

use super::client::{Client, Failure, RETRIES};
use super::listing::{Digest, RemoteFile};
use crate::checkpoint::index::hex;
use crate::convert::planted::is_lone_file;
use crate::error::{Error, Result};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use ureq::http::{HeaderMap, StatusCode, header};

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// An attempt that brought this much was none in vain.
const PROGRESS: u64 = 1 << 20;

/// A file to be received.
pub struct Transfer<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// Where it is.
    pub url: &'a str,
    /// What it is called in the repository.
    pub name: &'a str,
    /// What the list says about it.
    pub file: &'a RemoteFile,
}

impl Transfer<'_> {
    /// Receives the file at `path`; returns the digits of its hash, SHA-256 where the list names
    /// none. `report` gets the bytes that are there.
    pub fn run(&self, path: &Path, report: &mut dyn FnMut(u64)) -> Result<String, Failure> {
        let mut part = Part::open(path)?;
        let mut anew = false;
        loop {
            let pieced = self.receive(&mut part, report)?;
            let found = part.hasher(self.file, part.length)?.finish();
            match &self.file.digest {
                Some(digest) if digest.hex() != found => {
                    part.clear()?;
                    if anew || !pieced {
                        drop(part);
                        // Empty: of no use to the next run, and to nobody else.
                        let _ = fs::remove_file(path);
                        return Err(Failure::Refused(format!(
                            "the bytes of {} have the hash {found}, not {} as the list of files says",
                            self.name,
                            digest.hex()
                        )));
                    }
                    anew = true;
                }
                _ => return Ok(found),
            }
        }
    }

    /// Receives until all bytes are there; whether they are of more than one answer.
    fn receive(&self, part: &mut Part, report: &mut dyn FnMut(u64)) -> Result<bool, Failure> {
        let mut size = self.file.size;
        let (mut failures, mut pieced) = (0, part.length > 0);
        loop {
            if size.is_some_and(|size| part.length > size) {
                part.clear()?;
            }
            if size == Some(part.length) {
                report(part.length);
                return Ok(pieced);
            }
            let start = part.length;
            let failure = match self.request(part, &mut size, report) {
                Ok(()) if size == Some(part.length) => continue,
                Ok(()) => Failure::Broken(format!(
                    "the transfer ended after {} of {} bytes",
                    part.length,
                    size.unwrap_or_default()
                )),
                Err(failure @ Failure::Status { code: 416, .. }) if start > 0 => {
                    part.clear()?;
                    failure
                }
                Err(failure) if failure.is_passing() => failure,
                Err(failure) => return Err(failure),
            };
            let much = part.length >= start + PROGRESS;
            failures = if much { 1 } else { failures + 1 };
            if failures > RETRIES {
                return Err(failure);
            }
            failure.wait(failures);
            pieced |= part.length > 0;
        }
    }

    /// Adds what one answer has. `size` becomes known with the first where the list lacks it.
    fn request(
        &self,
        part: &mut Part,
        size: &mut Option<u64>,
        report: &mut dyn FnMut(u64),
    ) -> Result<(), Failure> {
        let response = self.client.get(self.url, part.length)?;
        let total = if response.status() == StatusCode::PARTIAL_CONTENT {
            let asked = range(response.headers()).filter(|(start, _)| *start == part.length);
            let other = || Failure::Refused("it sends another range than asked for".into());
            asked.ok_or_else(other)?.1
        } else {
            part.clear()?;
            response.body().content_length()
        };
        let (name, limit) = (self.name, self.file.limit);
        let size = match (*size, total) {
            (Some(size), Some(total)) if size != total => {
                return Err(Failure::Refused(format!(
                    "it sends {total} bytes for {name}, which has {size} in the list of files"
                )));
            }
            (None, None) => {
                return Err(Failure::Refused(format!("it does not say how long {name} is")));
            }
            (None, Some(total)) if total > limit => {
                return Err(Failure::Refused(format!(
                    "{name} has {total} bytes, more than {limit}"
                )));
            }
            (Some(known), _) | (None, Some(known)) => *size.insert(known),
        };
        part.hasher(self.file, size)?;
        // A longer answer is cut at the length; then the hash decides.
        let mut body = response.into_body().into_reader().take(size - part.length);
        let mut piece = vec![0; PIECE];
        loop {
            match body.read(&mut piece).map_err(|e| Failure::Broken(e.to_string()))? {
                0 => return Ok(()),
                count => part.add(&piece[..count])?,
            }
            report(part.length);
        }
    }
}

/// First byte and whole length of `Content-Range: bytes 5-9/10`.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// An unfinished file, locked against a second process.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    /// Of all bytes so far, once it is needed.
    hasher: Option<Hasher>,
}

impl Part {
    fn open(path: &Path) -> Result<Self> {
        let io = |e| Error::io(path, e);
        // Whatever else is in its place, such as a link, is not written through.
        if fs::symlink_metadata(path).is_ok_and(|found| !is_lone_file(&found)) {
            fs::remove_file(path).map_err(io)?;
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(io)?;
        // A disk without locks is used without.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(Error::OptionInvalid {
                option: "download".into(),
                reason: format!("another process is writing {}; wait for it", path.display()),
            });
        }
        let length = file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok(Self { path: path.into(), file, length, hasher: None })
    }

    fn clear(&mut self) -> Result<()> {
        (self.length, self.hasher) = (0, None);
        let cleared = self.file.set_len(0).and_then(|()| self.file.rewind());
        cleared.map_err(|e| Error::io(&self.path, e))
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Error::io(&self.path, e))?;
        self.length += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        Ok(())
    }

    /// The hash of what is there, of a file that will have `size` bytes; the file's end is where
    /// the next bytes go.
    fn hasher(&mut self, file: &RemoteFile, size: u64) -> Result<&mut Hasher> {
        let hasher = match self.hasher.take() {
            Some(hasher) => hasher,
            None => {
                let mut hasher = Hasher::new(file.digest.as_ref(), size);
                let read = self.file.rewind().and_then(|()| io::copy(&mut self.file, &mut hasher));
                read.map_err(|e| Error::io(&self.path, e))?;
                hasher
            }
        };
        Ok(self.hasher.insert(hasher))
    }
}

/// The hash of a file in the making.
pub enum Hasher {
    /// As large-file storage computes it.
    Sha256(Sha256),
    /// As Git computes it.
    Git(Sha1),
}

impl Hasher {
    /// For a file of `size` bytes, in the way of `kind`.
    pub fn new(kind: Option<&Digest>, size: u64) -> Self {
        match kind {
            Some(Digest::Git(_)) => Self::Git(Sha1::new_with_prefix(format!("blob {size}\0"))),
            _ => Self::Sha256(Sha256::new()),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Git(hash) => hash.update(bytes),
        }
    }

    /// The digits; starts over.
    pub fn finish(&mut self) -> String {
        match self {
            Self::Sha256(hash) => hex(&hash.finalize_reset()),
            Self::Git(hash) => hex(&hash.finalize_reset()),
        }
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
