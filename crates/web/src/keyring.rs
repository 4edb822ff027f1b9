//! The keys that are valid now: `keys.json`, newest first, two at most. The newest signs, both verify.
//!
//! To change the key everywhere without a refused message: give every machine the file with the new key in second
//! place, then with both in their final order, then without the old one. The file is looked at before each use, so
//! no restart is needed. It has to be readable by its owner alone.

use crate::signing::Key;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// So many keys are valid at a time.
pub const MOST_KEYS: usize = 2;

/// The shortest secret, in bytes: that of the digest.
const SHORTEST: usize = 32;

/// The largest key file that is read.
const LARGEST_FILE: u64 = 64 << 10;

/// Why a key file is not used.
#[derive(Debug, thiserror::Error)]
pub enum BadKeys {
    /// It cannot be read or written.
    #[error("cannot use the key file {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// It is not in the form of a key file.
    #[error("the key file {} is not of the form {{\"keys\": [{{\"id\": …, \"secret\": hex}}]}}", .0.display())]
    Form(PathBuf, #[source] serde_json::Error),
    /// It is well-formed, and not to be used.
    #[error("the key file {} {}", .0.display(), .1)]
    Unfit(PathBuf, String),
}

/// The keys that are valid now.
#[derive(Debug)]
pub struct Keyring {
    path: Option<PathBuf>,
    now: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    keys: Arc<[Key]>,
    stamp: Option<Stamp>,
}

/// Tells one state of the file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    keys: Vec<Key>,
}

impl Keyring {
    /// A ring of these keys, newest first, without a file.
    #[must_use]
    pub fn fixed(keys: impl Into<Vec<Key>>) -> Self {
        let keys: Vec<Key> = keys.into();
        Self { path: None, now: Mutex::new(Loaded { keys: keys.into(), stamp: None }) }
    }

    /// The ring in the file `path`.
    ///
    /// # Errors
    /// When it cannot be read, others may read it, or it holds no fitting keys.
    pub fn open(path: &Path) -> Result<Self, BadKeys> {
        let (keys, stamp) = load(path)?;
        let now = Loaded { keys: keys.into(), stamp: Some(stamp) };
        Ok(Self { path: Some(path.to_owned()), now: Mutex::new(now) })
    }

    /// The ring in the file `path`; if there is none, it is made, with one random key. Of several processes that
    /// do so at once, one makes it and the others read it.
    ///
    /// # Errors
    /// As [`Keyring::open`], and when it cannot be written.
    pub fn open_or_create(path: &Path) -> Result<Self, BadKeys> {
        if !path.exists() {
            create(path, &[Key::random()]).map_err(|error| BadKeys::File(path.to_owned(), error))?;
        }
        Self::open(path)
    }

    /// All keys, newest first; never empty. A file that was changed into something unfit leaves the keys as they
    /// were.
    #[must_use]
    pub fn keys(&self) -> Arc<[Key]> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path {
            now.refresh(path);
        }
        now.keys.clone()
    }

    /// The key that signs.
    #[must_use]
    pub fn newest(&self) -> Key {
        self.keys()[0].clone()
    }

    /// The key `id`, if it is valid, else the newest one.
    #[must_use]
    pub fn key_or_newest(&self, id: Option<&str>) -> Key {
        let keys = self.keys();
        keys.iter().find(|key| Some(key.id.as_str()) == id).unwrap_or(&keys[0]).clone()
    }
}

impl Loaded {
    fn refresh(&mut self, path: &Path) {
        let stamp = fs::metadata(path).ok().map(|found| Stamp::of(&found));
        if stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        match load(path) {
            Ok((keys, stamp)) => {
                tracing::info!(newest = keys[0].id, keys = keys.len(), "the key file was changed");
                (self.keys, self.stamp) = (keys.into(), Some(stamp));
            }
            Err(error) => tracing::warn!(%error, "the key file was changed and is not used"),
        }
    }
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self { inode: found.ino(), size: found.len(), changed: (found.ctime(), found.ctime_nsec()) }
    }
}

fn load(path: &Path) -> Result<(Vec<Key>, Stamp), BadKeys> {
    let failed = |error| BadKeys::File(path.to_owned(), error);
    let unfit = |problem: &str| Err(BadKeys::Unfit(path.to_owned(), problem.to_owned()));
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if found.mode() & 0o077 != 0 {
        return unfit("may be read by others than its owner: chmod 600 it");
    }
    if found.len() > LARGEST_FILE {
        return unfit("is larger than 64 KiB");
    }
    let document: Document =
        serde_json::from_reader(file).map_err(|error| BadKeys::Form(path.to_owned(), error))?;
    match document.keys.as_slice() {
        [] => unfit("holds no key"),
        keys if keys.len() > MOST_KEYS => unfit("holds more than two keys: drop the oldest"),
        keys if keys.iter().any(|key| key.length() < SHORTEST) => {
            unfit("holds a secret of less than 32 bytes")
        }
        [a, b] if a.id == b.id => unfit("holds two keys of the same id"),
        _ => Ok((document.keys, Stamp::of(&found))),
    }
}

/// Makes the file, complete, unless another process was first.
fn create(path: &Path, keys: &[Key]) -> io::Result<()> {
    let document = serde_json::to_vec_pretty(&Document { keys: keys.to_vec() })?;
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&document)?;
    file.sync_all()?;
    let linked = fs::hard_link(&fresh, path);
    fs::remove_file(&fresh)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn document(keys: &[Key]) -> String {
        serde_json::to_string(&Document { keys: keys.to_vec() }).unwrap()
    }

    #[test]
    fn the_first_user_makes_the_file_and_the_second_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let first = Keyring::open_or_create(&path).unwrap();
        let second = Keyring::open_or_create(&path).unwrap();
        assert_eq!(first.newest(), second.newest());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_changed_file_counts_at_once_and_an_unfit_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let ring = Keyring::open_or_create(&path).unwrap();
        let (old, new) = (ring.newest(), Key::random());
        write(&path, &document(&[new.clone(), old.clone()]));
        assert_eq!(*ring.keys(), [new.clone(), old.clone()]);
        assert_eq!(ring.key_or_newest(Some(&old.id)), old);
        assert_eq!(ring.key_or_newest(Some("another")), new);
        write(&path, "{}");
        assert_eq!(ring.newest(), new);
        fs::remove_file(&path).unwrap();
        assert_eq!(ring.newest(), new);
    }

    #[test]
    fn an_unfit_file_is_refused_with_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let (a, b, c) = (Key::random(), Key::random(), Key::random());
        for (keys, problem) in [
            (vec![], "holds no key"),
            (vec![a.clone(), b, c], "more than two"),
            (vec![a.clone(), a.clone()], "the same id"),
            (vec![Key::new("short", [0; 16])], "less than 32 bytes"),
        ] {
            write(&path, &document(&keys));
            let error = Keyring::open(&path).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        write(&path, &document(&[a]));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Keyring::open(&path).unwrap_err().to_string().contains("chmod 600"));
    }
}
