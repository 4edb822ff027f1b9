//! SHA-256 of what passes by.

use everup_core::release::Digest;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What one read or write moves.
pub(crate) const BUFFER: usize = 64 << 10;

/// Hashes and counts what is read through it.
pub(crate) struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    count: u64,
}

impl<R: Read> Hashing<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new(), count: 0 }
    }

    /// How many bytes passed.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn finish(self) -> Digest {
        seal(self.hasher)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.count += n as u64;
        Ok(n)
    }
}

/// The digest of `bytes`.
#[must_use]
pub fn of(bytes: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(bytes);
    seal(hasher)
}

/// The digest of a file, and how many bytes it has.
///
/// # Errors
/// When it cannot be read.
pub fn of_file(path: &Path) -> io::Result<(Digest, u64)> {
    let mut reader = Hashing::new(File::open(path)?);
    let mut buffer = vec![0; BUFFER];
    while reader.read(&mut buffer)? > 0 {}
    let count = reader.count();
    Ok((reader.finish(), count))
}

fn seal(hasher: Sha256) -> Digest {
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        write!(hex, "{byte:02x}").expect("a String takes everything");
    }
    Digest::new(hex).expect("32 bytes are 64 digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_abc_is_the_published_one() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(b"abc").as_str(), expected);
        let mut reader = Hashing::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!((reader.count(), reader.finish().as_str()), (3, expected));
    }
}
