//! Stores a release: its parts first, its manifest last and only if there is none.
//!
//! A version is its bytes. The same again is accepted (and what went missing is stored again); anything else under
//! a version that exists is refused with both digests. Safe to repeat, and safe for two publishers at once.

use crate::catalog::{self, CatalogError};
use crate::layout;
use crate::pack::Packed;
use crate::shelf::Shelf;
use everup_core::ids::Version;
use everup_core::release::{Digest, Manifest, Part, ReleaseRef};
use everup_core::seams::{StoreError, Wrote};
use everup_core::time::Wall;
use std::path::Path;

/// How publishing ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It is stored.
    New(ReleaseRef),
    /// The version was there with the same content; nothing changed.
    Already(ReleaseRef),
}

impl Published {
    /// The release, pinned.
    #[must_use]
    pub const fn release(&self) -> &ReleaseRef {
        match self {
            Self::New(release) | Self::Already(release) => release,
        }
    }
}

/// Why a release was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The version exists with another content.
    #[error(
        "version {version} exists with other bytes: {what} differs (stored {stored}, yours {yours}). \
         A version is its bytes; publish yours under another version"
    )]
    OtherBytes {
        /// Which version.
        version: Version,
        /// The first thing that differs.
        what: String,
        /// The digest of what is stored.
        stored: Digest,
        /// The digest of what was to be stored.
        yours: Digest,
    },
    /// What is stored under the version cannot be understood.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store did not do its part; publishing again is safe.
    #[error("the release may not be stored yet; publish it again")]
    Store(#[from] StoreError),
}

/// Stores `packed`.
///
/// # Errors
/// When its version exists with another content, or the store fails.
pub async fn publish(shelf: &impl Shelf, packed: &Packed) -> Result<Published, PublishError> {
    let version = &packed.manifest.version;
    if let Some((release, stored)) = catalog::stored(shelf, version).await? {
        return again(shelf, packed, release, &stored).await;
    }
    put_parts(shelf, packed).await?;
    match shelf.create(&layout::manifest_key(version), packed.bytes.clone()).await? {
        Wrote::Done(_) => Ok(Published::New(packed.release())),
        Wrote::Lost => lost(shelf, packed).await,
    }
}

/// Somebody was first: perhaps we ourselves, and only the answer was lost.
async fn lost(shelf: &impl Shelf, packed: &Packed) -> Result<Published, PublishError> {
    let version = &packed.manifest.version;
    match catalog::stored(shelf, version).await? {
        Some((release, _)) if release == packed.release() => Ok(Published::New(release)),
        Some((release, stored)) => {
            remove_orphans(shelf, packed, &stored).await?;
            again(shelf, packed, release, &stored).await
        }
        None => Err(CatalogError::Vanished(version.clone()).into()),
    }
}

/// What we stored under the version, and the winner's manifest does not name.
async fn remove_orphans(shelf: &impl Shelf, packed: &Packed, stored: &Manifest) -> Result<(), StoreError> {
    let version = &packed.manifest.version;
    for part in parts(&packed.manifest).filter(|ours| !parts(stored).any(|theirs| theirs == *ours)) {
        shelf.delete(&layout::part_key(version, part)).await?;
    }
    Ok(())
}

async fn again(
    shelf: &impl Shelf,
    packed: &Packed,
    release: ReleaseRef,
    stored: &Manifest,
) -> Result<Published, PublishError> {
    if let Some((what, stored, yours)) = difference(&release, stored, packed) {
        let version = release.version;
        return Err(PublishError::OtherBytes { version, what, stored, yours });
    }
    if parts(stored).eq(parts(&packed.manifest)) {
        put_parts(shelf, packed).await?;
    }
    Ok(Published::Already(release))
}

/// The first difference in content. Archives are compared by what they hold: another version of everup may pack
/// the same tree into other bytes.
fn difference(release: &ReleaseRef, stored: &Manifest, packed: &Packed) -> Option<(String, Digest, Digest)> {
    let yours = &packed.manifest;
    let archives = |what: String| Some((what, stored.archive.sha256.clone(), yours.archive.sha256.clone()));
    let manifests = |what: &str| Some((what.to_owned(), release.manifest.clone(), packed.release().manifest));
    if let Some(path) = other_file(stored, yours) {
        return archives(format!("{path:?}"));
    }
    if let Some((environment, _)) = other_part(stored, yours) {
        return manifests(&format!("the configuration for {environment}"));
    }
    if stored.start != yours.start {
        return manifests("the start command");
    }
    if stored.migration != yours.migration {
        return manifests("the migration");
    }
    None
}

fn other_file<'a>(stored: &'a Manifest, yours: &'a Manifest) -> Option<&'a str> {
    let same = |a: &everup_core::release::File, b: &everup_core::release::File| {
        (&a.path, a.mode, &a.sha256) == (&b.path, b.mode, &b.sha256)
    };
    let at = stored.files.iter().zip(&yours.files).position(|(a, b)| !same(a, b));
    let at = at.unwrap_or(stored.files.len().min(yours.files.len()));
    stored.files.get(at).or(yours.files.get(at)).map(|f| f.path.as_str())
}

fn other_part<'a>(
    stored: &'a Manifest,
    yours: &'a Manifest,
) -> Option<(&'a everup_core::ids::Environment, &'a Part)> {
    let missing = |from: &'a Manifest, to: &'a Manifest| {
        from.configurations
            .iter()
            .find(|(environment, part)| to.configurations.get(environment) != Some(part))
    };
    missing(stored, yours).or_else(|| missing(yours, stored))
}

fn parts(manifest: &Manifest) -> impl Iterator<Item = &Part> {
    std::iter::once(&manifest.archive).chain(manifest.configurations.values())
}

async fn put_parts(shelf: &impl Shelf, packed: &Packed) -> Result<(), StoreError> {
    let manifest = &packed.manifest;
    put(shelf, &manifest.version, &manifest.archive, packed.archive.path()).await?;
    for (environment, file) in &packed.configurations {
        if let Some(part) = manifest.configurations.get(environment) {
            put(shelf, &manifest.version, part, file.path()).await?;
        }
    }
    Ok(())
}

/// The key names the bytes, so that what is there in full length need not be sent again.
async fn put(shelf: &impl Shelf, version: &Version, part: &Part, file: &Path) -> Result<(), StoreError> {
    let key = layout::part_key(version, part);
    if shelf.size(&key).await? == Some(part.size) {
        return Ok(());
    }
    shelf.put(&key, file).await
}

/// Now, for [`crate::pack::Draft::published`].
#[must_use]
pub fn now() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
