//! Whether a release's folder still is what its manifest says: every file is read again. What an app added beside
//! (a cache, a log) is not looked at.

use crate::check;
use crate::digest;
use crate::names::{Kind, Refused, Why};
use everup_core::release::{File as Listed, Manifest};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why a folder is not the release.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// An entry differs.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// An entry is missing, or cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Compares `folder` with `manifest`.
///
/// # Errors
/// At the first entry that is missing or differs.
pub fn verify(manifest: &Manifest, folder: &Path) -> Result<(), VerifyError> {
    for file in &manifest.files {
        let path = folder.join(&file.path);
        let found = entry(file, &path).map_err(|source| VerifyError::Read { path, source })?;
        if let Some(how) = found {
            return Err(Refused::new(&file.path, Why::Differs(how)).into());
        }
    }
    Ok(())
}

/// How `path` differs from `file`, if it does.
fn entry(file: &Listed, path: &Path) -> io::Result<Option<&'static str>> {
    let meta = path.symlink_metadata()?;
    let kind = meta.file_type();
    let expected = check::kind(file).map_err(io::Error::other)?;
    let fits = match expected {
        Kind::File => kind.is_file(),
        Kind::Link => kind.is_symlink(),
        Kind::Folder => kind.is_dir(),
    };
    if !fits {
        return Ok(Some("it is something else now"));
    }
    match expected {
        Kind::Folder => Ok(None),
        Kind::Link => {
            let target = fs::read_link(path)?;
            let same = digest::of(target.as_os_str().as_encoded_bytes()) == file.sha256;
            Ok((!same).then_some("it leads elsewhere"))
        }
        Kind::File if meta.permissions().mode() & 0o777 != file.mode & 0o777 => {
            Ok(Some("its mode is another"))
        }
        Kind::File if meta.len() != file.size => Ok(Some("its size is another")),
        Kind::File => Ok((digest::of_file(path)?.0 != file.sha256).then_some("their SHA-256 is another")),
    }
}
