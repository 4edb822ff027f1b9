//! Moves an archive from the store's async side to a blocking reader: at most three chunks are in memory.

use everup_core::seams::StoreError;
use everup_release::shelf::{CHUNK, Shelf};
use std::io::{self, Read};
use tokio::sync::mpsc;
use tokio::task::JoinError;

const WAITING: usize = 2;

/// Why an archive did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("the store has no {0}; publish the release again")]
    Missing(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the thread that reads the archive ended: {0}")]
    Thread(#[from] JoinError),
}

/// Reads the object `key` of `size` bytes and hands it to `work` on a thread; answers with what `work` returns and
/// how many bytes came from the store. When this future is dropped, `work` sees an early end.
pub(super) async fn stream<T: Send + 'static>(
    shelf: &impl Shelf,
    key: &str,
    size: u64,
    work: impl FnOnce(Chunks) -> T + Send + 'static,
) -> Result<(T, u64), StreamError> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let worker = tokio::task::spawn_blocking(move || work(Chunks { receiver, chunk: Vec::new(), at: 0 }));
    let sent = feed(shelf, key, size, sender).await;
    let done = worker.await?;
    Ok((done, sent?))
}

async fn feed(
    shelf: &impl Shelf,
    key: &str,
    size: u64,
    sender: mpsc::Sender<Vec<u8>>,
) -> Result<u64, StreamError> {
    let mut at = 0;
    while at < size {
        let chunk = shelf.read(key, at, CHUNK).await?;
        let chunk = chunk.filter(|c| !c.is_empty()).ok_or_else(|| StreamError::Missing(key.to_owned()))?;
        at += chunk.len() as u64;
        if sender.send(chunk).await.is_err() {
            // The reader has seen enough: what it says counts.
            break;
        }
    }
    Ok(at)
}

/// The blocking side.
pub(super) struct Chunks {
    receiver: mpsc::Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            self.chunk = self.receiver.blocking_recv().unwrap_or_default();
            self.at = 0;
        }
        let n = buffer.len().min(self.chunk.len() - self.at);
        buffer[..n].copy_from_slice(&self.chunk[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
