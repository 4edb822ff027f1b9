//! Where output goes: files whose size on disk is bounded.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Takes output, within bounds.
pub trait Sink: Send {
    /// Writes whole lines.
    ///
    /// # Errors
    /// When the file system refuses; the sink can be tried again with the next lines.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A file that is renamed to `.1` when it is full, `.1` to `.2`, and so on; what is older than `keep` goes.
///
/// At most `size` bytes in each of `keep` + 1 files. A file that was renamed is closed: whoever deletes it gets its
/// space back.
#[derive(Debug)]
pub struct Rotated {
    path: PathBuf,
    size: u64,
    keep: u32,
    open: Option<(File, u64)>,
}

impl Rotated {
    /// Output into `path`. Nothing is opened yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, size: u64, keep: u32) -> Self {
        Self { path: path.into(), size: size.max(1), keep, open: None }
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        if self.keep == 0 {
            return gone(fs::remove_file(&self.path));
        }
        for n in (1..self.keep).rev() {
            gone(fs::rename(older(&self.path, n), older(&self.path, n + 1)))?;
        }
        gone(fs::rename(&self.path, older(&self.path, 1)))
    }

    fn opened(&mut self) -> io::Result<&mut (File, u64)> {
        if self.open.is_none() {
            let file = append_to(&self.path)?;
            let length = file.metadata()?.len();
            self.open = Some((file, length));
        }
        Ok(self.open.as_mut().expect("opened above"))
    }

    /// Writes what fits into one file.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (size, length) = (self.size, self.opened()?.1);
        if length > 0 && length.saturating_add(bytes.len() as u64) > size {
            self.rotate()?;
        }
        let (file, length) = self.opened()?;
        let written = file.write_all(bytes);
        // After a failure it is not known how much was written.
        *length = file.metadata().map_or(*length + bytes.len() as u64, |meta| meta.len());
        written
    }
}

impl Sink for Rotated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let most = usize::try_from(self.size).unwrap_or(usize::MAX);
        bytes.chunks(most).try_for_each(|chunk| self.put(chunk))
    }
}

/// The beginning of an output in one file, its end in another: for what runs once, and may print any amount.
#[derive(Debug)]
pub struct Capped {
    path: PathBuf,
    room: u64,
    tail: Rotated,
}

impl Capped {
    /// The first `size` bytes into `path`, and at least the last `size` into `path` with `.tail` and `.tail.1`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, size: u64) -> Self {
        let path = path.into();
        let tail = Rotated::new(with_suffix(&path, ".tail"), size, 1);
        Self { path, room: size, tail }
    }
}

impl Sink for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let fits = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
        let (first, rest) = bytes.split_at(fits);
        if !first.is_empty() {
            append_to(&self.path)?.write_all(first)?;
            self.room -= fits as u64;
        }
        if rest.is_empty() { Ok(()) } else { self.tail.write(rest) }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn older(path: &Path, n: u32) -> PathBuf {
    with_suffix(path, &format!(".{n}"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What is not there needs not be moved.
fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(folder: &Path) -> u64 {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn a_rotated_log_keeps_the_newest_and_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        for run in 0..2 {
            // A second one goes on where the first stopped, as after a restart.
            let mut log = Rotated::new(&path, 1_000, 2);
            for n in 0..500 {
                log.write(format!("run {run} line {n}\n").as_bytes()).unwrap();
                assert!(sizes(folder.path()) <= 3_000);
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        assert!(fs::read_to_string(&path).unwrap().ends_with("run 1 line 499\n"));
        let newest: String =
            [".2", ".1", ""].map(|suffix| fs::read_to_string(with_suffix(&path, suffix)).unwrap()).concat();
        let lines: Vec<&str> = newest.lines().collect();
        assert!(
            lines.len() > 100
                && lines.iter().rev().zip((0..500).rev()).all(|(line, n)| line.ends_with(&format!(" {n}")))
        );
    }

    #[test]
    fn without_keep_there_is_one_file_and_a_lump_larger_than_it_fits_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Rotated::new(folder.path().join("app.log"), 100, 0);
        log.write(&[b'x'; 1_050]).unwrap();
        assert_eq!((fs::read_dir(folder.path()).unwrap().count(), sizes(folder.path())), (1, 50));
    }

    #[test]
    fn a_capped_output_keeps_its_beginning_and_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.log");
        let mut log = Capped::new(&path, 1_000);
        for n in 0..10_000 {
            log.write(format!("line {n}\n").as_bytes()).unwrap();
        }
        assert!(fs::read_to_string(&path).unwrap().starts_with("line 0\nline 1\n"));
        assert!(fs::read_to_string(with_suffix(&path, ".tail")).unwrap().ends_with("line 9999\n"));
        assert!(sizes(folder.path()) <= 3_000);
    }
}
