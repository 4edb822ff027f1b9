//! One keeper a state folder: an exclusive lock that the kernel lets go when its holder ends, however it ends.

use super::files::{self, FileError};
use everup_core::time::Wall;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Who holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// When it took it.
    pub since: Wall,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another keeper has it.
    #[error("this fleet is already kept by process {}", .0.pid)]
    Held(Holder),
    /// Another keeper has it and has not yet said who it is.
    #[error("this fleet is just being taken over by another process")]
    HeldByNobodyKnown,
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Lock {
    /// Takes the lock at `path`, and writes into it who has it.
    ///
    /// # Errors
    /// When another process has it, or the file cannot be used.
    pub fn take(path: &Path, now: Wall) -> Result<Self, LockError> {
        let open =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
        let mut file = open.map_err(FileError::at("open", path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let holder = files::read(path).ok().flatten();
            return Err(holder.map_or(LockError::HeldByNobodyKnown, LockError::Held));
        }
        let holder = Holder { pid: std::process::id(), since: now };
        // For people: a full disk does not keep anybody from taking it.
        let _ = write(&mut file, holder);
        Ok(Self(file))
    }
}

fn write(file: &mut File, holder: Holder) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(&holder)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_keeper_is_told_who_holds_the_fleet_and_since_when() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keeper.lock");
        let first = Lock::take(&path, Wall(5)).unwrap();
        let refused = Lock::take(&path, Wall(6)).unwrap_err();
        let LockError::Held(holder) = refused else { panic!("{refused}") };
        assert_eq!(holder, Holder { pid: std::process::id(), since: Wall(5) });
        drop(first);
        Lock::take(&path, Wall(7)).unwrap();
    }
}
