//! Releases on this machine's disk, shared by all of its agents.
//!
//! A release is a folder that appears by one rename, complete and verified. What belongs to it lies beside, in
//! `.beside/`: its manifest, its configuration, its locks, and what is not complete yet. Laws:
//!
//! - One agent makes a release; the others that want it wait for its lock and find it complete.
//! - An agent that made or found a release pins it, until it prunes it: no other agent removes it meanwhile.
//! - Nothing that a process has open is removed.
//! - Work on the disk is done on threads, and goes on to its end, or cleans up, when a future is dropped.

mod lock;
mod make;
mod places;
mod prune;
mod stream;
mod usage;

use everup_core::ids::Environment;
use everup_core::instance::Problem;
use everup_core::release::{Command, Fetched, Manifest, ReleaseRef};
use everup_core::seams::Stage;
use everup_release::shelf::Shelf;
use everup_release::{catalog, config, verify};
use lock::Lock;
use places::Places;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The releases in one folder, fetched from one store.
#[derive(Debug)]
pub struct Releases<S> {
    shelf: S,
    folder: PathBuf,
    environment: Environment,
    pins: RefCell<BTreeMap<ReleaseRef, Lock>>,
}

/// The folder of `release` below `releases`; there only if it is complete.
#[must_use]
pub fn folder(releases: &Path, release: &ReleaseRef) -> PathBuf {
    Places::of(releases, release).folder()
}

/// How `release` itself says that it is started, if it is here and says so.
#[must_use]
pub fn start(releases: &Path, release: &ReleaseRef) -> Option<Command> {
    let manifest = fs::read(Places::of(releases, release).manifest()).ok()?;
    catalog::parse(release, &manifest).ok()?.start
}

/// The folder of the configuration that came with `release`, if one did (`EVERUP_CONFIG`).
#[must_use]
pub fn configuration(releases: &Path, release: &ReleaseRef) -> Option<PathBuf> {
    Some(Places::of(releases, release).config()).filter(|folder| folder.is_dir())
}

impl<S: Shelf> Releases<S> {
    /// Opens the releases in `folder`, makes it if it is not there, and removes what a crash left half-done. Blocks
    /// for as long as that takes.
    ///
    /// # Errors
    /// When `folder` cannot be made or written to.
    pub fn open(folder: &Path, environment: Environment, shelf: S) -> io::Result<Self> {
        fs::create_dir_all(folder.join(places::BESIDE))?;
        let folder = folder.canonicalize()?;
        prune::remove_leftovers(&folder);
        Ok(Self { shelf, folder, environment, pins: RefCell::default() })
    }

    fn places(&self, release: &ReleaseRef) -> Places {
        Places::of(&self.folder, release)
    }

    /// From now on no other agent removes `release`.
    async fn pin(&self, release: &ReleaseRef) -> Result<(), Problem> {
        if self.pins.borrow().contains_key(release) {
            return Ok(());
        }
        let path = self.places(release).pin();
        let pin = blocking(move || lock::shared(&path)).await?;
        self.pins.borrow_mut().insert(release.clone(), pin);
        Ok(())
    }

    /// For a release that is here already.
    async fn nothing_fetched(&self, release: &ReleaseRef) -> Result<Fetched, Problem> {
        let (manifest, _) = self.read_manifest(release).await?;
        Ok(Fetched { bytes: 0, of: weight(&manifest) })
    }

    /// The manifest, from beside the release or from the store.
    async fn read_manifest(&self, release: &ReleaseRef) -> Result<(Manifest, Vec<u8>), Problem> {
        let (kept, pinned) = (self.places(release).manifest(), release.clone());
        let parse = move || {
            let bytes = fs::read(kept)?;
            Ok(catalog::parse(&pinned, &bytes).ok().map(|manifest| (manifest, bytes)))
        };
        if let Ok(Some(kept)) = blocking(parse).await {
            return Ok(kept);
        }
        catalog::read(&self.shelf, release).await.map_err(|error| problem(&error))
    }
}

impl<S: Shelf> Stage for Releases<S> {
    async fn manifest(&self, release: &ReleaseRef) -> Result<Manifest, Problem> {
        Ok(self.read_manifest(release).await?.0)
    }

    async fn ensure(&self, release: &ReleaseRef) -> Result<Fetched, Problem> {
        self.pin(release).await?;
        if self.places(release).is_complete() {
            return self.nothing_fetched(release).await;
        }
        self.make(release).await
    }

    async fn verify(&self, release: &ReleaseRef) -> Result<(), Problem> {
        self.pin(release).await?;
        let places = self.places(release);
        if !places.is_complete() {
            return Err(Problem::new("stage", format!("release {release} is not complete on this machine")));
        }
        let (manifest, _) = self.read_manifest(release).await?;
        let environment = self.environment.clone();
        blocking(move || {
            let found = look(&manifest, &environment, &places);
            if found.is_err() {
                // Made anew by the next `ensure`; until then it counts as not there.
                fs::write(places.damaged(), "")?;
            }
            Ok(found)
        })
        .await?
    }

    async fn prune(&self, keep: &[ReleaseRef]) {
        self.pins.borrow_mut().retain(|release, _| keep.contains(release));
        let folder = self.folder.clone();
        let keep = keep.iter().map(everup_release::layout::folder_name).collect();
        // What could not be removed now is looked at again by the next pruning.
        let _ = blocking(move || Ok(prune::prune(&folder, &keep))).await;
    }
}

/// Bytes of a release, unpacked.
fn weight(manifest: &Manifest) -> u64 {
    manifest.files.iter().map(|file| file.size).sum()
}

fn look(manifest: &Manifest, environment: &Environment, places: &Places) -> Result<(), Problem> {
    verify::verify(manifest, &places.folder()).map_err(|error| problem(&error))?;
    match manifest.configurations.get(environment) {
        Some(part) => config::verify(part, &places.config_zip(), &places.config()).map_err(|e| problem(&e)),
        None => Ok(()),
    }
}

/// Does `work` on a thread, to its end.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| problem(&error)),
        Err(error) => Err(problem(&error)),
    }
}

/// The error with all that it came from.
fn problem(error: &dyn Error) -> Problem {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    Problem::new("stage", reason)
}
