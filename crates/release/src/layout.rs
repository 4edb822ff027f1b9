//! Where a release's parts are: keys in the store, names on an instance's disk.

use everup_core::ids::Version;
use everup_core::release::{Part, ReleaseRef};

/// Below this are all releases of a store.
pub const RELEASES: &str = "releases/";

const MANIFEST: &str = "/manifest.json";

/// Where the manifest of `version` is stored. It is written last: a version that has one is complete.
#[must_use]
pub fn manifest_key(version: &Version) -> String {
    format!("{RELEASES}{version}{MANIFEST}")
}

/// Where `part` of `version` is stored. The digest is in the key, so that two publishers of one version never
/// write over each other.
#[must_use]
pub fn part_key(version: &Version, part: &Part) -> String {
    format!("{RELEASES}{version}/{}.zip", part.sha256)
}

/// Below this are all parts of `version`.
#[must_use]
pub fn version_prefix(version: &Version) -> String {
    format!("{RELEASES}{version}/")
}

/// The version whose manifest is stored under `key`, if it is one.
#[must_use]
pub fn version_of(key: &str) -> Option<Version> {
    Version::new(key.strip_prefix(RELEASES)?.strip_suffix(MANIFEST)?).ok()
}

/// The name of the folder that holds `release` on an instance.
#[must_use]
pub fn folder_name(release: &ReleaseRef) -> String {
    format!("{}-{}", release.version, &release.manifest.as_str()[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_key_leads_back_to_its_version() {
        let version = Version::new("2026.1-rc+7").unwrap();
        assert_eq!(version_of(&manifest_key(&version)), Some(version));
        for other in ["releases/7/abc.zip", "local/head.json", "releases//manifest.json"] {
            assert_eq!(version_of(other), None, "{other}");
        }
    }
}
