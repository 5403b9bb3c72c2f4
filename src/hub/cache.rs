//! The hub's cache on the disk, laid out as its other tools do.
//!
//! `HOME/hub/models--OWNER--NAME/` holds `blobs/HASH`, `snapshots/COMMIT/NAME` with links to
//! them, and `refs/REVISION` with a commit. Hashes, commits and names come from a checked
//! [`Listing`](super::listing::Listing). No folder below `hub` may lead out of it; `hub` itself
//! may be a link, to another disk for instance.

use super::listing::{Digest, RemoteFile};
use super::transfer::Hasher;
use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;

/// The files of one repository.
pub struct Cache {
    /// The folder of the repository.
    root: PathBuf,
    /// `HOME/hub` without links.
    hub: PathBuf,
}

impl Cache {
    /// The files of `repository`, a checked name.
    ///
    /// # Errors
    /// The folder cannot be made, or leads out of the cache.
    pub fn open(home: &Path, repository: &str) -> Result<Self> {
        let hub = home.join("hub");
        fs::create_dir_all(&hub).map_err(|e| Error::io(&hub, e))?;
        let root = hub.join(format!("models--{}", repository.replace('/', "--")));
        let hub = hub.canonicalize().map_err(|e| Error::io(&hub, e))?;
        let cache = Self { root, hub };
        cache.folder(&[])?;
        Ok(cache)
    }

    /// The folder with the files of a commit.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// A file that is there and is what the list says, whichever tool put it there.
    ///
    /// # Errors
    /// It cannot be linked to its place.
    pub fn find(
        &self,
        commit: &str,
        name: &str,
        file: &RemoteFile,
        report: &mut dyn FnMut(u64),
    ) -> Result<Option<PathBuf>> {
        let pointer = self.snapshot(commit).join(name);
        if self.holds(&pointer, file, report) {
            return Ok(Some(pointer));
        }
        let Some(digest) = &file.digest else { return Ok(None) };
        let blob = self.folder(&["blobs"])?.join(digest.hex());
        if !self.holds(&blob, file, report) {
            return Ok(None);
        }
        self.link(digest.hex(), commit, name).map(Some)
    }

    /// Where a file is put while it arrives.
    ///
    /// # Errors
    /// The folder cannot be made, or leads out of the cache.
    pub fn part(&self, commit: &str, name: &str, file: &RemoteFile) -> Result<PathBuf> {
        let name = match &file.digest {
            Some(digest) => digest.hex().to_owned(),
            None => format!("{commit}-{}", name.replace('/', "--")),
        };
        Ok(self.folder(&["blobs"])?.join(name + ".part"))
    }

    /// Gives a verified file its names.
    ///
    /// # Errors
    /// A folder cannot be written, or leads out of the cache.
    pub fn store(&self, part: &Path, hash: &str, commit: &str, name: &str) -> Result<PathBuf> {
        let blob = self.folder(&["blobs"])?.join(hash);
        fs::rename(part, &blob).map_err(|e| Error::io(&blob, e))?;
        self.link(hash, commit, name)
    }

    /// Notes the commit of a branch, for other tools. Names with a meaning to paths are left out.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn note_revision(&self, revision: &str, commit: &str) -> Result<()> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let is_plain =
            |part: &&str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
        let parts: Vec<&str> = revision.split('/').collect();
        if revision == commit || !parts.iter().all(is_plain) {
            return Ok(());
        }
        let Some((name, folders)) = parts.split_last() else { return Ok(()) };
        let path = self.folder(&[&["refs"], folders].concat())?.join(name);
        let new = path.with_file_name(format!("{name}.{}.new", std::process::id()));
        let written = fs::write(&new, commit).and_then(|()| fs::rename(&new, &path));
        written.map_err(|e| Error::io(&path, e))
    }

    /// Whether the path leads to a file within the cache with the length and hash of the list.
    fn holds(&self, path: &Path, file: &RemoteFile, report: &mut dyn FnMut(u64)) -> bool {
        let mut matches = || -> io::Result<bool> {
            let real = path.canonicalize()?;
            let length = fs::metadata(&real)?;
            let (is_file, length) = (length.is_file(), length.len());
            if !is_file || !real.starts_with(&self.hub) || file.size.is_some_and(|s| s != length) {
                return Ok(false);
            }
            match &file.digest {
                Some(digest) => Ok(hash(&real, digest, length, report)? == digest.hex()),
                None => Ok(true),
            }
        };
        // What cannot be read is fetched again.
        matches().unwrap_or(false)
    }

    /// Makes `snapshots/COMMIT/NAME` lead to a blob, in place of whatever is there.
    fn link(&self, hash: &str, commit: &str, name: &str) -> Result<PathBuf> {
        let (inner, file) = name.rsplit_once('/').map_or((None, name), |(a, b)| (Some(a), b));
        let mut folders = vec!["snapshots", commit];
        folders.extend(inner);
        let pointer = self.folder(&folders)?.join(file);
        let target = "../".repeat(folders.len()) + "blobs/" + hash;
        let blob = self.root.join("blobs").join(hash);
        let linked = match fs::remove_file(&pointer) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            // Some disks and systems have no links: then the file itself is there.
            _ => symlink(Path::new(&target), &pointer)
                .or_else(|_| fs::hard_link(&blob, &pointer))
                .or_else(|_| fs::rename(&blob, &pointer)),
        };
        linked.map(|()| pointer.clone()).map_err(|e| Error::io(&pointer, e))
    }

    /// A folder of the repository, made where it is missing.
    fn folder(&self, parts: &[&str]) -> Result<PathBuf> {
        let mut path = self.root.clone();
        for part in [None].into_iter().chain(parts.iter().map(Some)) {
            path.extend(part);
            let io = |e| Error::io(&path, e);
            match fs::create_dir(&path) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(io(e)),
                _ => {}
            }
            let real = path.canonicalize().map_err(io)?;
            if !real.starts_with(&self.hub) {
                return Err(Error::OptionInvalid {
                    option: "HF_HOME".into(),
                    reason: format!(
                        "{} leads out of the cache, to {}; remove that link, or set HF_HOME to another folder",
                        path.display(),
                        real.display()
                    ),
                });
            }
        }
        Ok(path)
    }
}

/// The hash of a file's bytes, in the digits of `kind`.
fn hash(
    path: &Path,
    kind: &Digest,
    length: u64,
    report: &mut dyn FnMut(u64),
) -> io::Result<String> {
    let mut hasher = Hasher::new(Some(kind), length);
    let (mut file, mut piece, mut done) = (File::open(path)?, vec![0; PIECE], 0);
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&piece[..count]);
        done += count as u64;
        report(done.min(length));
    }
}

#[cfg(unix)]
fn symlink(target: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, at)
}

#[cfg(windows)]
fn symlink(target: &Path, at: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, at)
}
