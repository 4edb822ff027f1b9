//! Locks between the agents of one machine that share a folder of releases. They belong to the kernel and end with
//! their process.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A lock; ends when dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "holds the lock")] File);

/// Waits until nobody else holds the lock at `path`.
pub(super) fn alone(path: &Path) -> io::Result<Lock> {
    take(path, |file| file.lock().map(|()| true)).map(|lock| lock.expect("a lock that is waited for comes"))
}

/// Waits until nobody holds the lock at `path` alone.
pub(super) fn shared(path: &Path) -> io::Result<Lock> {
    take(path, |file| file.lock_shared().map(|()| true))
        .map(|lock| lock.expect("a lock that is waited for comes"))
}

/// The lock at `path`, if nobody holds it now.
pub(super) fn if_free(path: &Path) -> io::Result<Option<Lock>> {
    take(path, |file| match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    })
}

/// A lock file is removed with its release, by who holds it alone; then it is another one that counts.
fn take(path: &Path, lock: impl Fn(&File) -> io::Result<bool>) -> io::Result<Option<Lock>> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        if !lock(&file)? {
            return Ok(None);
        }
        if file.metadata()?.nlink() > 0 {
            return Ok(Some(Lock(file)));
        }
    }
}
