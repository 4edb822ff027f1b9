//! Small files that are always whole: written beside, synced, renamed.

use crate::disk;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What could not be done with a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {wanted} {}: {cause}", .path.display())]
pub struct FileError {
    /// "read", "write", "create".
    pub wanted: &'static str,
    /// Which.
    pub path: PathBuf,
    /// What happened.
    pub cause: io::Error,
}

impl FileError {
    pub(super) fn at(wanted: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self { wanted, path, cause }
    }
}

/// Replaces `path`: whoever reads sees the old document or the new one, never a part.
///
/// # Errors
/// When it cannot be written; what was there before is unchanged.
pub fn replace(path: &Path, document: &impl Serialize) -> Result<(), FileError> {
    let bytes =
        serde_json::to_vec(document).map_err(io::Error::from).map_err(FileError::at("write", path))?;
    disk::atomic_write(path, &bytes).map_err(io::Error::other).map_err(FileError::at("write", path))
}

/// Reads `path`; nothing if it does not exist.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(
            serde_json::from_slice(&bytes).map_err(io::Error::from).map_err(FileError::at("read", path))?,
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::at("read", path)(error)),
    }
}

/// Who may do what with a folder of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only its owner enters it.
    Own,
    /// Others may pass through it to what they know the name of: an app that runs as another user has its release and
    /// its data below.
    Pass,
}

/// Makes a folder.
///
/// # Errors
/// When it cannot be made.
pub fn folder(path: &Path, access: Access) -> Result<(), FileError> {
    let mode = match access {
        Access::Own => 0o700,
        Access::Pass => 0o711,
    };
    let make = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(mode).create(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    make().map_err(FileError::at("create", path))
}

/// A log for a child's own words, appended to; begun anew when it is larger than `limit`, with one old one kept.
///
/// # Errors
/// When it cannot be opened or rotated.
pub fn log(path: &Path, limit: u64) -> Result<File, FileError> {
    if fs::metadata(path).is_ok_and(|file| file.len() > limit) {
        fs::rename(path, path.with_extension("log.1")).map_err(FileError::at("rotate", path))?;
    }
    private().create(true).append(true).open(path).map_err(FileError::at("open", path))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}
