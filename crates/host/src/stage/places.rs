//! Where a release and what belongs to it lie: the release alone in `releases/`, all else in `releases/.beside/`.

use everup_core::release::ReleaseRef;
use everup_release::layout::folder_name;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of what is no release.
pub(super) const BESIDE: &str = ".beside";

/// The paths of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    releases: PathBuf,
    name: String,
}

impl Places {
    pub(super) fn of(releases: &Path, release: &ReleaseRef) -> Self {
        Self::named(releases, &folder_name(release))
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

    /// Held while the release is made or removed.
    pub(super) fn lock(&self) -> PathBuf {
        self.beside("lock")
    }

    /// Held, shared, by each agent that counts on the release.
    pub(super) fn pin(&self) -> PathBuf {
        self.beside("pin")
    }

    /// The release while it is being unpacked.
    pub(super) fn part(&self) -> PathBuf {
        self.beside("part")
    }

    /// The release, unpacked anew, before it takes the place of a damaged one.
    pub(super) fn fresh(&self) -> PathBuf {
        self.beside("fresh")
    }

    /// The release while it is being removed.
    pub(super) fn gone(&self) -> PathBuf {
        self.beside("gone")
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

    /// Its configuration while it is being unpacked.
    pub(super) fn config_part(&self) -> PathBuf {
        self.beside("config.part")
    }

    /// Its configuration, packed.
    pub(super) fn config_zip(&self) -> PathBuf {
        self.beside("config.zip")
    }

    pub(super) fn is_complete(&self) -> bool {
        self.folder().is_dir() && !self.damaged().exists()
    }
}

/// The names of all releases in `releases`, complete or not.
pub(super) fn names(releases: &Path) -> Vec<String> {
    let listed = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = listed(releases).map(|item| item.file_name());
    let beside = listed(&releases.join(BESIDE)).map(|item| item.file_name());
    let mut names: Vec<String> = folders
        .filter_map(|name| name.into_string().ok())
        .chain(beside.filter_map(|name| release_of(&name.into_string().ok()?)))
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The release that a file beside belongs to. Versions may hold dots, what we append does not begin otherwise.
fn release_of(name: &str) -> Option<String> {
    let ends = [".lock", ".pin", ".part", ".fresh", ".gone", ".json", ".damaged", ".config.zip", ".config"];
    let name = name.strip_suffix(".config.part").unwrap_or(name);
    ends.iter().find_map(|end| name.strip_suffix(end)).or(Some(name)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_leads_back_to_its_release() {
        let places = Places::named(Path::new("r"), "1.2.lock-0123456789ab");
        for path in [places.lock(), places.config_part(), places.config(), places.config_zip(), places.gone()]
        {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(release_of(name).as_deref(), Some("1.2.lock-0123456789ab"), "{name}");
        }
    }
}
