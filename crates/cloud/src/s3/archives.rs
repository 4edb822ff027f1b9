//! The bucket as a shelf of archives: sent in parts, read in ranges.

use super::{S3, explain};
use bytes::Bytes;
use everup_core::seams::StoreError;
use everup_release::shelf::Shelf;
use object_store::path::Path as Key;
use object_store::{Error, MultipartUpload, ObjectStoreExt, PutPayload};
use std::path::Path;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// One part of an upload, and the largest object that is sent in one; S3 wants at least 5 MiB. Grows with the
/// archive: S3 takes at most 10,000 parts.
const PART: u64 = 8 << 20;
const MOST_PARTS: u64 = 9_000;
/// A part that takes longer is given up: half a megabit a second is no connection to publish over.
pub const PART_DEADLINE: Duration = Duration::from_secs(120);

impl Shelf for S3 {
    async fn put(&self, key: &str, from: &Path) -> Result<(), StoreError> {
        let failed = |happened| StoreError { wanted: format!("store {key}"), happened };
        let path = self.path(key).map_err(failed)?;
        self.credentials().await.map_err(failed)?;
        let mut file = File::open(from).await.map_err(|e| failed(format!("cannot read {from:?}: {e}")))?;
        let size = file.metadata().await.map_err(|e| failed(e.to_string()))?.len();
        if size <= PART {
            let body = part(&mut file, PART).await.map_err(failed)?;
            return in_time(self.bucket.put(&path, body.into())).await.map(drop).map_err(failed);
        }
        self.put_parts(&path, &mut file, PART.max(size.div_ceil(MOST_PARTS))).await.map_err(failed)
    }

    async fn read(&self, key: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let failed = |happened| StoreError { wanted: format!("read {key}"), happened };
        let path = self.path(key).map_err(failed)?;
        let Some(size) = self.size(key).await? else { return Ok(None) };
        let end = size.min(offset.saturating_add(length as u64));
        if offset >= end {
            return Ok(Some(Vec::new()));
        }
        let call = async { self.bucket.get_range(&path, offset..end).await };
        in_time(call).await.map(|bytes| Some(bytes.to_vec())).map_err(failed)
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let call = async { self.size_at(&self.path(key)?).await };
        self.bounded(format!("look for {key}"), call).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let call = async {
            match self.bucket.delete(&self.path(key)?).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(explain(error)),
            }
        };
        self.bounded(format!("remove {key}"), call).await
    }
}

impl S3 {
    async fn size_at(&self, path: &Key) -> Result<Option<u64>, String> {
        match self.bucket.head(path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(explain(error)),
        }
    }

    /// One part after the other: memory holds one.
    async fn put_parts(&self, path: &Key, file: &mut File, size: u64) -> Result<(), String> {
        let mut upload = in_time(self.bucket.put_multipart(path)).await?;
        let sent = send(upload.as_mut(), file, size).await;
        if sent.is_err() {
            // Parts that stay are the bucket's life-cycle rule's to remove; nothing is listed.
            let _ = in_time(upload.abort()).await;
        }
        sent
    }
}

async fn send(upload: &mut dyn MultipartUpload, file: &mut File, size: u64) -> Result<(), String> {
    loop {
        let body = part(file, size).await?;
        if body.is_empty() {
            return in_time(upload.complete()).await.map(drop);
        }
        in_time(upload.put_part(PutPayload::from(body))).await?;
    }
}

async fn part(file: &mut File, size: u64) -> Result<Bytes, String> {
    let mut body = Vec::new();
    file.take(size).read_to_end(&mut body).await.map_err(|e| format!("cannot read the archive: {e}"))?;
    Ok(body.into())
}

async fn in_time<T>(call: impl Future<Output = object_store::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(PART_DEADLINE, call).await {
        Ok(done) => done.map_err(explain),
        Err(_) => Err(format!("no answer within {} s", PART_DEADLINE.as_secs())),
    }
}
