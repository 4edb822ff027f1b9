//! The folder store as a shelf of archives. An archive may take any time to be stored, for as long as some of it moves.

use super::{Folder, is_missing, object, write};
use everup_core::seams::StoreError;
use everup_release::disk;
use everup_release::shelf::Shelf;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// A disk that takes no piece of an archive for so long hangs.
pub const PIECE: Duration = Duration::from_secs(60);
/// How many bytes of it are on the disk before the next ones are written.
const PIECE_BYTES: u64 = 32 << 20;

impl Shelf for Folder {
    async fn put(&self, key: &str, from: &Path) -> Result<(), StoreError> {
        self.put_while_it_moves(key, from, PIECE).await
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

impl Folder {
    async fn put_while_it_moves(&self, key: &str, from: &Path, every: Duration) -> Result<(), StoreError> {
        let from = from.to_owned();
        let wanted = format!("store {key}");
        let (moved, moves) = watch::channel(());
        let work = self.unbounded(&self.writes, &wanted, key, move |root, path| {
            let mut source = File::open(&from)?;
            let size = source.metadata()?.len();
            disk::room(root, std::iter::once(size))
                .map_err(|error| io::Error::new(io::ErrorKind::StorageFull, error))?;
            let new = write::file_beside(root, |file| copy(&mut source, file, &moved))?;
            write::place(new, path)?;
            disk::sync_folder(path.parent().unwrap_or(root))
        });
        match while_it_moves(work, moves, every).await {
            Some(done) => done,
            None => {
                let happened = format!("the disk of {:?} took nothing for {} s", self.root, every.as_secs());
                Err(StoreError { wanted, happened })
            }
        }
    }
}

fn copy(from: &mut File, to: &mut File, moved: &watch::Sender<()>) -> io::Result<()> {
    while io::copy(&mut from.take(PIECE_BYTES), to)? > 0 {
        to.sync_data()?;
        moved.send_replace(());
    }
    Ok(())
}

/// What `work` gives, unless nothing moves for as long as `every`.
async fn while_it_moves<T>(
    work: impl Future<Output = T>,
    mut moves: watch::Receiver<()>,
    every: Duration,
) -> Option<T> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            moved = timeout(every, moves.changed()) => match moved {
                Ok(Ok(())) => {}
                // Who moves it has ended.
                Ok(Err(_)) => return timeout(every, work).await.ok(),
                Err(_) => return None,
            },
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::process::Command;
    use tokio::time::sleep;

    const EVERY: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn what_moves_may_take_any_time_and_what_hangs_may_not() {
        let (moved, moves) = watch::channel(());
        let slow = async {
            for _ in 0..10 {
                sleep(EVERY * 9 / 10).await;
                moved.send_replace(());
            }
        };
        assert_eq!(while_it_moves(slow, moves.clone(), EVERY).await, Some(()));
        assert_eq!(while_it_moves(sleep(EVERY * 2), moves, EVERY).await, None);
    }

    #[tokio::test]
    async fn an_archive_that_does_not_get_on_is_given_up() {
        let home = tempfile::tempdir().unwrap();
        let store = Folder::open(&home.path().join("store")).unwrap();
        let stuck = home.path().join("stuck");
        assert!(Command::new("mkfifo").arg(&stuck).status().unwrap().success());
        let given_up = store.put_while_it_moves("releases/1/a", &stuck, Duration::from_millis(50)).await;
        assert!(given_up.unwrap_err().to_string().contains("took nothing for"));
        // Its thread ends with the reader's end.
        drop(OpenOptions::new().write(true).open(&stuck).unwrap());
    }
}
