//! What everup says of itself while it works: lines on stderr. Where that is a file that the keeper opened for a child,
//! or a keeper in the background for itself, nobody else bounds it.

use crate::args::Command;
use crate::cmd::up;
use crate::output;
use rustix::fs::fstat;
use rustix::stdio::{dup2_stderr, stderr};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::{EnvFilter, fmt};

/// A file of everup's own words has at most so many bytes, and there is one older one beside it.
const SIZE: u64 = 10_000_000;

/// Warnings, or what `-v`, or EVERUP_LOG, asks for.
pub(crate) fn start(verbose: u8, command: &Command) {
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_env("EVERUP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let into_own_file = match command {
        Command::Agent(_) | Command::Proxy(_) => true,
        Command::Up(up::Args { background, .. }) => *background,
        _ => false,
    };
    let writer = if into_own_file { BoxMakeWriter::new(|| Bounded) } else { BoxMakeWriter::new(io::stderr) };
    // A line that cannot be written is lost: to say so on the same stderr is a panic, and a full disk or a closed terminal
    // ends nobody.
    let subscriber = fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    // Somebody who tests has one already.
    let _ = subscriber.with_ansi(output::coloured()).try_init();
}

/// Stderr, which begins anew in an empty file when its file is full.
struct Bounded;

static FULL: Mutex<()> = Mutex::new(());

impl Write for Bounded {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _one = FULL.lock().unwrap_or_else(PoisonError::into_inner);
        if is_full(line.len())? {
            begin_anew(Path::new(&fs::read_link("/proc/self/fd/2")?))?;
        }
        io::stderr().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Whether stderr is a file that `more` bytes would make too large.
fn is_full(more: usize) -> io::Result<bool> {
    let stat = fstat(stderr())?;
    let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    Ok(is_file && size.saturating_add(more as u64) > SIZE)
}

/// Panics and children that inherited nothing better write there too, so it is the descriptor that is moved.
fn begin_anew(path: &Path) -> io::Result<()> {
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    fs::rename(path, older)?;
    dup2_stderr(open(path)?)?;
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
