//! The folder store as a shelf of archives.

use super::{Folder, is_missing, object, write};
use everup_core::seams::StoreError;
use everup_release::disk;
use everup_release::shelf::Shelf;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

impl Shelf for Folder {
    async fn put(&self, key: &str, from: &Path) -> Result<(), StoreError> {
        let from = from.to_owned();
        let wanted = format!("store {key}");
        self.unbounded(&self.writes, &wanted, key, move |root, path| {
            let mut source = File::open(&from)?;
            let size = source.metadata()?.len();
            disk::room(root, std::iter::once(size))
                .map_err(|error| io::Error::new(io::ErrorKind::StorageFull, error))?;
            let new = write::file_beside(root, |file| io::copy(&mut source, file).map(drop))?;
            write::place(new, path)?;
            disk::sync_folder(path.parent().unwrap_or(root))
        })
        .await
    }

    async fn read(&self, key: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.on_disk(format!("read {key}"), key, move |path| {
            let Some(file) = open(path)? else { return Ok(None) };
            let mut bytes = Vec::new();
            At { file, offset }.take(length as u64).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        })
        .await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.on_disk(format!("look for {key}"), key, |path| match fs::metadata(path) {
            Ok(meta) if meta.is_file() => Ok(Some(meta.len())),
            Ok(_) => Ok(None),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.write(format!("remove {key}"), key, object::remove).await
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

struct At {
    file: File,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}
