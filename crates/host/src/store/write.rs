//! What is being written: beside the objects, synced, then renamed into place. After a crash or a power loss at any
//! point the old one is there, or the new one, whole.
//!
//! Who writes holds its file or folder meanwhile ([`crate::held`]), so that nobody takes it for what a dead writer left.

use crate::held::{self, HeldFolder, held};
use everup_release::disk::sync_folder;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use tempfile::{Builder, NamedTempFile};

/// The folder of what is being written or removed.
pub(super) const NEW: &str = ".new";

/// A synced file of our own below the store.
pub(super) fn file_beside(
    root: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let inside = root.join(NEW);
    let mut new = held(&inside, || NamedTempFile::new_in(&inside), NamedTempFile::as_file)?;
    fill(new.as_file_mut())?;
    new.as_file().sync_all()?;
    Ok(new)
}

/// Renames `new` to `path`.
pub(super) fn place(new: NamedTempFile, path: &Path) -> io::Result<()> {
    rename(new.path(), path)?;
    // It has another name now, so there is nothing to remove.
    new.keep().map_err(|error| error.error)?;
    Ok(())
}

/// A folder of our own below the store.
pub(super) struct FolderBeside(HeldFolder);

/// Makes an empty one.
pub(super) fn folder_beside(root: &Path) -> io::Result<FolderBeside> {
    let mut names = Builder::new();
    names.permissions(Permissions::from_mode(0o700));
    HeldFolder::make(&root.join(NEW), &names).map(FolderBeside)
}

impl FolderBeside {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Renames it to `path`, where nothing is, or an empty folder.
    pub(super) fn place(self, path: &Path) -> io::Result<()> {
        rename(self.path(), path)?;
        self.0.leave();
        Ok(())
    }

    /// Takes the folder at `path` away, whole, and removes it.
    pub(super) fn take(self, path: &Path) -> io::Result<()> {
        fs::rename(path, self.path())
    }
}

fn rename(new: &Path, path: &Path) -> io::Result<()> {
    match fs::rename(new, path) {
        // The first object of its folder; or the last one was removed just now, and the folder with it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folders(above(path))?;
            fs::rename(new, path)
        }
        done => done,
    }
}

pub(super) fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Makes `folder` and those above it, so that they survive a power loss.
pub(super) fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = above(folder);
    if parent != folder && !parent.as_os_str().is_empty() {
        make_folders(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) if parent.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Ok(()) => sync_folder(parent),
    }
}

/// Removes what writers that died left in `new`.
pub(super) fn remove_leftovers(new: &Path) {
    held::remove_leftovers(
        new,
        |_| true,
        |left| {
            if left.is_dir() { fs::remove_dir_all(left) } else { fs::remove_file(left) }
        },
    );
}
