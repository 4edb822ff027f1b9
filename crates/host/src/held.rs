//! What is being made on disk, held by whoever makes it: a lock of the file or the folder itself says that it is no
//! leftover. It belongs to the kernel and ends with its process; a process that is stopped keeps it. Nobody ever waits
//! for such a lock.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::{Builder, TempDir};

/// Makes something `inside` a folder and holds the lock of its `file`; makes another where somebody took it for a leftover
/// before.
pub(crate) fn held<T>(
    inside: &Path,
    make: impl Fn() -> io::Result<T>,
    file: impl Fn(&T) -> &File,
) -> io::Result<T> {
    loop {
        let made = match make() {
            // A folder is made first, and opened after that: somebody else may have been quicker. (What is not there at
            // all is no folder of ours.)
            Err(error) if error.kind() == io::ErrorKind::NotFound && inside.is_dir() => continue,
            made => made?,
        };
        if is_free(file(&made))? {
            return Ok(made);
        }
    }
}

/// Takes the lock of `file`, unless somebody has it, or had it and removed the file.
fn is_free(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(file.metadata()?.nlink() > 0),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Does `work` with what is at `path`, unless somebody holds it.
pub(crate) fn unless_held(path: &Path, work: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let file = File::open(path)?;
    if file.try_lock().is_ok() { work(path) } else { Ok(()) }
}

/// A folder that is held, and goes with its last owner.
#[derive(Debug)]
pub struct HeldFolder {
    folder: TempDir,
    lock: File,
}

impl HeldFolder {
    /// Makes an empty one, named as `names` says.
    ///
    /// # Errors
    /// When `inside` cannot be written to.
    pub fn make(inside: &Path, names: &Builder<'_, '_>) -> io::Result<Self> {
        let make = || {
            let folder = names.tempdir_in(inside)?;
            let lock = File::open(folder.path())?;
            Ok(Self { folder, lock })
        };
        held(inside, make, |made| &made.lock)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// It has another name now, or stays: there is nothing to remove.
    pub(crate) fn leave(self) {
        let _ = self.folder.keep();
    }
}

/// Removes what nobody holds of that in `folder` which `is_ours` by its name, as `remove` does it. Whatever stands in the
/// way can wait for the next time.
pub fn remove_leftovers(
    folder: &Path,
    is_ours: impl Fn(&str) -> bool,
    remove: impl Fn(&Path) -> io::Result<()>,
) {
    for item in fs::read_dir(folder).into_iter().flatten().flatten() {
        if item.file_name().to_str().is_some_and(&is_ours) {
            let _ = unless_held(&item.path(), &remove);
        }
    }
}
