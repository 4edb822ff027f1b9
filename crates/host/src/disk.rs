//! Files that are replaced, never written in place: after a crash, or on a full disk, the old one is there, whole.

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file could not be replaced; what was there before is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {wanted} bytes to {path} ({space}); what was there is unchanged: free space or make it writable", path = .path.display())]
pub struct Unwritten {
    /// Which file.
    pub path: PathBuf,
    /// So many bytes were to be written.
    pub wanted: usize,
    /// The file system that it is on, and what is free there.
    pub space: String,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Replaces `path` by `bytes`: a temporary file beside it, synced, renamed, and the folder synced.
///
/// A file has one writer at a time: the temporary name is fixed, so that a crash leaves at most one behind.
///
/// # Errors
/// When the file system refuses any step; the old file is still there.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<(), Unwritten> {
    let fresh = beside(path, "new");
    let written = write_synced(&fresh, bytes).and_then(|()| rename_synced(&fresh, path));
    written.map_err(|source| {
        // It may not exist, and a second failure would hide the first.
        let _ = fs::remove_file(&fresh);
        unwritten(path, bytes.len(), source)
    })
}

/// Creates `path` with `bytes`, whole and synced, unless it exists. Says whether it did: of several that try, one.
///
/// # Errors
/// When the file system refuses any step; then it was not created by this call, as far as the system says.
pub fn create_once(path: &Path, bytes: &[u8]) -> Result<bool, Unwritten> {
    let fresh = beside(path, &format!("{}.new", std::process::id()));
    let linked = write_synced(&fresh, bytes).and_then(|()| match fs::hard_link(&fresh, path) {
        Ok(()) => sync_folder(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    });
    let _ = fs::remove_file(&fresh);
    linked.map_err(|source| unwritten(path, bytes.len(), source))
}

/// Room on the disk for one later replacement of a file, so that a full disk cannot prevent it.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    room: PathBuf,
}

impl Reserve {
    /// Sets `bytes` aside for a later replacement of `path`.
    ///
    /// # Errors
    /// When the file system has no such room, or cannot set it aside.
    pub fn set_aside(path: &Path, bytes: u64) -> Result<Self, Unwritten> {
        let room = beside(path, "room");
        let made = private(&room).and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, bytes)?));
        match made {
            Ok(()) => Ok(Self { path: path.to_owned(), room }),
            Err(source) => {
                let _ = fs::remove_file(&room);
                Err(unwritten(path, usize::try_from(bytes).unwrap_or(usize::MAX), source))
            }
        }
    }

    /// Replaces the file by `bytes`, in the room that was set aside.
    ///
    /// # Errors
    /// When the file system refuses any step; the old file is still there.
    pub fn replace(self, bytes: &[u8]) -> Result<(), Unwritten> {
        let fill = || {
            let mut file = OpenOptions::new().write(true).open(&self.room)?;
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)?;
            file.sync_all()?;
            rename_synced(&self.room, &self.path)
        };
        fill().map_err(|source| unwritten(&self.path, bytes.len(), source))
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // After a replacement it is not there any more.
        let _ = fs::remove_file(&self.room);
    }
}

/// "ext4 at /, 12 MB free": where `path` lies.
#[must_use]
pub fn space(path: &Path) -> String {
    let folder = path.parent().unwrap_or(path);
    let free = statvfs(folder).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    match mount_of(&mounts, &real) {
        Some((kind, point)) => format!("{kind} at {point}, {} kB free", free / 1_000),
        None => format!("{} kB free", free / 1_000),
    }
}

/// The type and the mount point of the file system that holds `path`: the last of the longest that match.
fn mount_of<'a>(mounts: &'a str, path: &Path) -> Option<(&'a str, &'a str)> {
    let parse = |line: &'a str| {
        let (left, right) = line.split_once(" - ")?;
        Some((right.split(' ').next()?, left.split(' ').nth(4)?))
    };
    let holding = mounts.lines().filter_map(parse).filter(|(_, point)| path.starts_with(point));
    holding.max_by_key(|(_, point)| point.len())
}

fn unwritten(path: &Path, wanted: usize, source: io::Error) -> Unwritten {
    Unwritten { path: path.to_owned(), wanted, space: space(path), source }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{suffix}"))
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn rename_synced(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(to)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_that_fails_leaves_the_old_file_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        atomic_write(&path, b"old").unwrap();
        // A folder in the place of the temporary file: it cannot be opened for writing, not even by root.
        fs::create_dir(beside(&path, "new")).unwrap();
        let error = atomic_write(&path, b"new one").unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let text = error.to_string();
        assert!(text.contains("cannot write 7 bytes") && text.contains("state.json"), "{text}");
        fs::remove_dir(beside(&path, "new")).unwrap();
        atomic_write(&path, b"new one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn of_several_creators_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("begun");
        assert!(create_once(&path, b"first").unwrap());
        assert!(!create_once(&path, b"second").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_reserve_becomes_the_file_at_its_true_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        atomic_write(&path, b"old").unwrap();
        let reserve = Reserve::set_aside(&path, 4_096).unwrap();
        reserve.replace(b"the end").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"the end");
    }

    #[test]
    fn the_longest_mount_point_holds_a_path() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:5 / /var/lib rw shared:1 - tmpfs none rw\n";
        assert_eq!(mount_of(mounts, Path::new("/var/lib/x")), Some(("tmpfs", "/var/lib")));
        assert_eq!(mount_of(mounts, Path::new("/var/library")), Some(("ext4", "/")));
    }
}
