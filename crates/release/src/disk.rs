//! Room on a disk, asked before it is needed; and making sure that what was written is there after a power loss.

use rustix::fs::{StatVfsMountFlags, statvfs};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What stays free besides: the logs and the store of a machine need some too.
const SPARE: u64 = 16 << 20;

/// Why something does not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoRoom {
    /// Too few bytes.
    #[error("{folder:?} has {free} MiB free, {needed} MiB are needed; remove something there and try again")]
    Bytes {
        /// On whose file system.
        folder: PathBuf,
        /// What is free.
        free: u64,
        /// What is needed.
        needed: u64,
    },
    /// Too few inodes.
    #[error(
        "{folder:?} has room for {free} more files, {needed} are needed (inodes); remove something there"
    )]
    Inodes {
        /// On whose file system.
        folder: PathBuf,
        /// What is free.
        free: u64,
        /// What is needed.
        needed: u64,
    },
    /// It takes no writes at all.
    #[error("{0:?} is on a file system that is mounted read-only")]
    ReadOnly(PathBuf),
    /// It cannot be asked.
    #[error("cannot ask for the free space of {folder:?}")]
    Io {
        /// Where.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Looks whether `folder`'s file system takes files of these `sizes`.
///
/// # Errors
/// When it does not.
pub fn room(folder: &Path, sizes: impl Iterator<Item = u64>) -> Result<(), NoRoom> {
    let folder = folder.to_owned();
    let stat = match statvfs(&folder) {
        Ok(stat) => stat,
        Err(error) => return Err(NoRoom::Io { folder, source: error.into() }),
    };
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(NoRoom::ReadOnly(folder));
    }
    let block = stat.f_frsize.max(512);
    let (mut files, mut bytes) = (0, SPARE);
    for size in sizes {
        files += 1;
        bytes += size.next_multiple_of(block);
    }
    let free = stat.f_bavail.saturating_mul(block);
    if free < bytes {
        return Err(NoRoom::Bytes { folder, free: free >> 20, needed: bytes.div_ceil(1 << 20) });
    }
    // Btrfs and others make inodes as they need them and say 0.
    if stat.f_files > 0 && stat.f_favail < files {
        return Err(NoRoom::Inodes { folder, free: stat.f_favail, needed: files });
    }
    Ok(())
}

/// Makes the names in `folder` survive a power loss.
///
/// # Errors
/// When the disk does not confirm it.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes all that was written to `folder`'s file system survive a power loss: one call where a file at a time
/// would be thousands.
///
/// # Errors
/// When the disk does not confirm it.
pub fn sync_all(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said_in_figures() {
        let here = tempfile::tempdir().unwrap();
        room(here.path(), [1, 2, 3].into_iter()).unwrap();
        let error = room(here.path(), [1 << 60].into_iter()).unwrap_err();
        assert!(matches!(error, NoRoom::Bytes { needed, .. } if needed > 1 << 39), "{error}");
    }
}
