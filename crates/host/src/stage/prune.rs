//! Removes releases that nobody needs, and what a crash left.

use super::lock;
use super::places::{self, Places, names, release_at};
use super::usage::in_use;
use everup_release::unpack;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// Removes all releases but those named in `keep`, those that an agent has pinned, and those that a process has
/// open; and what is left of agents that died.
pub(super) fn prune(releases: &Path, keep: &BTreeSet<String>) {
    remove_leftovers(releases);
    let old: Vec<Places> = names(releases)
        .iter()
        .filter(|name| !keep.contains(release_at(name)))
        .map(|name| Places::named(releases, name))
        .collect();
    let folders: Vec<_> = old.iter().map(Places::folder).collect();
    let used = if folders.is_empty() { BTreeSet::new() } else { in_use(&folders) };
    for places in old.iter().filter(|places| !used.contains(&places.folder())) {
        // A release that cannot be removed now is tried again by the next pruning.
        let _ = remove(places);
    }
}

/// Removes one release, unless somebody counts on it, or began to use it meanwhile. Whoever wants it while this goes on, or
/// while who does it is stopped, takes the next place.
fn remove(places: &Places) -> io::Result<()> {
    let Some(_pin) = lock::alone(&places.pin())? else { return Ok(()) };
    let part = places.part()?;
    let (folder, gone) = (places.folder(), part.path().join("release"));
    if folder.is_dir() {
        fs::rename(&folder, &gone)?;
        // Out of reach now; whoever came in before is seen.
        if !in_use(std::slice::from_ref(&gone)).is_empty() {
            return fs::rename(&gone, &folder);
        }
    }
    if places.config().is_dir() {
        fs::rename(places.config(), part.path().join("config"))?;
    }
    for file in [places.config_zip(), places.manifest(), places.damaged(), places.turn(), places.pin()] {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes what agents that died left half-done, unless a process works in it.
pub(super) fn remove_leftovers(releases: &Path) {
    places::remove_parts(releases, |part| {
        // What is in it: the part itself is open here, for its lock.
        let inside: Vec<_> = fs::read_dir(part)?.flatten().map(|item| item.path()).collect();
        if in_use(&inside).is_empty() { unpack::remove(part) } else { Ok(()) }
    });
}
