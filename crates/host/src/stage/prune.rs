//! Removes releases that nobody needs, and what a crash left.

use super::lock;
use super::places::{Places, names};
use super::usage::in_use;
use everup_release::unpack;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// Removes all releases but those named in `keep`, those that an agent has pinned, and those that a process has
/// open; says which went.
pub(super) fn prune(releases: &Path, keep: &BTreeSet<String>) -> Vec<String> {
    let old: Vec<Places> = names(releases)
        .iter()
        .filter(|name| !keep.contains(*name))
        .map(|name| Places::named(releases, name))
        .collect();
    let folders: Vec<_> = old.iter().map(Places::folder).collect();
    let used = if folders.is_empty() { BTreeSet::new() } else { in_use(&folders) };
    let mut gone = Vec::new();
    for places in old.iter().filter(|places| !used.contains(&places.folder())) {
        // A release that cannot be removed now is tried again by the next pruning.
        if let Ok(true) = remove(places) {
            gone.push(places.folder().display().to_string());
        }
    }
    gone
}

/// Removes one release; `false` if somebody began to use it meanwhile.
fn remove(places: &Places) -> io::Result<bool> {
    let (Some(_lock), Some(_pin)) = (lock::if_free(&places.lock())?, lock::if_free(&places.pin())?) else {
        return Ok(false);
    };
    let (folder, gone) = (places.folder(), places.gone());
    if folder.is_dir() {
        remove_if_unused(&gone)?;
        fs::rename(&folder, &gone)?;
        // Out of reach now; whoever came in before is seen.
        if !in_use(std::slice::from_ref(&gone)).is_empty() {
            fs::rename(&gone, &folder)?;
            return Ok(false);
        }
    }
    for folder in [places.part(), places.fresh(), places.config_part(), places.config()] {
        unpack::remove(&folder)?;
    }
    if !remove_if_unused(&gone)? {
        return Ok(false);
    }
    for file in [places.config_zip(), places.manifest(), places.damaged(), places.pin(), places.lock()] {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(true)
}

fn remove_if_unused(folder: &Path) -> io::Result<bool> {
    if folder.is_dir() && !in_use(std::slice::from_ref(&folder.to_owned())).is_empty() {
        return Ok(false);
    }
    unpack::remove(folder)?;
    Ok(true)
}

/// Removes what agents that died left half-done. Whatever stands in the way can wait for the next start.
pub(super) fn remove_leftovers(releases: &Path) {
    for name in names(releases) {
        let places = Places::named(releases, &name);
        let half_done = [places.part(), places.fresh(), places.config_part(), places.gone()];
        if !half_done.iter().any(|folder| folder.exists()) {
            continue;
        }
        if let Ok(Some(_lock)) = lock::if_free(&places.lock()) {
            for folder in half_done {
                let _ = remove_if_unused(&folder);
            }
        }
    }
}
