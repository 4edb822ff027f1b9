//! Whose turn it is to make a release. The agents of a machine want it at the same moment; one fetches and unpacks it, and
//! the others find it complete.
//!
//! This is a courtesy, no law: they wait only as long as the one whose turn it is shows that it goes on. One that is stopped,
//! or whose disk or store hangs, shows nothing, and then everybody makes the release for himself.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the others wait without a sign.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Somebody's turn; ends when dropped, or with its process.
#[derive(Debug)]
pub(super) struct Turn(File);

impl Turn {
    /// Waits for the turn at `path`; `None` if the one who has it has given no sign for [`PATIENCE`], or if the kernel does
    /// not tell of signs. Blocks meanwhile.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        if file.try_lock().is_ok() {
            return Ok(Some(Self(file)));
        }
        let Ok(signs) = Signs::of(path) else { return Ok(None) };
        let mut until = Instant::now() + PATIENCE;
        loop {
            // Asked after the signs are heard: its end cannot be missed.
            if file.try_lock().is_ok() {
                return Ok(Some(Self(file)));
            }
            match signs.next(until.saturating_duration_since(Instant::now())) {
                Ok(Some(true)) => until = Instant::now() + PATIENCE,
                Ok(Some(false)) => {}
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }

    /// Shows that the work goes on.
    pub(super) fn sign(&self) {
        // On a full disk the others do not see it, and go on by themselves.
        let _ = self.0.write_at(b".", 0);
    }
}

/// What the kernel tells of a file: that it was written to, and that somebody who could write to it closed it.
struct Signs(OwnedFd);

impl Signs {
    fn of(path: &Path) -> io::Result<Self> {
        let heard = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&heard, path, WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE)?;
        Ok(Self(heard))
    }

    /// Waits until something is told, and says whether somebody wrote; `None` if nothing is within `patience`.
    fn next(&self, patience: Duration) -> io::Result<Option<bool>> {
        let patience = Timespec::try_from(patience).ok();
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], patience.as_ref()) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [MaybeUninit::uninit(); 4_096];
        let mut events = Reader::new(&self.0, &mut buffer);
        let mut wrote = false;
        loop {
            match events.next() {
                Ok(event) => wrote |= event.events().contains(ReadFlags::MODIFY),
                Err(Errno::AGAIN) => return Ok(Some(wrote)),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
