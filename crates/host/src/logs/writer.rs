//! A thread that writes to the disk, so that a slow or full one makes nobody wait.

use super::Sink;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// So many pieces of output wait for the disk at most; with pieces of at most 64 kB a few megabytes.
const WAITING: usize = 32;

enum Piece {
    /// Output.
    Lines(Vec<u8>),
    /// So many bytes were dropped before the next piece.
    Dropped(u64),
}

/// The end of a queue to a thread that writes.
#[derive(Debug)]
pub struct Writer {
    queue: SyncSender<Piece>,
    shared: Arc<Shared>,
    dropped: u64,
}

#[derive(Debug)]
struct Shared {
    /// Readable when the thread has taken a piece.
    progress: OwnedFd,
    /// All is written.
    done: AtomicBool,
}

impl Writer {
    /// Starts a thread that writes into `sink`, until the writer is dropped.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub fn start(sink: impl Sink + 'static) -> io::Result<Self> {
        let progress = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared { progress, done: AtomicBool::new(false) });
        let (queue, pieces) = sync_channel(WAITING);
        let told = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&pieces, sink, &told))?;
        Ok(Self { queue, shared, dropped: 0 })
    }

    /// Hands `lines` to the thread, unless too much waits already; then they are given back.
    ///
    /// # Errors
    /// With the lines, when the queue is full.
    pub fn offer(&mut self, lines: Vec<u8>) -> Result<(), Vec<u8>> {
        if self.dropped > 0 {
            match self.queue.try_send(Piece::Dropped(self.dropped)) {
                Ok(()) => self.dropped = 0,
                Err(_) => return Err(lines),
            }
        }
        self.queue.try_send(Piece::Lines(lines)).map_err(|error| match error {
            TrySendError::Full(Piece::Lines(lines)) | TrySendError::Disconnected(Piece::Lines(lines)) => {
                lines
            }
            TrySendError::Full(_) | TrySendError::Disconnected(_) => Vec::new(),
        })
    }

    /// Notes in the log, as soon as it can, that so many bytes are missing there.
    pub const fn drop_bytes(&mut self, bytes: usize) {
        self.dropped += bytes as u64;
    }

    /// Becomes readable when the thread has taken a piece; unreadable again by [`Writer::reset`].
    #[must_use]
    pub fn progress(&self) -> BorrowedFd<'_> {
        self.shared.progress.as_fd()
    }

    /// Forgets the progress that was made so far.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// Ends the queue and waits until all is written, but no longer than `within`: a disk that hangs must not keep
    /// the end of an app from being told. Says whether all is written.
    pub fn finish(self, within: Duration) -> bool {
        let Self { queue, shared, dropped } = self;
        if dropped > 0 {
            let _ = queue.try_send(Piece::Dropped(dropped));
        }
        drop(queue);
        let until = Instant::now() + within;
        while !shared.done.load(Ordering::Acquire) && shared.wait(until) {
            shared.reset();
        }
        shared.done.load(Ordering::Acquire)
    }
}

impl Shared {
    fn tell(&self) {
        // It could only fail when nobody has read it for 2^64 pieces.
        let _ = rustix::io::write(&self.progress, &1_u64.to_ne_bytes());
    }

    fn reset(&self) {
        // "Nothing to read" is as good.
        let _ = rustix::io::read(&self.progress, &mut [0; 8]);
    }

    /// Waits for progress; says whether `until` is still to come.
    fn wait(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        let mut fds = [PollFd::new(&self.progress, PollFlags::IN)];
        let _ = poll(&mut fds, timeout.as_ref());
        Instant::now() < until
    }
}

fn write_all(pieces: &Receiver<Piece>, mut sink: impl Sink, shared: &Shared) {
    let mut lost = 0;
    for piece in pieces {
        match piece {
            Piece::Lines(lines) => lost = write(&mut sink, &lines, lost),
            Piece::Dropped(bytes) => lost += bytes,
        }
        shared.tell();
    }
    write(&mut sink, b"", lost);
    shared.done.store(true, Ordering::Release);
    shared.tell();
}

/// Writes `lines` after a note on what was lost before; returns what is lost now.
fn write(sink: &mut impl Sink, lines: &[u8], lost: u64) -> u64 {
    if lost > 0 && sink.write(note(lost).as_bytes()).is_err() {
        return lost + lines.len() as u64;
    }
    if lines.is_empty() || sink.write(lines).is_ok() { 0 } else { lines.len() as u64 }
}

fn note(lost: u64) -> String {
    format!("everup: {lost} bytes of output are missing here: the disk was full or too slow\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    const LONG: Duration = Duration::from_secs(30);

    /// A disk that does what the test says: each write waits for a word, "full" or "fine".
    struct Disk {
        words: Receiver<bool>,
        written: Sender<Vec<u8>>,
    }

    impl Sink for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            if !self.words.recv().unwrap_or(true) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let _ = self.written.send(bytes.to_vec());
            Ok(())
        }
    }

    fn disk() -> (Sender<bool>, Receiver<Vec<u8>>, Writer) {
        let ((say, words), (written, read)) = (channel(), channel());
        (say, read, Writer::start(Disk { words, written }).unwrap())
    }

    #[test]
    fn what_a_full_disk_refuses_is_counted_in_the_log_itself() {
        let (say, read, mut writer) = disk();
        writer.offer(b"lost\n".to_vec()).unwrap();
        writer.offer(b"kept\n".to_vec()).unwrap();
        say.send(false).unwrap();
        drop(say);
        assert!(writer.finish(LONG));
        let log: Vec<u8> = read.iter().flatten().collect();
        let text = String::from_utf8(log).unwrap();
        assert_eq!(text, format!("{}kept\n", note(5)));
    }

    #[test]
    fn a_disk_that_hangs_makes_nobody_wait() {
        let (say, read, mut writer) = disk();
        let mut dropped = 0;
        while dropped < 1_000 {
            if let Err(lines) = writer.offer(b"0123456789\n".to_vec()) {
                dropped += lines.len();
                writer.drop_bytes(lines.len());
            }
        }
        drop(say);
        assert!(writer.finish(LONG));
        let text = String::from_utf8(read.iter().flatten().collect()).unwrap();
        let noted: usize =
            text.lines().filter_map(|line| line.split(' ').nth(1)?.parse::<usize>().ok()).sum();
        let kept = text.lines().filter(|line| *line == "0123456789").count();
        assert!(kept >= WAITING && noted <= dropped, "{kept} lines kept, {noted} of {dropped} noted");
    }

    #[test]
    fn the_end_does_not_wait_for_a_disk_that_hangs() {
        let (say, _read, mut writer) = disk();
        writer.offer(b"stuck\n".to_vec()).unwrap();
        assert!(!writer.finish(Duration::from_millis(10)));
        drop(say);
    }
}
