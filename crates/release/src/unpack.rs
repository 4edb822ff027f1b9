//! From the archive to a folder, in one pass over its bytes, all or nothing.
//!
//! The manifest alone says what is written, and was judged before the first byte ([`crate::check`]); the zip's own
//! directory is never looked at. Each file's size and SHA-256 are verified while it is written, the archive's at the
//! end; the folder appears by one rename, when all of it is on the disk. Links are made last, so that nothing
//! is ever written through one. Memory: two buffers, whatever the release.

use crate::check::{self, by_offset};
use crate::digest::{BUFFER, Hashing};
use crate::disk::{self, NoRoom};
use crate::names::{self, Kind, Limits, Refused, Why};
use everup_core::release::{Digest, File as Listed, Manifest};
use flate2::read::DeflateDecoder;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Up to so many files are synced one by one; beyond, the file system is synced as a whole.
const SYNC_EACH: usize = 64;

/// Why a release was not unpacked. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// An entry is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The archive is another than the manifest says.
    #[error("the archive is not the one that was published: {wanted} was wanted, {found} came")]
    OtherArchive {
        /// The manifest's digest.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// The archive did not come to its end.
    #[error("the archive could not be read to its end ({at} of {size} bytes)")]
    Archive {
        /// So far.
        at: u64,
        /// Of so many.
        size: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not fit.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The disk refused.
    #[error("cannot write {path:?}")]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl UnpackError {
    fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Write { path: path.to_owned(), source }
    }
}

/// Unpacks `archive` into `part`, then renames that to `folder`, which must not exist. Both are on one file system;
/// what a crash left in `part` is removed first. The caller sees to it that nobody else uses `part`.
///
/// # Errors
/// When an entry is refused, differs from the manifest, or the disk does not take it. `part` is removed then.
pub fn into_place(
    manifest: &Manifest,
    archive: impl Read,
    part: &Path,
    folder: &Path,
) -> Result<(), UnpackError> {
    check::entries(manifest, Limits::default())?;
    let above = part.parent().unwrap_or(part);
    disk::room(above, manifest.files.iter().map(|f| f.size))?;
    remove(part).map_err(UnpackError::write(part))?;
    let done = unpack(manifest, archive, part).and_then(|()| appear(part, folder));
    if done.is_err() {
        // What the disk refuses to remove is removed at the next start.
        let _ = remove(part);
    }
    done
}

fn appear(part: &Path, folder: &Path) -> Result<(), UnpackError> {
    let above = folder.parent().unwrap_or(folder);
    fs::rename(part, folder).and_then(|()| disk::sync_folder(above)).map_err(UnpackError::write(folder))
}

/// Removes a folder, if it is there, whatever the modes of what lies in it.
///
/// # Errors
/// When something cannot be removed.
pub fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn unpack(manifest: &Manifest, archive: impl Read, part: &Path) -> Result<(), UnpackError> {
    let mut unpacker = Unpacker {
        archive: Hashing::new(archive.take(manifest.archive.size.saturating_add(1))),
        size: manifest.archive.size,
        each: manifest.files.len() <= SYNC_EACH,
        buffer: vec![0; BUFFER],
    };
    make_folder(part).map_err(UnpackError::write(part))?;
    let mut links = Vec::new();
    for file in by_offset(&manifest.files) {
        unpacker.skip_to(file.offset)?;
        match check::kind(file)? {
            Kind::File => unpacker.file(file, part)?,
            Kind::Link => links.push((file, unpacker.target(file)?)),
            Kind::Folder => {
                let path = part.join(&file.path);
                let made = make_folders(part, &file.path).and_then(|()| make_folder(&path));
                made.map_err(UnpackError::write(&path))?;
            }
        }
    }
    unpacker.end(&manifest.archive.sha256)?;
    for (file, target) in links {
        let path = part.join(&file.path);
        let made = make_folders(part, &file.path).and_then(|()| std::os::unix::fs::symlink(target, &path));
        made.map_err(UnpackError::write(&path))?;
    }
    if manifest.files.len() > SYNC_EACH {
        disk::sync_all(part).map_err(UnpackError::write(part))
    } else {
        sync_folders(part).map_err(UnpackError::write(part))
    }
}

struct Unpacker<R> {
    archive: Hashing<R>,
    size: u64,
    each: bool,
    buffer: Vec<u8>,
}

impl<R: Read> Unpacker<R> {
    fn skip_to(&mut self, offset: u64) -> Result<(), UnpackError> {
        let gap = offset - self.archive.count();
        let skipped = self.drain(gap)?;
        if skipped < gap { Err(self.short(io::ErrorKind::UnexpectedEof.into())) } else { Ok(()) }
    }

    fn drain(&mut self, most: u64) -> Result<u64, UnpackError> {
        let done = io::copy(&mut (&mut self.archive).take(most), &mut io::sink());
        done.map_err(|error| self.short(error))
    }

    fn short(&self, source: io::Error) -> UnpackError {
        UnpackError::Archive { at: self.archive.count(), size: self.size, source }
    }

    fn file(&mut self, file: &Listed, part: &Path) -> Result<(), UnpackError> {
        let path = part.join(&file.path);
        make_folders(part, &file.path).map_err(UnpackError::write(&path))?;
        let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut out = out.map_err(UnpackError::write(&path))?;
        self.body(file, &mut out, &path)?;
        // Set, not created with: the umask of whoever started us is not part of the release.
        let done = out.set_permissions(Permissions::from_mode(file.mode & 0o777));
        let done = done.and_then(|()| if self.each { out.sync_all() } else { Ok(()) });
        done.map_err(UnpackError::write(&path))
    }

    /// Where the link leads, judged.
    fn target(&mut self, file: &Listed) -> Result<String, UnpackError> {
        let mut target = Vec::new();
        if file.size > 4_096 {
            return Err(Refused::new(&file.path, Why::TooLong).into());
        }
        self.body(file, &mut target, Path::new(&file.path))?;
        let target = String::from_utf8(target).map_err(|_| Refused::new(&file.path, Why::NotUtf8))?;
        names::link(&file.path, &target)?;
        Ok(target)
    }

    /// Reads, unpacks, verifies and writes the bytes of `file`.
    fn body(&mut self, file: &Listed, out: &mut impl Write, path: &Path) -> Result<(), UnpackError> {
        let end = file.offset + file.length;
        let packed = (&mut self.archive).take(file.length);
        let mut bytes: Hashing<Box<dyn Read + '_>> = Hashing::new(if file.length < file.size {
            Box::new(DeflateDecoder::new(packed).take(file.size.saturating_add(1)))
        } else {
            Box::new(packed)
        });
        loop {
            match bytes.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(n) => out.write_all(&self.buffer[..n]).map_err(UnpackError::write(path))?,
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    return Err(Refused::new(&file.path, Why::Differs("they cannot be unpacked")).into());
                }
                Err(error) => {
                    drop(bytes);
                    return Err(self.short(error));
                }
            }
            if bytes.count() > file.size {
                return Err(Refused::new(&file.path, Why::Larger(file.size)).into());
            }
        }
        let (count, found) = (bytes.count(), bytes.finish());
        if count < file.size {
            return Err(Refused::new(&file.path, Why::Differs("they are fewer")).into());
        }
        if found != file.sha256 {
            return Err(Refused::new(&file.path, Why::Differs("their SHA-256 is another")).into());
        }
        // What the decoder did not need.
        self.skip_to(end)
    }

    /// Reads what is left (the zip's directory), so that the digest is that of the whole.
    fn end(mut self, wanted: &Digest) -> Result<(), UnpackError> {
        self.drain(u64::MAX)?;
        if self.archive.count() < self.size {
            return Err(self.short(io::ErrorKind::UnexpectedEof.into()));
        }
        let found = self.archive.finish();
        if found == *wanted {
            return Ok(());
        }
        Err(UnpackError::OtherArchive { wanted: wanted.clone(), found })
    }
}

pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Makes the folders above `path` that are not there.
pub(crate) fn make_folders(part: &Path, path: &str) -> io::Result<()> {
    let Some((above, _)) = path.rsplit_once('/') else { return Ok(()) };
    if part.join(above).is_dir() {
        return Ok(());
    }
    for (at, _) in path.match_indices('/') {
        match make_folder(&part.join(&path[..at])) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn sync_folders(folder: &Path) -> io::Result<()> {
    for item in fs::read_dir(folder)? {
        let item = item?;
        if item.file_type()?.is_dir() {
            sync_folders(&item.path())?;
        }
    }
    File::open(folder)?.sync_all()
}
