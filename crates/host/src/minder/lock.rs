//! One minder a place: a lock beside the state, held from before there is a minder until it has ended.
//!
//! Whoever starts a minder takes the lock and hands it over as the minder's stderr. So there is no moment in which a start
//! is under way and nobody can see it, whatever dies meanwhile.

use super::{Answer, State};
use crate::adopt::{Standing, standing};
use rustix::fs::{FlockOperation, flock, fstat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::stdio::{dup2_stderr, stderr};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Between a minder's start and its first state there are a few calls; on a disk that hangs they take longer.
pub(crate) const LONGEST_BEGINNING: Duration = Duration::from_secs(5);
/// Nobody tells of a state that is not there yet.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The lock of the state at `state`.
pub(crate) fn lock_of(state: &Path) -> PathBuf {
    state.with_extension("lock")
}

/// The lock for a minder that is about to be started. Where somebody has it, the minder waits for it itself.
pub(crate) fn for_minder(state: &Path) -> io::Result<File> {
    let file = open(&lock_of(state))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) | Err(Errno::WOULDBLOCK) => Ok(file),
        Err(error) => Err(error.into()),
    }
}

/// Whether a minder has the place, or is about to.
pub(crate) fn is_held(state: &Path) -> bool {
    let locked = File::open(lock_of(state)).map(|file| flock(&file, FlockOperation::NonBlockingLockShared));
    matches!(locked, Ok(Err(Errno::WOULDBLOCK)))
}

/// The minder's own; held until the process ends. One that is being started here is waited for until it has said so: only
/// then can whoever asked find it.
pub(super) fn take(state: &Path) -> Result<OwnedFd, Answer> {
    let path = lock_of(state);
    let refused = |reason: String| Answer::Refused { reason };
    let cannot = |error: io::Error| refused(format!("{} cannot be locked: {error}", path.display()));
    let lock = handed_over(&path).map_err(cannot)?;
    let deadline = Instant::now() + LONGEST_BEGINNING;
    while let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        if error != Errno::WOULDBLOCK {
            return Err(cannot(error.into()));
        }
        if let Some(other) = State::read(state).filter(|other| standing(other) == Standing::Minded) {
            let who = format!("{}, for start {}", other.minder.pid, other.start);
            return Err(refused(format!("another minder is here: {who}")));
        }
        if Instant::now() >= deadline {
            return Err(refused(format!(
                "another minder has been starting here for {} s and says nothing: see who holds {}",
                LONGEST_BEGINNING.as_secs(),
                path.display()
            )));
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(lock)
}

/// What came as stderr, which is nowhere from then on; another one where something else came.
fn handed_over(path: &Path) -> io::Result<OwnedFd> {
    let file = open(path)?;
    let (came, there) = (fstat(stderr())?, file.metadata()?);
    if (came.st_dev, came.st_ino) != (there.dev(), there.ino()) {
        return Ok(file.into());
    }
    let lock = fcntl_dupfd_cloexec(stderr(), 3)?;
    dup2_stderr(File::options().write(true).open("/dev/null")?)?;
    Ok(lock)
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).read(true).write(true).truncate(false).open(path)
}
