//! Writing in folders that strangers may have filled, such as an unpacked archive: a link in
//! place of a file must not turn what is written to another file.

use crate::error::{Error, Result};
use std::fs::{self, File, Metadata, OpenOptions};
use std::path::Path;

/// Whether this, of the path itself and not of what it leads to, is a file under no other name.
#[must_use]
pub fn is_lone_file(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    let lone = std::os::unix::fs::MetadataExt::nlink(metadata) == 1;
    #[cfg(not(unix))]
    let lone = true;
    metadata.is_file() && lone
}

/// Makes an empty file in place of what is at `path`.
///
/// # Errors
/// What is there cannot be removed, or the file not be made.
pub fn create(path: &Path) -> std::io::Result<File> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

/// Refuses a link in the place of a folder.
///
/// # Errors
/// There is a link.
pub fn check_folder(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(Error::OptionInvalid {
            option: "output folder".into(),
            reason: format!(
                "{} is a link, and what is written there would be elsewhere; remove it",
                path.display()
            ),
        }),
        _ => Ok(()),
    }
}
