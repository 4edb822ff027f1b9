//! Where a release and what belongs to it lie: the release alone in `releases/`, all else in `releases/.beside/`.
//!
//! A release lies in its first place, `<version>-<digest>`, unless somebody is just removing that one; then in
//! `<version>-<digest>~2`.

use crate::held::{self, HeldFolder};
use everup_core::release::ReleaseRef;
use everup_release::layout::folder_name;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::Builder;

/// The folder of what is no release.
pub(super) const BESIDE: &str = ".beside";

/// How the name of a folder ends that is being filled or removed.
const PART: &str = ".part";

/// The paths of one release in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    releases: PathBuf,
    name: String,
}

impl Places {
    /// Place `number` of `release`; the first one is 1.
    pub(super) fn of(releases: &Path, release: &ReleaseRef, number: u32) -> Self {
        let name = folder_name(release);
        Self::named(releases, &if number == 1 { name } else { format!("{name}~{number}") })
    }

    pub(super) fn named(releases: &Path, name: &str) -> Self {
        Self { releases: releases.to_owned(), name: name.to_owned() }
    }

    /// The release, complete and verified, if it is there.
    pub(super) fn folder(&self) -> PathBuf {
        self.releases.join(&self.name)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.releases.join(BESIDE).join(format!("{}.{suffix}", self.name))
    }

    /// Held, shared, by each agent that counts on the release, and alone by who removes it.
    pub(super) fn pin(&self) -> PathBuf {
        self.beside("pin")
    }

    /// Held by the one whom the others let go first.
    pub(super) fn turn(&self) -> PathBuf {
        self.beside("turn")
    }

    /// Its manifest, as it is stored.
    pub(super) fn manifest(&self) -> PathBuf {
        self.beside("json")
    }

    /// There if the release was found to be damaged.
    pub(super) fn damaged(&self) -> PathBuf {
        self.beside("damaged")
    }

    /// Its configuration, unpacked.
    pub(super) fn config(&self) -> PathBuf {
        self.beside("config")
    }

    /// Its configuration, packed.
    pub(super) fn config_zip(&self) -> PathBuf {
        self.beside("config.zip")
    }

    /// A new folder of the caller alone, in which the release is made, or removed.
    pub(super) fn part(&self) -> io::Result<HeldFolder> {
        let prefix = format!("{}.", self.name);
        let mut names = Builder::new();
        names.prefix(&prefix).rand_bytes(12).suffix(PART);
        HeldFolder::make(&self.releases.join(BESIDE), &names)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.folder().is_dir() && !self.damaged().exists()
    }
}

/// A place where `release` is complete.
pub(super) fn complete(releases: &Path, release: &ReleaseRef) -> Option<Places> {
    let wanted = folder_name(release);
    let first = Places::named(releases, &wanted);
    if first.is_complete() {
        return Some(first);
    }
    let others = names(releases).into_iter().filter(|name| release_at(name) == wanted);
    others.map(|name| Places::named(releases, &name)).find(Places::is_complete)
}

/// A place where `release` is complete; the first one if there is none.
pub(super) fn any(releases: &Path, release: &ReleaseRef) -> Places {
    complete(releases, release).unwrap_or_else(|| Places::of(releases, release, 1))
}

/// The names of all places in `releases`, complete or not.
pub(super) fn names(releases: &Path) -> Vec<String> {
    let listed = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = listed(releases).map(|item| item.file_name());
    let beside = listed(&releases.join(BESIDE)).map(|item| item.file_name());
    let mut names: Vec<String> = folders
        .filter_map(|name| name.into_string().ok())
        .chain(beside.filter_map(|name| place_of(name.to_str()?).map(str::to_owned)))
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Removes what agents that died were filling or removing; `remove` says how.
pub(super) fn remove_parts(releases: &Path, remove: impl Fn(&Path) -> io::Result<()>) {
    held::remove_leftovers(&releases.join(BESIDE), |name| name.ends_with(PART), remove);
}

/// The name of the release that the place `name` is for.
pub(super) fn release_at(name: &str) -> &str {
    match name.rsplit_once('~') {
        Some((release, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => release,
        _ => name,
    }
}

/// The place that a file beside belongs to. Versions may hold dots, what we append does not begin otherwise.
fn place_of(name: &str) -> Option<&str> {
    let ends = [".pin", ".turn", ".json", ".damaged", ".config.zip", ".config"];
    ends.iter().find_map(|end| name.strip_suffix(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_leads_back_to_its_place_and_that_to_its_release() {
        let release = "1.2.pin-0123456789ab";
        for place in [release, "1.2.pin-0123456789ab~2", "1.2.pin-0123456789ab~13"] {
            let at = Places::named(Path::new("r"), place);
            for path in [at.pin(), at.turn(), at.manifest(), at.damaged(), at.config(), at.config_zip()] {
                let name = path.file_name().unwrap().to_str().unwrap();
                assert_eq!(place_of(name), Some(place), "{name}");
            }
            assert_eq!(release_at(place), release);
        }
    }

    #[test]
    fn a_part_is_no_place() {
        let here = tempfile::tempdir().unwrap();
        fs::create_dir(here.path().join(BESIDE)).unwrap();
        let part = Places::named(here.path(), "7-0123456789ab").part().unwrap();
        assert_eq!(names(here.path()), Vec::<String>::new());
        remove_parts(here.path(), |part| fs::remove_dir_all(part));
        assert!(part.path().exists(), "it is held");
        let path = part.path().to_owned();
        part.leave();
        remove_parts(here.path(), |part| fs::remove_dir_all(part));
        assert!(!path.exists());
    }
}
