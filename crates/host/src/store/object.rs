//! One object: a folder with a body, and an empty file whose name says which body it is.
//!
//! ```text
//! local/head.json/
//!   .is-5c0f…     exactly one such name, always: the etag
//!   5c0f….body
//! ```
//!
//! A swap writes its body beside the present one and renames `.is-<old>` to `.is-<new>`. rename(2) finds the old
//! name or finds it gone: it compares and swaps in one step, so nobody ever waits for another, whoever sleeps or died
//! where. Etags are random and never return, so a writer that wakes late has lost. An object appears and goes as a whole,
//! by a rename of its folder. After a power loss the old object is there, or the new one, whole: what a name stands
//! for is synced before the name.

use super::{is_missing, write};
use crate::clock::KernelChance;
use crate::held;
use everup_core::seams::{Chance, Etag, Wrote};
use everup_release::disk::sync_folder;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// How a name begins that says which body is the object.
const IS: &str = ".is-";
/// How the name of a body ends.
pub(super) const BODY: &str = ".body";

/// How often a name that others change meanwhile is looked at anew. Each further look means that another whole write
/// was done since, three syncs long.
const LOOKS: usize = 1_000;

/// What is at `path`: its etag and its bytes; nothing if there is no object.
pub(super) fn read(path: &Path) -> io::Result<Option<(Etag, Vec<u8>)>> {
    for _ in 0..LOOKS {
        let Some(etag) = current(path)? else { return Ok(None) };
        match fs::read(body(path, &etag)) {
            Ok(bytes) => return Ok(Some((etag, bytes))),
            // Replaced since its name was read.
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(restless(path))
}

/// The etag of the object at `path`.
pub(super) fn current(path: &Path) -> io::Result<Option<Etag>> {
    for _ in 0..LOOKS {
        let names = match names(path) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotADirectory && path.is_file() => {
                return Err(io::Error::other(format!("{path:?} is a file, not an object of this store")));
            }
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut etags = names.iter().filter_map(|name| name.strip_prefix(IS));
        match (etags.next(), etags.next()) {
            (Some(etag), None) => return Ok(Some(Etag(etag.to_owned()))),
            // A folder of objects, or of archives.
            (None, _) if !is_object(&names) => return Ok(None),
            // A name that changes while the folder is read may come twice, or not at all.
            _ => {}
        }
    }
    Err(restless(path))
}

/// Writes the object `path` if there is none.
pub(super) fn create(root: &Path, path: &Path, bytes: &[u8]) -> io::Result<Wrote> {
    if current(path)?.is_some() {
        return Ok(Wrote::Lost);
    }
    let folder = write::folder_beside(root)?;
    let (etag, body) = write_body(folder.path(), bytes)?;
    File::create_new(name(folder.path(), &etag))?.sync_all()?;
    sync_folder(folder.path())?;
    body.keep().map_err(|error| error.error)?;
    match folder.place(path) {
        // Another's is there: a folder takes the place of an empty one alone.
        // (EEXIST on XFS.)
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
            return Ok(Wrote::Lost);
        }
        done => done?,
    }
    sync_folder(write::above(path))?;
    Ok(Wrote::Done(etag))
}

/// Writes the object `path` if its etag is `expected`.
pub(super) fn replace(path: &Path, expected: &Etag, bytes: &[u8]) -> io::Result<Wrote> {
    // Looked at before the work: a writer that has lost already does not wear the disk.
    if current(path)?.as_ref() != Some(expected) {
        return Ok(Wrote::Lost);
    }
    let swap = || {
        let (etag, body) = write_body(path, bytes)?;
        sync_folder(path)?;
        fs::rename(name(path, expected), name(path, &etag))?;
        body.keep().map_err(|error| error.error)?;
        Ok(etag)
    };
    let etag = match swap() {
        // The old name is gone, or the object with all its names.
        Err(error) if is_missing(&error) => return Ok(Wrote::Lost),
        swapped => swapped?,
    };
    sync_folder(path)?;
    remove_leftovers(path);
    Ok(Wrote::Done(etag))
}

/// Removes the object `path`, or the archive, durably; done as well if it is not there.
pub(super) fn remove(root: &Path, path: &Path) -> io::Result<()> {
    let removed = match names(path) {
        // Renamed away as a whole first: half an object is never to be seen.
        Ok(names) if is_object(&names) => write::folder_beside(root).and_then(|away| away.take(path)),
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if is_missing(&error) => return Ok(()),
        done => done?,
    }
    let folder = write::above(path);
    sync_folder(folder)?;
    // The folder goes with its last object; "not empty" is the usual answer.
    let _ = if folder == root { Ok(()) } else { fs::remove_dir(folder) };
    Ok(())
}

/// The file whose name says that `etag` is the object.
fn name(path: &Path, etag: &Etag) -> PathBuf {
    path.join(format!("{IS}{}", etag.0))
}

fn body(path: &Path, etag: &Etag) -> PathBuf {
    path.join(format!("{}{BODY}", etag.0))
}

/// A synced body with an etag of its own. As long as it is held it is not taken for a leftover, and it goes unless it is
/// kept.
fn write_body(path: &Path, bytes: &[u8]) -> io::Result<(Etag, NamedTempFile)> {
    let (etag, mut body) = held::held(
        path,
        || {
            let etag = format!("{:016x}{:016x}", KernelChance.next(), KernelChance.next());
            let body = Builder::new().prefix(&etag).rand_bytes(0).suffix(BODY).tempfile_in(path)?;
            Ok((Etag(etag), body))
        },
        |(_, body)| body.as_file(),
    )?;
    body.as_file_mut().write_all(bytes)?;
    body.as_file().sync_all()?;
    Ok((etag, body))
}

/// Removes the bodies that are not the object's: the one before it, and what writers left that died.
/// Whatever stands in the way can wait for the next write.
fn remove_leftovers(path: &Path) {
    for name in names(path).unwrap_or_default() {
        let Some(etag) = name.strip_suffix(BODY) else { continue };
        // Asked while nobody holds it: its writer is done, so what is not the object now never will be.
        let _ = held::unless_held(&path.join(&name), |body| match current(path)? {
            Some(present) if present.0 != etag => fs::remove_file(body),
            _ => Ok(()),
        });
    }
}

/// Whether the names in a folder are those of an object. (A body is enough: the other name may be changing.)
pub(super) fn is_object(names: &[String]) -> bool {
    names.iter().any(|name| name.starts_with(IS) || name.ends_with(BODY))
}

/// The names in a folder.
pub(super) fn names(path: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(path)?.map(|item| Ok(item?.file_name().to_string_lossy().into_owned())).collect()
}

fn restless(path: &Path) -> io::Error {
    io::Error::other(format!("{path:?} was written anew each of {LOOKS} times that it was looked at"))
}
