//! Removes old releases from the store. Never one that somebody may have to go back to: the caller names them.

use crate::shelf::Shelf;
use crate::{catalog, layout};
use everup_core::ids::Version;
use everup_core::seams::StoreError;
use std::collections::BTreeSet;

/// Removes all but the newest `keep` releases and those in `never`; says which went.
///
/// # Errors
/// When the store fails; calling it again goes on.
pub async fn prune(
    shelf: &impl Shelf,
    keep: usize,
    never: &BTreeSet<Version>,
) -> Result<Vec<Version>, StoreError> {
    let listed = catalog::list(shelf).await?;
    let old = listed.into_iter().skip(keep).map(|l| l.release.version);
    let mut gone = Vec::new();
    for version in old.filter(|v| !never.contains(v)) {
        remove(shelf, &version).await?;
        gone.push(version);
    }
    Ok(gone)
}

/// Removes one release: its manifest first, so that what is listed is always complete.
///
/// # Errors
/// When the store fails; calling it again goes on.
pub async fn remove(shelf: &impl Shelf, version: &Version) -> Result<(), StoreError> {
    shelf.delete(&layout::manifest_key(version)).await?;
    for key in shelf.list(&layout::version_prefix(version)).await? {
        shelf.delete(&key).await?;
    }
    Ok(())
}
