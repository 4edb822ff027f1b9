//! Which releases the store has, and their manifests, checked.

use crate::check::{self, BadManifest};
use crate::names::Limits;
use crate::{digest, layout};
use everup_core::ids::Version;
use everup_core::release::{Digest, Manifest, ReleaseRef};
use everup_core::seams::{Got, Store, StoreError};
use everup_core::words;

/// A release that the store has, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The release, pinned.
    pub release: ReleaseRef,
    /// Its manifest.
    pub manifest: Manifest,
}

/// Why a release was not found, or cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// There is no such version.
    #[error("there is no version {version} in the store{}", hint(near))]
    Unknown {
        /// What was asked for.
        version: Version,
        /// Versions that were perhaps meant, the likeliest first.
        near: Vec<Version>,
    },
    /// It was there a moment ago.
    #[error(
        "version {0} vanished from the store while it was read; if nobody removed it, look who writes there"
    )]
    Vanished(Version),
    /// Its manifest is not the one that was pinned.
    #[error(
        "the manifest of version {version} is not the one that was chosen: {wanted} was wanted, {found} is stored. \
         Somebody changed a published release"
    )]
    OtherBytes {
        /// Which version.
        version: Version,
        /// The digest that was pinned.
        wanted: Digest,
        /// The digest of what is stored.
        found: Digest,
    },
    /// Its manifest is refused.
    #[error("the manifest of version {version} is refused")]
    Manifest {
        /// Which version.
        version: Version,
        /// Why.
        #[source]
        source: BadManifest,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn hint(near: &[Version]) -> String {
    match near {
        [] => "; nothing is published yet".to_owned(),
        near => format!("; {}", known(near)),
    }
}

/// "the store has 1, 2 and 3", for whoever named another.
#[must_use]
pub fn known(near: &[Version]) -> String {
    format!("the store has {}", words::list(near, 5))
}

/// All versions of the store, in no order that matters. Cheap: no manifest is read.
///
/// # Errors
/// When the store fails.
pub async fn versions(store: &impl Store) -> Result<Vec<Version>, StoreError> {
    Ok(store.list(layout::RELEASES).await?.iter().filter_map(|key| layout::version_of(key)).collect())
}

/// All releases of the store, the newest first. One whose manifest is refused is left out.
///
/// # Errors
/// When the store fails.
pub async fn list(store: &impl Store) -> Result<Vec<Listed>, StoreError> {
    let mut listed = Vec::new();
    for version in versions(store).await? {
        match stored(store, &version).await {
            Ok(Some((release, manifest))) => listed.push(Listed { release, manifest }),
            Err(CatalogError::Store(error)) => return Err(error),
            // It was removed meanwhile, or is damaged: whoever asks for it by name is told.
            Ok(None) | Err(_) => {}
        }
    }
    listed.sort_by(|a, b| {
        (b.manifest.published, &b.release.version).cmp(&(a.manifest.published, &a.release.version))
    });
    Ok(listed)
}

/// The release of `version`, pinned, with its manifest.
///
/// # Errors
/// When there is none (the near ones are named), it is refused, or the store fails.
pub async fn find(store: &impl Store, version: &Version) -> Result<Listed, CatalogError> {
    match stored(store, version).await? {
        Some((release, manifest)) => Ok(Listed { release, manifest }),
        None => Err(unknown(store, version).await),
    }
}

/// The manifest of exactly `release`, as it is stored and as it reads.
///
/// # Errors
/// When the version is gone, its manifest is another than the pinned one, or the store fails.
pub async fn read(store: &impl Store, release: &ReleaseRef) -> Result<(Manifest, Vec<u8>), CatalogError> {
    match store.get(&layout::manifest_key(&release.version), None).await? {
        Got::Found { body, .. } => Ok((parse(release, &body)?, body)),
        Got::Missing | Got::Unchanged => Err(unknown(store, &release.version).await),
    }
}

/// Reads stored bytes as the manifest of exactly `release`.
///
/// # Errors
/// When they are other bytes, or the manifest is refused.
pub fn parse(release: &ReleaseRef, bytes: &[u8]) -> Result<Manifest, CatalogError> {
    let version = release.version.clone();
    let found = digest::of(bytes);
    if found != release.manifest {
        return Err(CatalogError::OtherBytes { version, wanted: release.manifest.clone(), found });
    }
    check::read(&version, bytes, Limits::default())
        .map_err(|source| CatalogError::Manifest { version, source })
}

pub(crate) async fn stored(
    store: &impl Store,
    version: &Version,
) -> Result<Option<(ReleaseRef, Manifest)>, CatalogError> {
    match store.get(&layout::manifest_key(version), None).await? {
        Got::Found { body, .. } => {
            let release = ReleaseRef { version: version.clone(), manifest: digest::of(&body) };
            let manifest = parse(&release, &body)?;
            Ok(Some((release, manifest)))
        }
        Got::Missing | Got::Unchanged => Ok(None),
    }
}

async fn unknown(store: &impl Store, version: &Version) -> CatalogError {
    match versions(store).await {
        Ok(known) => CatalogError::Unknown { near: near(version, known), version: version.clone() },
        Err(error) => error.into(),
    }
}

/// The most versions that a message names.
const NEAR: usize = 5;

/// Those of `known` that were perhaps meant by `wanted`, the likeliest first.
#[must_use]
pub fn near(wanted: &Version, mut known: Vec<Version>) -> Vec<Version> {
    known.sort_by(|a, b| b.cmp(a));
    known.sort_by_key(|v| strsim::damerau_levenshtein(wanted.as_str(), v.as_str()));
    known.truncate(NEAR);
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_version_is_named_first() {
        let known = ["1", "2", "2026.1", "2026.2", "3", "4"].map(|v| Version::new(v).unwrap());
        let near = near(&Version::new("2026.11").unwrap(), known.to_vec());
        assert_eq!(near[0].as_str(), "2026.1");
        assert_eq!(near.len(), NEAR);
    }
}
