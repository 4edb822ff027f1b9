//! The file that counters are kept in: a header and a ring of seconds, written in place. What was written survives
//! the process (kill -9 included) in the page cache; it is not synced, since nothing is decided by it.
//!
//! There are two lanes of each, because a proxy and its successor count at the same time for a while.

use super::bucket::{Bucket, SIZE};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Seconds kept: an hour and a bit, so that a deployment of an hour can be measured with the minute before.
pub(super) const SECONDS: u64 = 4_096;

const MAGIC: u64 = u64::from_le_bytes(*b"everup.2");

/// What is known beside the counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// The second in which counting began.
    pub(super) first: u64,
    /// The second of the last write.
    pub(super) last: u64,
    /// Requests that were in flight or waiting then: after a crash, those that nobody answered.
    pub(super) pending: u64,
}

/// Which of two processes counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// The first.
    A,
    /// Its successor; whose successor is the first again.
    B,
}

impl Lane {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Ring(File);

impl Ring {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(File::options().read(true).write(true).create(true).truncate(false).open(path)?))
    }

    /// What `lane` knew last; nothing where nobody has counted, or in another form.
    pub(super) fn header(&self, lane: Lane) -> Option<Header> {
        let mut bytes = [0; 32];
        self.0.read_exact_at(&mut bytes, place(lane, 0)).ok()?;
        let [magic, first, last, pending] = words(&bytes);
        (magic == MAGIC).then_some(Header { first, last, pending })
    }

    pub(super) fn write_header(&self, lane: Lane, header: Header) -> io::Result<()> {
        let words = [MAGIC, header.first, header.last, header.pending];
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        self.0.write_all_at(&bytes, place(lane, 0))
    }

    pub(super) fn write(&self, lane: Lane, bucket: &Bucket) -> io::Result<()> {
        self.0.write_all_at(&bucket.encode(), place(lane, 1 + bucket.second % SECONDS))
    }

    /// The counts of `second` in `lane`; nothing if there are none, or they have been overwritten.
    pub(super) fn read(&self, lane: Lane, second: u64) -> Option<Bucket> {
        let mut bytes = [0; SIZE];
        self.0.read_exact_at(&mut bytes, place(lane, 1 + second % SECONDS)).ok()?;
        Some(Bucket::decode(&bytes)).filter(|b| b.second == second)
    }
}

fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    words.iter_mut().zip(bytes.as_chunks().0).for_each(|(to, from)| *to = u64::from_le_bytes(*from));
    words
}

/// A lane is a header, in a record's place of its own, and its ring.
fn place(lane: Lane, record: u64) -> u64 {
    (record * 2 + u64::from(lane == Lane::B)) * SIZE as u64
}
