//! Nonces that were used: each is taken once, also across a restart of the agent.
//!
//! They are appended to a file, so that a process that is killed forgets nothing (what it wrote is the kernel's).
//! A machine that was started anew may have lost the file's end: then all that was made before its start is refused.
//! Two generations, each of twice the time window, bound both the memory and the file.

use super::{Denied, Verified, WINDOW};
use everup_core::time::{Millis, Wall};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How many nonces a generation remembers: a hundred agents, ten requests a second each, for four minutes. Beyond
/// that, requests are refused: forgetting would let one be played again.
const ROOM: usize = 240_000;

/// A generation lasts so long; what was used stays remembered for one to two of them.
const GENERATION: Millis = WINDOW.times(2);

/// The first half of a nonce's digest.
type Mark = [u8; 16];

/// The nonces' file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot remember nonces in {}", .path.display())]
pub struct BadNonces {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Which run of the machine this is, and when this process began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// When this process began.
    pub started: Wall,
}

/// The nonces that were used.
#[derive(Debug)]
pub struct Nonces(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// Where they are written down; nowhere in tests.
    file: Option<(PathBuf, File)>,
    header: Header,
    now: HashSet<Mark>,
    before: HashSet<Mark>,
}

impl Nonces {
    /// Nonces that a restart forgets: for tests.
    #[must_use]
    pub fn in_memory() -> Self {
        let header = Header { boot: String::new(), since: Wall(0), not_before: Wall(0) };
        Self(Mutex::new(Inner { file: None, header, now: HashSet::new(), before: HashSet::new() }))
    }

    /// Reads what was used from `path` (and from the generation before, beside it), and goes on writing there.
    ///
    /// # Errors
    /// When the file can be neither read nor written.
    pub fn open(path: &Path, of: &Use) -> Result<Self, BadNonces> {
        let open = || {
            let found = (Generation::read(path)?, Generation::read(&older(path))?);
            match found {
                (Some(now), before) if now.header.boot == of.boot => Inner::go_on(path, now, before),
                (None, None) => Inner::begin(path, of, Wall(0)),
                _ => Inner::begin(path, of, of.started),
            }
        };
        match open() {
            Ok(inner) => Ok(Self(Mutex::new(inner))),
            Err(source) => Err(BadNonces { path: path.to_owned(), source }),
        }
    }

    /// Uses a verified request's nonce.
    ///
    /// # Errors
    /// When it was used before, or nobody can know whether it was.
    pub fn take(&self, verified: &Verified, now: Wall) -> Result<(), Denied> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Creation is told in whole seconds.
        if verified.created.0 / 1_000 < inner.header.not_before.0 / 1_000 {
            return Err(Denied::BeforeStart);
        }
        inner.turn(now).map_err(|error| Denied::NoRoom(error.to_string()))?;
        inner.remember(&verified.nonce)
    }
}

impl Inner {
    /// On a new machine, and after a start of the machine: there is nothing that can be relied on.
    fn begin(path: &Path, of: &Use, not_before: Wall) -> io::Result<Self> {
        let header = Header { boot: of.boot.clone(), since: of.started, not_before };
        let file = header.create(path)?;
        remove(&older(path))?;
        Ok(Self { file: Some((path.to_owned(), file)), header, now: HashSet::new(), before: HashSet::new() })
    }

    /// After a restart of the agent alone.
    fn go_on(path: &Path, now: Generation, before: Option<Generation>) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path)?;
        // A full disk may have cut the last mark.
        file.set_len(now.whole)?;
        Ok(Self {
            file: Some((path.to_owned(), file)),
            header: now.header,
            now: now.marks,
            before: before.map(|found| found.marks).unwrap_or_default(),
        })
    }

    /// Begins a new generation when it is time.
    fn turn(&mut self, now: Wall) -> io::Result<()> {
        if self.header.since.0.abs_diff(now.0) < GENERATION.0 {
            return Ok(());
        }
        self.header.since = now;
        if let Some((path, file)) = &mut self.file {
            fs::rename(&*path, older(path))?;
            *file = self.header.create(path)?;
        }
        self.before = std::mem::take(&mut self.now);
        Ok(())
    }

    fn remember(&mut self, nonce: &str) -> Result<(), Denied> {
        let mark = mark(nonce);
        if self.now.contains(&mark) || self.before.contains(&mark) {
            return Err(Denied::Replayed);
        }
        if self.now.len() >= ROOM {
            return Err(Denied::NoRoom("too many requests in a short time".into()));
        }
        if let Some((_, file)) = &mut self.file {
            append(file, &mark).map_err(|error| Denied::NoRoom(error.to_string()))?;
        }
        self.now.insert(mark);
        Ok(())
    }
}

/// Writes the whole mark, or nothing of it: a part would shift all that come after it.
fn append(file: &mut File, mark: &[u8]) -> io::Result<()> {
    let whole = file.metadata()?.len();
    file.write_all(mark).inspect_err(|_| {
        // Cutting off needs no room.
        let _ = file.set_len(whole);
    })
}

/// A file's first line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Header {
    boot: String,
    since: Wall,
    not_before: Wall,
}

impl Header {
    fn create(&self, path: &Path) -> io::Result<File> {
        remove(path)?;
        let mut file = OpenOptions::new().append(true).create_new(true).open(path)?;
        let (since, not_before) = (self.since.0, self.not_before.0);
        file.write_all(format!("everup-nonces 1 {} {since} {not_before}\n", self.boot).as_bytes())?;
        Ok(file)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
        let ["everup-nonces", "1", boot, since, not_before] = *words else { return None };
        let (since, not_before) = (Wall(since.parse().ok()?), Wall(not_before.parse().ok()?));
        Some(Self { boot: boot.to_owned(), since, not_before })
    }
}

/// What a file holds.
struct Generation {
    header: Header,
    marks: HashSet<Mark>,
    /// The file's length without a mark that was cut.
    whole: u64,
}

impl Generation {
    /// Nothing if there is no file. One without a header counts as one of another run of the machine.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => file.take((ROOM * size_of::<Mark>() + 256) as u64).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let unknown = Header { boot: "unknown".into(), since: Wall(0), not_before: Wall(0) };
        let (marks, cut) = bytes.get(end + 1..).unwrap_or_default().as_chunks();
        Ok(Some(Self {
            header: Header::parse(&bytes[..end]).unwrap_or(unknown),
            marks: marks.iter().copied().collect(),
            whole: (bytes.len() - cut.len()) as u64,
        }))
    }
}

fn older(path: &Path) -> PathBuf {
    path.with_extension("before")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn mark(nonce: &str) -> Mark {
    let digest = Sha256::digest(nonce);
    *digest.as_slice().first_chunk().expect("a SHA-256 has 32 bytes")
}
