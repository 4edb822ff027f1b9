//! Makes a release that is not there: manifest, configuration, archive, in this order, in a folder of its own, from which
//! each is renamed to its place. What another has put there first is looked at, and counts if it is whole.

use super::places::Places;
use super::stream::stream;
use super::turn::Turn;
use super::usage::in_use;
use super::{Releases, blocking, problem, weight};
use crate::held::HeldFolder;
use everup_core::instance::Problem;
use everup_core::release::{Fetched, Manifest, Part, ReleaseRef};
use everup_release::layout::part_key;
use everup_release::shelf::Shelf;
use everup_release::{config, disk, unpack, verify};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One agent's making of one release. Shared with the threads that work on it: they may outlive the future that began it.
struct Making {
    places: Places,
    part: HeldFolder,
    turn: Option<Turn>,
}

impl Making {
    fn at(&self, name: &str) -> PathBuf {
        self.part.path().join(name)
    }

    fn shown<R: Read>(&self, from: R) -> impl Read {
        Shown { from, turn: self.turn.as_ref() }
    }
}

impl<S: Shelf> Releases<S> {
    pub(super) async fn make(&self, release: &ReleaseRef, places: Places) -> Result<Fetched, Problem> {
        let path = places.turn();
        let turn = blocking(move || Turn::take(&path)).await?;
        if places.is_complete() {
            return self.nothing_fetched(release).await;
        }
        let (manifest, bytes) = self.read_manifest(release).await?;
        let begin = move || {
            write_whole(&places.manifest(), &bytes)?;
            let part = places.part()?;
            Ok(Arc::new(Making { places, part, turn }))
        };
        let making = blocking(begin).await?;
        let mut fetched = Fetched { bytes: 0, of: weight(&manifest) };
        if let Some(part) = manifest.configurations.get(&self.environment) {
            fetched.bytes += self.make_config(release, part, Arc::clone(&making)).await?;
        }
        fetched.bytes += self.make_folder(release, manifest, making).await?;
        Ok(fetched)
    }

    async fn make_config(
        &self,
        release: &ReleaseRef,
        part: &Part,
        making: Arc<Making>,
    ) -> Result<u64, Problem> {
        let (key, wanted) = (part_key(&release.version, part), part.clone());
        let work = move |chunks| {
            let (zip, new) = (making.at("config.zip"), making.at("config"));
            let kept = || {
                let mut file = File::create(&zip)?;
                io::copy(&mut making.shown(chunks), &mut file)?;
                file.sync_all()
            };
            kept().map_err(|error| problem(&error))?;
            config::into_place(&wanted, &zip, &making.at("unpacking"), &new)
                .map_err(|error| problem(&error))?;
            let (places, there) = (&making.places, making.places.config_zip());
            fs::rename(&zip, &there).map_err(|error| problem(&error))?;
            let is_whole = || config::verify(&wanted, &there, &places.config()).is_ok();
            settle(&new, &places.config(), places, is_whole).map_err(|error| problem(&error))
        };
        let (done, bytes) = stream(&self.shelf, &key, part.size, work).await.map_err(|e| problem(&e))?;
        done.map(|()| bytes)
    }

    async fn make_folder(
        &self,
        release: &ReleaseRef,
        manifest: Manifest,
        making: Arc<Making>,
    ) -> Result<u64, Problem> {
        let key = part_key(&release.version, &manifest.archive);
        let size = manifest.archive.size;
        let work = move |chunks| {
            let new = making.at("release");
            unpack::into_place(&manifest, making.shown(chunks), &making.at("unpacking"), &new)
                .map_err(|error| problem(&error))?;
            let (places, folder) = (&making.places, making.places.folder());
            let is_whole = || verify::verify(&manifest, &folder).is_ok();
            settle(&new, &folder, places, is_whole).map_err(|error| problem(&error))?;
            match fs::remove_file(places.damaged()) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(problem(&error)),
                _ => Ok(()),
            }
        };
        let (done, bytes) = stream(&self.shelf, &key, size, work).await.map_err(|e| problem(&e))?;
        done.map(|()| bytes)
    }
}

/// What is read, shown to those who wait for their turn.
struct Shown<'a, R> {
    from: R,
    turn: Option<&'a Turn>,
}

impl<R: Read> Read for Shown<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        if let Some(turn) = self.turn {
            turn.sign();
        }
        Ok(read)
    }
}

/// Puts the folder `new`, which is synced, to `place`, durably. One that is there stays if it `is_whole`, and goes if it is
/// not: at every moment there is one.
fn settle(new: &Path, place: &Path, places: &Places, is_whole: impl Fn() -> bool) -> io::Result<()> {
    let above = place.parent().unwrap_or(place);
    match fs::rename(new, place) {
        // (EEXIST on XFS.)
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {}
        done => return done.and_then(|()| disk::sync_folder(above)),
    }
    // Whoever was first may have been stopped before its rename was synced.
    disk::sync_folder(above)?;
    if is_whole() {
        return Ok(());
    }
    exchange(new, place, places)?;
    disk::sync_folder(above)
}

/// Puts `new` in the place of what is at `place`, and removes that; an app that runs from it keeps it until a later pruning.
fn exchange(new: &Path, place: &Path, places: &Places) -> io::Result<()> {
    let aside = places.part()?;
    let old = aside.path().join("old");
    match renameat_with(CWD, new, CWD, place, RenameFlags::EXCHANGE) {
        Ok(()) => fs::rename(new, &old)?,
        // File systems that cannot exchange: for a moment there is none.
        Err(_) => {
            fs::rename(place, &old)?;
            fs::rename(new, place)?;
        }
    }
    if !in_use(std::slice::from_ref(&old)).is_empty() {
        aside.leave();
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
