//! Locks between the agents of one machine that share a folder of releases. They belong to the kernel and end with
//! their process; whoever is stopped keeps his. So nobody ever waits for one.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A lock; ends when dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "holds the lock")] File);

/// The lock at `path`, together with others, if nobody holds it alone now.
pub(super) fn shared(path: &Path) -> io::Result<Option<Lock>> {
    take(path, File::try_lock_shared)
}

/// The lock at `path`, alone, if nobody holds it now.
pub(super) fn alone(path: &Path) -> io::Result<Option<Lock>> {
    take(path, File::try_lock)
}

/// A lock file is removed with its release, by who holds it alone; then it is another one that counts.
fn take(path: &Path, lock: impl Fn(&File) -> Result<(), TryLockError>) -> io::Result<Option<Lock>> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match lock(&file) {
            Ok(()) if file.metadata()?.nlink() > 0 => return Ok(Some(Lock(file))),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
