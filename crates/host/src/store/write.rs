//! What is being written: beside the objects, synced, then renamed into place. After a crash or a power loss at any
//! point the old one is there, or the new one, whole.
//!
//! Who writes holds the lock of its file or folder meanwhile, so that nobody takes it for what a dead writer left. Nobody
//! ever waits for such a lock.

use everup_release::disk::sync_folder;
use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use tempfile::{Builder, NamedTempFile, TempDir};

/// The folder of what is being written or removed.
pub(super) const NEW: &str = ".new";

/// Makes something `inside` a folder and holds the lock of its `file`; makes another where somebody took it for a leftover
/// before.
pub(super) fn held<T>(
    inside: &Path,
    make: impl Fn() -> io::Result<T>,
    file: impl Fn(&T) -> &File,
) -> io::Result<T> {
    loop {
        let made = match make() {
            // A folder is made first, and opened after that: somebody else may have been quicker. (What is not there at
            // all is no folder of the store.)
            Err(error) if error.kind() == io::ErrorKind::NotFound && inside.is_dir() => continue,
            made => made?,
        };
        match file(&made).try_lock() {
            Ok(()) if file(&made).metadata()?.nlink() > 0 => return Ok(made),
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Does `work` with what is at `path`, unless somebody holds it.
pub(super) fn unless_held(path: &Path, work: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let file = File::open(path)?;
    if file.try_lock().is_ok() { work(path) } else { Ok(()) }
}

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
pub(super) struct FolderBeside {
    folder: TempDir,
    lock: File,
}

/// Makes an empty one.
pub(super) fn folder_beside(root: &Path) -> io::Result<FolderBeside> {
    let inside = root.join(NEW);
    let make = || {
        let folder = Builder::new().permissions(Permissions::from_mode(0o700)).tempdir_in(&inside)?;
        let lock = File::open(folder.path())?;
        Ok(FolderBeside { folder, lock })
    };
    held(&inside, make, |made| &made.lock)
}

impl FolderBeside {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Renames it to `path`, where nothing is, or an empty folder.
    pub(super) fn place(self, path: &Path) -> io::Result<()> {
        rename(self.path(), path)?;
        let _ = self.folder.keep();
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

/// Removes what writers that died left in `new`. Whatever stands in the way can wait for the next start.
pub(super) fn remove_leftovers(new: &Path) {
    for item in fs::read_dir(new).into_iter().flatten().flatten() {
        let _ = unless_held(&item.path(), |left| {
            if left.is_dir() { fs::remove_dir_all(left) } else { fs::remove_file(left) }
        });
    }
}
