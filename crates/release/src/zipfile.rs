//! Writes the archive: an ordinary zip that any tool opens, and the same bytes for the same tree.
//!
//! Ours because the manifest needs what libraries hide: where each entry's packed bytes begin, and the promise that
//! an entry whose packed length equals its size is stored as it is. Times are fixed at 1980, names are UTF-8.

use crate::digest::{BUFFER, Hashing};
use everup_core::release::Digest;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const UTF8_NAMES: u16 = 1 << 11;
/// 1 January 1980, the first day that a zip knows.
const DATE: u16 = 0x21;
const ZIP64: u32 = u32::MAX;
/// By a Unix machine: the upper half of the external attributes is the mode.
const MADE_BY: u16 = 3 << 8 | 45;

/// Where an entry went, and what was seen of it on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) size: u64,
    pub(crate) sha256: Digest,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Bytes that can be read more than once.
pub(crate) trait Reread {
    /// Reads them from their beginning.
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>>;
}

struct Listed {
    name: String,
    mode: u32,
    method: u16,
    crc: u32,
    header: u64,
    packed: Packed,
}

/// A zip that is being written.
pub(crate) struct ZipFile {
    out: BufWriter<File>,
    at: u64,
    listed: Vec<Listed>,
}

impl ZipFile {
    pub(crate) fn new(file: File) -> Self {
        Self { out: BufWriter::with_capacity(BUFFER, file), at: 0, listed: Vec::new() }
    }

    /// Adds an entry of `size` bytes. Large ones are read a second time when packing made them no smaller. `None` if
    /// there are not `size` bytes, or the two readings differ.
    pub(crate) fn add(
        &mut self,
        name: String,
        mode: u32,
        size: u64,
        bytes: &mut impl Reread,
    ) -> io::Result<Option<Packed>> {
        let header = self.at;
        let offset = header + header_length(&name, size);
        let (body, small) = if size <= SMALL {
            let (body, packed) = small_body(&mut *bytes.open()?)?;
            (Some(body), Some(packed))
        } else {
            (self.large_body(offset, bytes)?, None)
        };
        let Some(body) = body.filter(|body| body.size == size) else { return Ok(None) };
        let packed = Packed { size, sha256: body.sha256, offset, length: body.length };
        let entry = Listed { name, mode, method: body.method, crc: body.crc, header, packed: packed.clone() };
        if small.is_none() {
            self.out.seek(SeekFrom::Start(header))?;
        }
        self.out.write_all(&local_header(&entry))?;
        self.at = offset + body.length;
        match small {
            Some(bytes) => self.out.write_all(&bytes)?,
            None => drop(self.out.seek(SeekFrom::Start(self.at))?),
        }
        self.listed.push(entry);
        Ok(Some(packed))
    }

    /// Packed straight into the archive, behind the room for its header.
    fn large_body(&mut self, offset: u64, bytes: &mut impl Reread) -> io::Result<Option<Body>> {
        self.out.seek(SeekFrom::Start(offset))?;
        let packed = write_body(&mut *bytes.open()?, &mut self.out, DEFLATED)?;
        if packed.length < packed.size {
            return Ok(Some(packed));
        }
        self.out.seek(SeekFrom::Start(offset))?;
        let stored = write_body(&mut *bytes.open()?, &mut self.out, STORED)?;
        Ok((stored.sha256 == packed.sha256).then_some(stored))
    }

    /// Writes the directory; the file ends where the zip ends.
    pub(crate) fn finish(mut self) -> io::Result<File> {
        let mut directory = Vec::new();
        for entry in &self.listed {
            central_header(&mut directory, entry);
        }
        end_of_directory(&mut directory, self.listed.len() as u64, self.at);
        self.out.write_all(&directory)?;
        let end = self.at + directory.len() as u64;
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        // A first, longer attempt at packing the last entry may reach beyond the end.
        file.set_len(end)?;
        Ok(file)
    }
}

/// An entry of at most so many bytes is packed in memory.
const SMALL: u64 = 256 << 10;

fn small_body(from: &mut dyn Read) -> io::Result<(Body, Vec<u8>)> {
    let mut raw = Vec::new();
    let stored = write_body(&mut from.take(SMALL + 1), &mut raw, STORED)?;
    if raw.is_empty() {
        return Ok((stored, raw));
    }
    let mut packed = Vec::new();
    let body = write_body(&mut raw.as_slice(), &mut packed, DEFLATED)?;
    Ok(if body.length < body.size { (body, packed) } else { (stored, raw) })
}

fn write_body(from: &mut dyn Read, to: &mut impl Write, method: u16) -> io::Result<Body> {
    let mut from = Hashing::new(from);
    let mut out = Counting { inner: to, count: 0 };
    let crc = if method == STORED {
        pump(&mut from, &mut out)?
    } else {
        let mut packer = DeflateEncoder::new(&mut out, Compression::default());
        let crc = pump(&mut from, &mut packer)?;
        packer.finish()?;
        crc
    };
    let (length, size) = (out.count, from.count());
    Ok(Body { method, crc, size, length, sha256: from.finish() })
}

struct Body {
    method: u16,
    crc: u32,
    size: u64,
    length: u64,
    sha256: Digest,
}

struct Counting<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.count += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn pump(from: &mut impl Read, to: &mut impl Write) -> io::Result<u32> {
    let mut crc = Crc::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(crc.sum()),
            n => {
                crc.update(&buffer[..n]);
                to.write_all(&buffer[..n])?;
            }
        }
    }
}

/// Decided by what is known before the entry is packed, since the header stands before it.
const fn is_large(size: u64) -> bool {
    // Deflate adds at most a few bytes per 16 KiB to what cannot be packed; such an entry is stored anyway.
    size >= ZIP64 as u64
}

fn header_length(name: &str, size: u64) -> u64 {
    30 + name.len() as u64 + if is_large(size) { 20 } else { 0 }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(ZIP64)
}

fn name_length(name: &str) -> u16 {
    u16::try_from(name.len()).expect("a judged name has at most 2,048 bytes")
}

fn put(out: &mut Vec<u8>, shorts: &[u16]) {
    out.extend(shorts.iter().flat_map(|s| s.to_le_bytes()));
}

fn put32(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|w| w.to_le_bytes()));
}

fn put64(out: &mut Vec<u8>, longs: &[u64]) {
    out.extend(longs.iter().flat_map(|l| l.to_le_bytes()));
}

fn local_header(entry: &Listed) -> Vec<u8> {
    let large = is_large(entry.packed.size);
    let mut out = Vec::with_capacity(64);
    put32(&mut out, &[0x0403_4b50]);
    put(&mut out, &[if large { 45 } else { 20 }, UTF8_NAMES, entry.method, 0, DATE]);
    let sizes = if large { [ZIP64; 2] } else { [narrow(entry.packed.length), narrow(entry.packed.size)] };
    put32(&mut out, &[entry.crc, sizes[0], sizes[1]]);
    put(&mut out, &[name_length(&entry.name), if large { 20 } else { 0 }]);
    out.extend(entry.name.as_bytes());
    if large {
        put(&mut out, &[1, 16]);
        put64(&mut out, &[entry.packed.size, entry.packed.length]);
    }
    out
}

fn central_header(out: &mut Vec<u8>, entry: &Listed) {
    let wide: Vec<u64> = [entry.packed.size, entry.packed.length, entry.header]
        .into_iter()
        .filter(|value| *value >= u64::from(ZIP64))
        .collect();
    let extra = if wide.is_empty() { 0 } else { 4 + 8 * wide.len() as u16 };
    put32(out, &[0x0201_4b50]);
    put(out, &[MADE_BY, if extra > 0 { 45 } else { 20 }, UTF8_NAMES, entry.method, 0, DATE]);
    put32(out, &[entry.crc, narrow(entry.packed.length), narrow(entry.packed.size)]);
    put(out, &[name_length(&entry.name), extra, 0, 0, 0]);
    put32(out, &[entry.mode << 16, narrow(entry.header)]);
    out.extend(entry.name.as_bytes());
    if extra > 0 {
        put(out, &[1, extra - 4]);
        put64(out, &wide);
    }
}

fn end_of_directory(out: &mut Vec<u8>, entries: u64, start: u64) {
    let size = out.len() as u64;
    let count = u16::try_from(entries).unwrap_or(u16::MAX);
    if count == u16::MAX || start.max(size) >= u64::from(ZIP64) {
        put32(out, &[0x0606_4b50]);
        put64(out, &[44]);
        put(out, &[MADE_BY, 45]);
        put32(out, &[0, 0]);
        put64(out, &[entries, entries, size, start]);
        put32(out, &[0x0706_4b50, 0]);
        put64(out, &[start + size]);
        put32(out, &[1]);
    }
    put32(out, &[0x0605_4b50]);
    put(out, &[0, 0, count, count]);
    put32(out, &[narrow(size), narrow(start)]);
    put(out, &[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each further reading finds.
    struct Bodies(Vec<Vec<u8>>);

    impl Reread for Bodies {
        fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
            Ok(Box::new(io::Cursor::new(self.0.remove(0))))
        }
    }

    /// Bytes that cannot be packed.
    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    fn written(entries: &[(&str, Vec<u8>)]) -> (File, Vec<Packed>) {
        let mut zip = ZipFile::new(tempfile::tempfile().unwrap());
        let packed = entries
            .iter()
            .map(|(name, body)| {
                let mut bytes = Bodies(vec![body.clone(); 2]);
                zip.add((*name).to_owned(), 0o100_644, body.len() as u64, &mut bytes).unwrap().unwrap()
            })
            .collect();
        (zip.finish().unwrap(), packed)
    }

    #[test]
    fn another_reader_opens_it() {
        let noise = noise(600_000, 1);
        let entries = [
            ("a/text", b"again ".repeat(1_000)),
            ("empty", vec![]),
            ("large noise", noise.clone()),
            ("large text", b"again ".repeat(100_000)),
            ("noise", noise[..99].to_vec()),
            ("z", b"last".to_vec()),
        ];
        let (file, packed) = written(&entries);
        let mut archive = zip::ZipArchive::new(file).unwrap();
        assert_eq!(archive.len(), entries.len());
        for (i, (name, body)) in entries.iter().enumerate() {
            let mut entry = archive.by_index(i).unwrap();
            let mut read = Vec::new();
            entry.read_to_end(&mut read).unwrap();
            assert_eq!((&*entry.name().unwrap(), &read), (*name, body));
            assert_eq!(entry.unix_mode(), Some(0o100_644));
            assert_eq!(entry.data_start(), Some(packed[i].offset));
            assert_eq!(entry.compressed_size(), packed[i].length);
        }
        let smaller: Vec<bool> = packed.iter().map(|p| p.length < p.size).collect();
        assert_eq!(smaller, [true, false, false, true, false, false]);
        archive.validate_header_consistency().unwrap();
    }

    #[test]
    fn more_entries_than_a_classic_directory_counts() {
        let names: Vec<String> = (0..66_000).map(|n| format!("f{n}")).collect();
        let entries: Vec<_> = names.iter().map(|n| (n.as_str(), vec![])).collect();
        assert_eq!(zip::ZipArchive::new(written(&entries).0).unwrap().len(), 66_000);
    }

    #[test]
    fn a_file_that_changes_between_two_readings_is_noticed() {
        let mut zip = ZipFile::new(tempfile::tempfile().unwrap());
        let mut bytes = Bodies(vec![noise(300_000, 1), noise(300_000, 2)]);
        assert_eq!(zip.add("x".into(), 0o644, 300_000, &mut bytes).unwrap(), None);
        let mut bytes = Bodies(vec![noise(301, 1)]);
        assert_eq!(zip.add("y".into(), 0o644, 300, &mut bytes).unwrap(), None);
    }
}
