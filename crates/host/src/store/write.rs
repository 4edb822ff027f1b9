//! One write: beside, synced, compared, renamed, synced. After a crash or a power loss at any point the old object
//! is there, or the new one, whole.

use super::{is_missing, lock};
use everup_core::seams::{Etag, Wrote};
use everup_release::digest_of;
use everup_release::disk::sync_folder;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use tempfile::NamedTempFile;

/// The folder of objects that are being written.
pub(super) const NEW: &str = ".new";

/// What one body is known by.
pub(super) fn etag(body: &[u8]) -> Etag {
    Etag(digest_of(body).as_str().to_owned())
}

/// Writes `body` to `path` if what is there has the etag `expected`, or nothing is there.
pub(super) fn swap(root: &Path, path: &Path, expected: Option<&Etag>, body: &[u8]) -> io::Result<Wrote> {
    // Looked at before the work and again under the lock: a writer that has lost already does not wear the disk.
    if present(path)?.as_ref() != expected {
        return Ok(Wrote::Lost);
    }
    let new = beside(root, |file| file.write_all(body))?;
    {
        let _lock = lock::lock(root, path)?;
        if present(path)?.as_ref() != expected {
            return Ok(Wrote::Lost);
        }
        place(new, path)?;
    }
    sync_folder(above(path))?;
    Ok(Wrote::Done(etag(body)))
}

fn present(path: &Path) -> io::Result<Option<Etag>> {
    match fs::read(path) {
        Ok(body) => Ok(Some(etag(&body))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A synced file of our own below the store. It stays locked until it has its final name, so that it is not taken
/// for a leftover.
pub(super) fn beside(
    root: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let mut new = loop {
        let new = NamedTempFile::new_in(root.join(NEW))?;
        new.as_file().lock()?;
        // Somebody who opened the store may have removed it before it was locked.
        if new.as_file().metadata()?.nlink() > 0 {
            break new;
        }
    };
    fill(new.as_file_mut())?;
    new.as_file().sync_all()?;
    Ok(new)
}

/// Renames `new` to `path`.
pub(super) fn place(new: NamedTempFile, path: &Path) -> io::Result<()> {
    let placed = match fs::rename(new.path(), path) {
        // The first object of its folder; or the last one was removed just now, and the folder with it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folders(above(path))?;
            fs::rename(new.path(), path)
        }
        done => done,
    };
    placed?;
    // It has another name now, so there is nothing to remove.
    new.keep().map_err(|error| error.error)?;
    Ok(())
}

fn above(path: &Path) -> &Path {
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

/// Removes an object, durably; done as well if it is not there.
pub(super) fn remove(root: &Path, path: &Path) -> io::Result<()> {
    let _lock = lock::lock(root, path)?;
    match fs::remove_file(path) {
        Err(error) if is_missing(&error) => return Ok(()),
        done => done?,
    }
    let folder = above(path);
    sync_folder(folder)?;
    // The folder goes with its last object; "not empty" is the usual answer.
    let _ = if folder == root { Ok(()) } else { fs::remove_dir(folder) };
    Ok(())
}

/// Removes what writers that died left in `new`: nobody holds its lock. Whatever stands in the way can wait for the
/// next start.
pub(super) fn remove_leftovers(new: &Path) {
    for item in fs::read_dir(new).into_iter().flatten().flatten() {
        if let Ok(file) = File::open(item.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(item.path());
        }
    }
}
