//! The store as a command uses it: whoever waits for its answer is told so, and until when.

use super::{Opened, open};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Out;
use crate::progress::receipt::bytes;
use crate::wait;
use everup_core::seams::{Etag, Got, Store, StoreError, Wrote};
use everup_host::settings::{self, Settings};
use everup_host::store;
use everup_release::shelf::Shelf;
use std::path::Path;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A store whose answers a person waits for.
#[derive(Debug, Clone)]
pub struct Told {
    store: Opened,
    name: String,
    patience: Patience,
    out: Out,
}

/// How long a store is waited for.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// It answers within this, or the call has failed.
    answer: Duration,
    /// So long nothing of an archive may arrive.
    piece: Duration,
}

impl Told {
    /// Opens the store of `settings`; `out` is told of what takes longer than a moment.
    ///
    /// # Errors
    /// As [`open`], and when a folder's disk does not answer in time.
    pub async fn open(settings: &Settings, out: Out) -> Result<Self, Failure> {
        let (name, patience) = described(&settings.store);
        let what = format!("the store {name} to be opened");
        let settings = settings.clone();
        let opening = timeout(patience.answer, spawn_blocking(move || open(&settings)));
        let wanted = || format!("the store {name} could not be opened");
        match wait::bounded(&what, patience.answer, opening, |words| out.say(words)).await {
            Ok(Ok(opened)) => Ok(Self { store: opened?, name, patience, out }),
            Ok(Err(broken)) => Err(Failure::new(Exit::Internal, wanted(), broken)),
            Err(_) => {
                let happened = format!("its disk has not answered for {} s", patience.answer.as_secs());
                Err(Failure::new(Exit::Unreachable, wanted(), happened)
                    .hint("look at that disk, and at [store] in everup.toml"))
            }
        }
    }

    async fn answers<T>(&self, call: impl Future<Output = T>) -> T {
        let what = format!("the store {} to answer", self.name);
        wait::bounded(&what, self.patience.answer, call, |words| self.out.say(words)).await
    }
}

/// Its name, and how long it is waited for.
fn described(store: &settings::Store) -> (String, Patience) {
    match store {
        settings::Store::Folder(path) => {
            (path.display().to_string(), Patience { answer: store::PATIENCE, piece: store::PIECE })
        }
        settings::Store::S3 { url, .. } => (url.clone(), bucket()),
    }
}

#[cfg(feature = "s3")]
const fn bucket() -> Patience {
    Patience { answer: everup_cloud::s3::DEADLINE, piece: everup_cloud::s3::PART_DEADLINE }
}

#[cfg(not(feature = "s3"))]
const fn bucket() -> Patience {
    Patience { answer: store::PATIENCE, piece: store::PIECE }
}

impl Store for Told {
    async fn get(&self, key: &str, unless: Option<&Etag>) -> Result<Got, StoreError> {
        self.answers(self.store.get(key, unless)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.answers(self.store.list(prefix)).await
    }

    async fn create(&self, key: &str, body: Vec<u8>) -> Result<Wrote, StoreError> {
        self.answers(self.store.create(key, body)).await
    }

    async fn replace(&self, key: &str, etag: &Etag, body: Vec<u8>) -> Result<Wrote, StoreError> {
        self.answers(self.store.replace(key, etag, body)).await
    }
}

impl Shelf for Told {
    async fn put(&self, key: &str, from: &Path) -> Result<(), StoreError> {
        let size = from.metadata().map_or(0, |meta| meta.len());
        let said = || {
            self.out.say(format!(
                "waiting for the store {} to take {}: for as long as some of it arrives every {} s",
                self.name,
                bytes(size),
                self.patience.piece.as_secs()
            ));
        };
        wait::told(self.store.put(key, from), said).await
    }

    async fn read(&self, key: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.answers(self.store.read(key, offset, length)).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.answers(self.store.size(key)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.answers(self.store.delete(key)).await
    }
}
