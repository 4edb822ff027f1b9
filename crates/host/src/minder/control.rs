//! The order to stop: one line in a named pipe beside the state.
//!
//! A pipe and not a socket, because a socket's path may have 107 bytes at most, and not a signal, because a PID
//! may be somebody else's: a pipe that nobody reads refuses the writer.

use everup_core::ids::StartId;
use everup_core::time::Millis;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Where the minder of the state at `state` takes orders.
#[must_use]
pub fn control_of(state: &Path) -> PathBuf {
    state.with_extension("control")
}

/// Orders the minder of `start` to end its app within `deadline`. Says whether a minder was there to read it.
///
/// # Errors
/// When the pipe cannot be written for another reason.
pub fn order_stop(state: &Path, start: &StartId, deadline: Millis) -> io::Result<bool> {
    // First of all: whoever looks from here on must not take it for an app that will go on serving. A full disk refuses
    // that; it must not keep the app from being stopped in order.
    let _ = std::fs::write(stopping_of(state), start.as_str());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match open(control_of(state), flags, Mode::empty()) {
        Ok(pipe) => {
            // Shorter than PIPE_BUF, so it arrives whole or not at all.
            File::from(pipe).write_all(format!("stop {start} {}\n", deadline.0).as_bytes())?;
            Ok(true)
        }
        Err(Errno::NXIO | Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether `start` was told to end. It may still run, and answer, until its time is over.
#[must_use]
pub fn is_stopping(state: &Path, start: &StartId) -> bool {
    std::fs::read(stopping_of(state)).is_ok_and(|told| told == start.as_str().as_bytes())
}

fn stopping_of(state: &Path) -> PathBuf {
    state.with_extension("stopping")
}

/// The minder's end of the pipe.
#[derive(Debug)]
pub(super) struct Control {
    pipe: File,
    start: StartId,
    read: Vec<u8>,
}

impl Control {
    pub(super) fn open(state: &Path, start: &StartId) -> io::Result<Self> {
        let path = control_of(state);
        match mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        // For writing too: so there is no end of file when a writer has gone.
        let pipe = open(&path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { pipe: pipe.into(), start: start.clone(), read: Vec::new() })
    }

    /// The order that came, if one did that is for this start.
    pub(super) fn order(&mut self) -> Option<Millis> {
        let mut bytes = [0; 512];
        let mut order = None;
        while let Ok(count @ 1..) = self.pipe.read(&mut bytes) {
            self.read.extend_from_slice(&bytes[..count]);
            while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                order = parse(&String::from_utf8_lossy(&line), &self.start).or(order);
            }
            // Only a stranger sends a line that long.
            self.read.truncate(512);
        }
        order
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

fn parse(line: &str, start: &StartId) -> Option<Millis> {
    match line.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
        ["stop", id, deadline] if *id == start.as_str() => deadline.parse().ok().map(Millis),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_reaches_only_the_minder_of_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("app-a.json");
        let [one, two] = ["s-1", "s-2"].map(|id| StartId::new(id).unwrap());
        assert!(!order_stop(&state, &one, Millis(5)).unwrap(), "nobody has made the pipe");
        let mut control = Control::open(&state, &one).unwrap();
        assert!(order_stop(&state, &two, Millis(5)).unwrap());
        assert_eq!(control.order(), None);
        assert!(order_stop(&state, &one, Millis(7)).unwrap());
        assert_eq!(control.order(), Some(Millis(7)));
        drop(control);
        assert!(!order_stop(&state, &one, Millis(5)).unwrap(), "nobody reads it");
    }
}
