//! Where archives are kept: a store that also takes objects too large for memory.
#![expect(async_fn_in_trait, reason = "used through generics only; an agent's engine lives on one thread")]

use everup_core::seams::{Etag, Got, Store, StoreError, Wrote};
use std::path::Path;

/// The most that one [`Shelf::read`] is asked for: what a transfer holds in memory at once.
pub const CHUNK: usize = 4 << 20;

/// A store of large objects, each of which never changes: its key holds the digest of its bytes.
pub trait Shelf: Store {
    /// Stores the file `from` under `key`, durably: whole or not at all. What was there is replaced.
    async fn put(&self, key: &str, from: &Path) -> Result<(), StoreError>;
    /// Up to `length` bytes of `key` from `offset` on, none only at its end; `None` if there is no such object.
    async fn read(&self, key: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError>;
    /// How many bytes `key` has; `None` if there is no such object.
    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError>;
    /// Removes `key`; done as well if it was not there.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
}

/// One of two stores, chosen by the settings.
#[derive(Debug, Clone)]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

macro_rules! either {
    ($self:ident, $method:ident ( $($argument:expr),* )) => {
        match $self {
            Self::Left(store) => store.$method($($argument),*).await,
            Self::Right(store) => store.$method($($argument),*).await,
        }
    };
}

impl<A: Store, B: Store> Store for Either<A, B> {
    async fn get(&self, key: &str, unless: Option<&Etag>) -> Result<Got, StoreError> {
        either!(self, get(key, unless))
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        either!(self, list(prefix))
    }
    async fn create(&self, key: &str, body: Vec<u8>) -> Result<Wrote, StoreError> {
        either!(self, create(key, body))
    }
    async fn replace(&self, key: &str, etag: &Etag, body: Vec<u8>) -> Result<Wrote, StoreError> {
        either!(self, replace(key, etag, body))
    }
}

impl<A: Shelf, B: Shelf> Shelf for Either<A, B> {
    async fn put(&self, key: &str, from: &Path) -> Result<(), StoreError> {
        either!(self, put(key, from))
    }
    async fn read(&self, key: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        either!(self, read(key, offset, length))
    }
    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        either!(self, size(key))
    }
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        either!(self, delete(key))
    }
}
