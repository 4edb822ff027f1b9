//! The app's output, from its pipe to the log; the app never waits for the disk longer than a moment.

use super::{Charge, Duty};
use crate::logs::{Capped, Cutter, Rotated, Tail, Writer};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The disk may be behind for so long before output is dropped: an app at full speed is only slowed down by a disk
/// that works, and is not stopped by one that hangs.
const PATIENCE: Duration = Duration::from_millis(100);

/// The end of an app is told though the disk has not taken its last output for so long.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// At the end, so many reads empty any pipe.
const LAST_READS: usize = 64;

pub(super) struct Output {
    /// Nothing after its end.
    pipe: Option<PipeReader>,
    writer: Writer,
    cutter: Cutter,
    tail: Tail,
    /// What the writer did not take.
    waiting: Option<Vec<u8>>,
    /// Since when the writer takes nothing.
    behind: Option<Instant>,
}

impl Output {
    /// A place for the output of what is charged.
    pub(super) fn new(charge: &Charge) -> io::Result<Self> {
        let log = &charge.log;
        let writer = match charge.duty {
            Duty::App { .. } => Writer::start(Rotated::new(&log.path, log.size, log.keep))?,
            Duty::Migration { .. } => Writer::start(Capped::new(&log.path, log.size))?,
        };
        let (cutter, tail) = (Cutter::default(), Tail::default());
        Ok(Self { pipe: None, writer, cutter, tail, waiting: None, behind: None })
    }

    /// Reads from `pipe` from now on.
    pub(super) fn follow(&mut self, pipe: PipeReader) -> io::Result<()> {
        fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
        self.pipe = Some(pipe);
        Ok(())
    }

    /// What to wait for: more output, or, while the disk is behind, its progress.
    pub(super) fn wake(&self) -> Option<BorrowedFd<'_>> {
        if self.waiting.is_some() {
            Some(self.writer.progress())
        } else {
            self.pipe.as_ref().map(AsFd::as_fd)
        }
    }

    /// When patience with the disk ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().and(self.behind).map(|since| since + PATIENCE)
    }

    /// Moves some output on; says whether there may be more at once.
    pub(super) fn pump(&mut self) -> bool {
        self.writer.reset();
        if let Some(lines) = self.waiting.take() {
            self.hand_over(lines);
        }
        self.waiting.is_none() && self.read_some()
    }

    /// All that is left in the pipe, then the end; returns the last lines, also where the disk is behind.
    pub(super) fn finish(mut self) -> Vec<String> {
        for _ in 0..LAST_READS {
            self.write_waiting();
            if !self.read_some() {
                break;
            }
        }
        self.write_waiting();
        let mut rest = Vec::new();
        self.cutter.finish(&mut rest);
        self.write_or_drop(rest);
        self.writer.finish(LAST_WORDS);
        self.tail.lines()
    }

    fn write_waiting(&mut self) {
        if let Some(lines) = self.waiting.take() {
            self.write_or_drop(lines);
        }
    }

    fn write_or_drop(&mut self, lines: Vec<u8>) {
        if let Err(lines) = self.writer.offer(lines) {
            self.writer.drop_bytes(lines.len());
        }
    }

    fn read_some(&mut self) -> bool {
        let mut bytes = vec![0; 64 << 10];
        let Some(pipe) = &mut self.pipe else { return false };
        match pipe.read(&mut bytes) {
            Ok(0) => self.pipe = None,
            Ok(count) => {
                let mut kept = Vec::with_capacity(count);
                self.cutter.feed(&bytes[..count], &mut kept);
                self.tail.feed(&kept);
                self.hand_over(kept);
                return true;
            }
            Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => {
            }
            Err(_) => self.pipe = None,
        }
        false
    }

    fn hand_over(&mut self, lines: Vec<u8>) {
        match self.writer.offer(lines) {
            Ok(()) => self.behind = None,
            Err(lines) if self.behind.is_some_and(|since| since.elapsed() >= PATIENCE) => {
                self.writer.drop_bytes(lines.len());
            }
            Err(lines) => {
                self.behind.get_or_insert_with(Instant::now);
                self.waiting = Some(lines);
            }
        }
    }
}
