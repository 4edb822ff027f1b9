//! Makes a release that is not there: manifest, configuration, archive, in this order, under its lock.

use super::lock::{self, Lock};
use super::places::Places;
use super::stream::stream;
use super::{Releases, blocking, problem, weight};
use crate::stage::usage;
use everup_core::instance::Problem;
use everup_core::release::{Fetched, Manifest, Part, ReleaseRef};
use everup_release::layout::part_key;
use everup_release::shelf::Shelf;
use everup_release::{config, disk, unpack};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

impl<S: Shelf> Releases<S> {
    pub(super) async fn make(&self, release: &ReleaseRef) -> Result<Fetched, Problem> {
        let places = self.places(release);
        let path = places.lock();
        // Shared with the threads that work under it: they may outlive this future.
        let lock = Arc::new(blocking(move || lock::alone(&path)).await?);
        if places.is_complete() {
            return self.nothing_fetched(release).await;
        }
        let (manifest, bytes) = self.read_manifest(release).await?;
        let kept = places.manifest();
        blocking(move || write_whole(&kept, &bytes)).await?;
        let mut fetched = Fetched { bytes: 0, of: weight(&manifest) };
        if let Some(part) = manifest.configurations.get(&self.environment) {
            fetched.bytes += self.make_config(release, part, &places, &lock).await?;
        }
        fetched.bytes += self.make_folder(release, manifest, places, lock).await?;
        Ok(fetched)
    }

    async fn make_config(
        &self,
        release: &ReleaseRef,
        part: &Part,
        places: &Places,
        lock: &Arc<Lock>,
    ) -> Result<u64, Problem> {
        let (places, lock, wanted) = (places.clone(), Arc::clone(lock), part.clone());
        let key = part_key(&release.version, part);
        let work = move |mut chunks| {
            let _lock = lock;
            let zip = places.config_zip();
            let mut file = File::create(&zip).map_err(|e| problem(&e))?;
            io::copy(&mut chunks, &mut file).and_then(|_| file.sync_all()).map_err(|e| problem(&e))?;
            config::into_place(&wanted, &zip, &places.config_part(), &places.config())
                .map_err(|e| problem(&e))
        };
        let (done, bytes) = stream(&self.shelf, &key, part.size, work).await.map_err(|e| problem(&e))?;
        done.map(|()| bytes)
    }

    async fn make_folder(
        &self,
        release: &ReleaseRef,
        manifest: Manifest,
        places: Places,
        lock: Arc<Lock>,
    ) -> Result<u64, Problem> {
        let key = part_key(&release.version, &manifest.archive);
        let size = manifest.archive.size;
        let work = move |chunks| {
            let _lock = lock;
            if !places.damaged().exists() {
                return unpack::into_place(&manifest, chunks, &places.part(), &places.folder())
                    .map_err(|error| problem(&error));
            }
            unpack::remove(&places.fresh()).map_err(|error| problem(&error))?;
            unpack::into_place(&manifest, chunks, &places.part(), &places.fresh())
                .map_err(|e| problem(&e))?;
            replace(&places).map_err(|error| problem(&error))
        };
        let (done, bytes) = stream(&self.shelf, &key, size, work).await.map_err(|e| problem(&e))?;
        done.map(|()| bytes)
    }
}

/// Puts the fresh folder in the place of the damaged one. A crash in between leaves no release, which is made again.
fn replace(places: &Places) -> io::Result<()> {
    let (folder, gone) = (places.folder(), places.gone());
    unpack::remove(&gone)?;
    if folder.exists() {
        fs::rename(&folder, &gone)?;
    }
    fs::rename(places.fresh(), &folder)?;
    disk::sync_folder(folder.parent().unwrap_or(&folder))?;
    fs::remove_file(places.damaged())?;
    // An app that runs from it keeps it until a later start finds it unused.
    if usage::in_use(std::slice::from_ref(&gone)).is_empty() {
        unpack::remove(&gone)?;
    }
    Ok(())
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let mut new = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    new.write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    Ok(())
}
