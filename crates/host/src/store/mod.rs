//! The store of one machine: a folder, with real compare-and-swap between processes, durable across power loss.
//!
//! An archive is a file; an object, which is compared and swapped, is a folder with a body and a name ([`object`]).
//! Readers see the old one or the new one, whole. Laws:
//!
//! - Nobody waits for another process: not for one that died, nor for one that is stopped, wherever it was.
//! - Nothing is done twice by dropping a future: what was begun on a thread is finished there.
//!
//! Renames of network file systems do not keep these promises; they are refused.

mod archives;
mod filesystem;
mod key;
mod object;
mod write;

pub use archives::PIECE;

use everup_core::seams::{Etag, Got, Store, StoreError, Wrote};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a call waits for the disk.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The most reads that are on threads at once, and the most writes; more wait. Apart, so that writes of a slow disk keep
/// no read from going on.
const AT_ONCE: usize = 8;

/// A folder as the store. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Folder {
    root: Arc<Path>,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

/// Why a folder cannot be the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It cannot be made, or not written to.
    #[error(
        "the store {path:?} is not writable ({happened}); make it writable for this user, or name another folder in everup.toml: [store] folder = \"…\""
    )]
    NotWritable {
        /// What could not be written.
        path: PathBuf,
        /// Why.
        happened: io::Error,
    },
    /// There was a store, and there is none.
    #[error("there is no store at {path:?}: {happened}")]
    Gone {
        /// Where it was.
        path: PathBuf,
        /// What is there now.
        happened: io::Error,
    },
    /// It is on a network file system.
    #[error(
        "the store {path:?} is on a network file system ({kind}), which cannot promise compare-and-swap; name a folder on a disk of this machine, or an S3 bucket, in everup.toml: [store]"
    )]
    Network {
        /// Where.
        path: PathBuf,
        /// Which.
        kind: String,
    },
}

impl Folder {
    /// Opens the store at `root`, and makes it if it is not there. Removes what writers that died left behind.
    ///
    /// # Errors
    /// When it is not writable, or on a network file system.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let not_writable = |path: &Path| {
            let path = path.to_owned();
            move |happened| OpenError::NotWritable { path, happened }
        };
        write::make_folders(root).map_err(not_writable(root))?;
        let root = root.canonicalize().map_err(not_writable(root))?;
        if let Some(kind) = filesystem::network(&root).map_err(not_writable(&root))? {
            return Err(OpenError::Network { path: root, kind });
        }
        let new = root.join(write::NEW);
        write::make_folders(&new).map_err(not_writable(&new))?;
        tempfile::tempfile_in(&new).map_err(not_writable(&new))?;
        write::remove_leftovers(&new);
        let threads = || Arc::new(Semaphore::new(AT_ONCE));
        Ok(Self { root: root.into(), reads: threads(), writes: threads() })
    }

    /// Opens the store at `root`, where there has to be one: making an empty one in its place would begin anew.
    ///
    /// # Errors
    /// As [`Self::open`], and when there is none.
    pub fn existing(root: &Path) -> Result<Self, OpenError> {
        is_there(root).map_err(|happened| OpenError::Gone { path: root.to_owned(), happened })?;
        Self::open(root)
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Does `work` with the file of `key` on a thread for blocking work, however long it takes.
    async fn unbounded<T: Send + 'static>(
        &self,
        threads: &Arc<Semaphore>,
        wanted: &str,
        key: &str,
        work: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let failed = |happened: String| StoreError { wanted: wanted.to_owned(), happened };
        let path = self.root.join(key::path(key).map_err(|e| failed(e.to_string()))?);
        let root = Arc::clone(&self.root);
        let permit = Arc::clone(threads).acquire_owned().await.map_err(|e| failed(e.to_string()))?;
        let task = tokio::task::spawn_blocking(move || {
            // Kept until the work is done, also when nobody waits for it any more.
            let _permit = permit;
            work(&root, &path).map_err(|error| explain(&error, &root))
        });
        match task.await {
            Ok(done) => done.map_err(failed),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// The same, waited for no longer than [`PATIENCE`].
    async fn bounded<T: Send + 'static>(
        &self,
        threads: &Arc<Semaphore>,
        wanted: String,
        key: &str,
        work: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(PATIENCE, self.unbounded(threads, &wanted, key, work)).await {
            Ok(done) => done,
            Err(_) => {
                let happened =
                    format!("no answer from the disk of {:?} within {} s", self.root, PATIENCE.as_secs());
                Err(StoreError { wanted, happened })
            }
        }
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        wanted: String,
        key: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let work = |root: &Path, path: &Path| {
            is_there(root)?;
            work(path)
        };
        self.bounded(&self.reads, wanted, key, work).await
    }

    async fn write<T: Send + 'static>(
        &self,
        wanted: String,
        key: &str,
        work: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.bounded(&self.writes, wanted, key, work).await
    }
}

impl Store for Folder {
    async fn get(&self, key: &str, unless: Option<&Etag>) -> Result<Got, StoreError> {
        let unless = unless.cloned();
        self.on_disk(format!("read {key}"), key, move |path| {
            if unless.is_some() && object::current(path)? == unless {
                return Ok(Got::Unchanged);
            }
            Ok(object::read(path)?.map_or(Got::Missing, |(etag, body)| Got::Found { etag, body }))
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let prefix = prefix.to_owned();
        self.on_disk(format!("list {prefix}"), &folder.clone(), move |path| {
            let mut keys = Vec::new();
            key::below(path, &folder, &mut keys)?;
            keys.retain(|key| key.starts_with(&prefix));
            keys.sort();
            Ok(keys)
        })
        .await
    }

    async fn create(&self, key: &str, body: Vec<u8>) -> Result<Wrote, StoreError> {
        self.write(format!("create {key}"), key, move |root, path| object::create(root, path, &body)).await
    }

    async fn replace(&self, key: &str, etag: &Etag, body: Vec<u8>) -> Result<Wrote, StoreError> {
        let etag = etag.clone();
        self.write(format!("replace {key}"), key, move |_, path| object::replace(path, &etag, &body)).await
    }
}

/// A store that was moved away, or whose disk is not mounted, is not an empty one.
fn is_there(root: &Path) -> io::Result<()> {
    if root.join(write::NEW).is_dir() {
        return Ok(());
    }
    let what = match fs::metadata(root) {
        Ok(meta) if meta.is_dir() => "what is there now is no store (is its disk mounted?)",
        Ok(_) => "what is there now is a file, not a folder",
        Err(_) => "it is not there any more",
    };
    Err(io::Error::other(what))
}

/// Whether there is no such file, nor such a folder.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What happened, and what to do about it.
fn explain(error: &io::Error, root: &Path) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("the disk of {root:?} is full ({error}); what was stored is untouched; free some space")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            format!("{root:?} is not writable ({error}); make it writable for the user that runs everup")
        }
        _ => format!("{error} (store {root:?})"),
    }
}
