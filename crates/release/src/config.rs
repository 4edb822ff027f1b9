//! An environment's configuration: a small zip of its own, whose digest stands in the manifest. It is kept beside
//! what is unpacked of it, so that both can be compared later.

use crate::digest::{self, BUFFER};
use crate::disk;
use crate::names::{Kind, Limits, Refused, Why};
use crate::source::{Bodies, Body, Entry, Source, SourceError};
use crate::unpack;
use everup_core::release::{Digest, Part};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How much a configuration may be: 10,000 files of 256 MiB together.
pub const LIMITS: Limits = Limits { entries: 10_000, bytes: 256 << 20 };

/// Why a configuration was not unpacked, or is another.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is another zip than the manifest says.
    #[error("the configuration is not the one that was published: {wanted} was wanted, {found} came")]
    Other {
        /// The manifest's digest.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// It is refused, or damaged.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The disk refused.
    #[error("cannot write or read {path:?}")]
    Disk {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ConfigError {
    fn disk(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { path: path.to_owned(), source }
    }
}

/// Unpacks `zip`, which must be `wanted`, into `part`, then renames that to `folder`, replacing what is there.
///
/// # Errors
/// When it is another zip, an entry is refused, or the disk does not take it.
pub fn into_place(wanted: &Part, zip: &Path, part: &Path, folder: &Path) -> Result<(), ConfigError> {
    let mut source = open(wanted, zip)?;
    unpack::remove(part).map_err(ConfigError::disk(part))?;
    unpack::make_folder(part).map_err(ConfigError::disk(part))?;
    // Links last: nothing is ever written through one.
    source.entries.sort_by_key(|e| e.kind == Kind::Link);
    for entry in &source.entries {
        let path = part.join(&entry.path);
        write(part, entry, &path, &mut source.bodies).map_err(ConfigError::disk(&path))?;
    }
    let place = || {
        unpack::sync_folders(part)?;
        unpack::remove(folder)?;
        fs::rename(part, folder)?;
        disk::sync_folder(folder.parent().unwrap_or(folder))
    };
    place().map_err(ConfigError::disk(folder))
}

/// Compares `folder` with `zip`, and `zip` with `wanted`.
///
/// # Errors
/// At the first difference.
pub fn verify(wanted: &Part, zip: &Path, folder: &Path) -> Result<(), ConfigError> {
    let mut source = open(wanted, zip)?;
    for entry in &source.entries {
        let path = folder.join(&entry.path);
        let same = same(entry, &path, &mut source.bodies).map_err(ConfigError::disk(&path))?;
        if !same {
            let refused = Refused::new(&entry.path, Why::Differs("it was changed on this disk"));
            return Err(SourceError::from(refused).into());
        }
    }
    Ok(())
}

fn open(wanted: &Part, zip: &Path) -> Result<Source, ConfigError> {
    let (found, _) = digest::of_file(zip).map_err(ConfigError::disk(zip))?;
    if found != wanted.sha256 {
        return Err(ConfigError::Other { wanted: wanted.sha256.clone(), found });
    }
    Ok(Source::open(zip, zip.parent().unwrap_or(zip), LIMITS)?)
}

fn write(part: &Path, entry: &Entry, path: &Path, bodies: &mut Bodies) -> io::Result<()> {
    unpack::make_folders(part, &entry.path)?;
    match (entry.kind, &entry.body) {
        (Kind::Folder, _) => unpack::make_folder(path),
        (Kind::Link, Body::Text(target)) => std::os::unix::fs::symlink(target, path),
        _ => {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            let written = io::copy(&mut bodies.read(entry)?, &mut file)?;
            if written != entry.size {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its size is not the declared one"));
            }
            file.set_permissions(Permissions::from_mode(entry.mode))?;
            file.sync_all()
        }
    }
}

fn same(entry: &Entry, path: &Path, bodies: &mut Bodies) -> io::Result<bool> {
    match (entry.kind, &entry.body) {
        (Kind::Folder, _) => Ok(path.is_dir()),
        (Kind::Link, Body::Text(target)) => Ok(fs::read_link(path)? == Path::new(target)),
        _ => {
            let mut wanted = digest::Hashing::new(bodies.read(entry)?);
            let mut buffer = vec![0; BUFFER];
            while wanted.read(&mut buffer)? > 0 {}
            Ok(wanted.finish() == digest::of_file(path)?.0)
        }
    }
}
