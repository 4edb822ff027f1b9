//! Releases on this machine's disk, shared by all of its agents.
//!
//! A release is a folder that appears by one rename, complete and verified. What belongs to it lies beside, in
//! `.beside/`: its manifest, its configuration, its locks, and what is not complete yet. Laws:
//!
//! - Nobody keeps anybody out, wherever he is stopped: who makes a release does it in a folder of his own, and one that
//!   another was first to put in place counts as well.
//! - An agent that made or found a release pins it, until it prunes it: no other agent removes it meanwhile.
//! - Nothing that a process has open is removed.
//! - Work on the disk is done on threads, and goes on to its end, or cleans up, when a future is dropped.

mod lock;
mod make;
mod pinned;
mod places;
mod prune;
mod stream;
mod turn;
mod usage;

pub use pinned::Pinned;
pub use turn::PATIENCE;

use everup_core::ids::Environment;
use everup_core::instance::Problem;
use everup_core::release::{Fetched, Manifest, ReleaseRef};
use everup_core::seams::Stage;
use everup_release::shelf::Shelf;
use everup_release::{catalog, config, verify};
use pinned::Pin;
use places::Places;
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
    pinned: Pinned,
}

/// The folder of `release` below `releases`; there only if it is complete.
#[must_use]
pub fn folder(releases: &Path, release: &ReleaseRef) -> PathBuf {
    places::any(releases, release).folder()
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
        Ok(Self { pinned: Pinned::none(&folder), shelf, folder, environment })
    }

    /// What this agent counts on, and where it is.
    #[must_use]
    pub fn pinned(&self) -> Pinned {
        self.pinned.clone()
    }

    /// From now on no other agent removes `release` from the place that is returned.
    async fn pin(&self, release: &ReleaseRef) -> Result<Places, Problem> {
        if !self.pinned.has(release) {
            let (folder, wanted) = (self.folder.clone(), release.clone());
            let pin = blocking(move || Pin::put(&folder, &wanted)).await?;
            self.pinned.add(release, pin);
        }
        Ok(self.pinned.places(release))
    }

    /// For a release that is here already.
    async fn nothing_fetched(&self, release: &ReleaseRef) -> Result<Fetched, Problem> {
        let (manifest, _) = self.read_manifest(release).await?;
        Ok(Fetched { bytes: 0, of: weight(&manifest) })
    }

    /// The manifest, from beside the release or from the store.
    async fn read_manifest(&self, release: &ReleaseRef) -> Result<(Manifest, Vec<u8>), Problem> {
        let (kept, pinned) = (self.pinned.places(release).manifest(), release.clone());
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
        let places = self.pin(release).await?;
        if places.is_complete() {
            return self.nothing_fetched(release).await;
        }
        self.make(release, places).await
    }

    async fn verify(&self, release: &ReleaseRef) -> Result<(), Problem> {
        let places = self.pin(release).await?;
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
        self.pinned.keep(keep);
        let folder = self.folder.clone();
        let keep = keep.iter().map(everup_release::layout::folder_name).collect();
        let pruning = move || {
            prune::prune(&folder, &keep);
            Ok(())
        };
        // What could not be removed now is looked at again by the next pruning.
        let _ = blocking(pruning).await;
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
