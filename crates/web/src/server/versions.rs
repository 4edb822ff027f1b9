//! The releases in the store, and which name was meant.

use super::answer::{Answer, No};
use super::{Backend, Shared};
use crate::wire::{Fault, NO_START, Published, VersionLine, WAYS_TO_START};
use axum::Json;
use axum::extract::State;
use everup_core::ids::Version;
use everup_core::release::ReleaseRef;
use everup_core::status::Status;
use everup_core::words;
use http::StatusCode;

/// So many similar names are told.
const NEAR: usize = 5;

pub(super) async fn versions(State(backend): State<Shared>) -> Answer<Json<Vec<VersionLine>>> {
    let published = backend.library.versions().await?;
    let status = backend.status_now();
    Ok(Json(published.into_iter().map(|release| line(release, &status)).collect()))
}

fn line(published: Published, status: &Status) -> VersionLine {
    let release = &published.release;
    let is = |other: Option<&ReleaseRef>| other == Some(release);
    let head = status.head.as_ref();
    let running = status.instances.iter().filter(|line| is(line.release.as_ref())).count();
    VersionLine {
        running: u32::try_from(running).unwrap_or(u32::MAX),
        newcomers: is(head.and_then(|head| head.newcomers.as_ref())),
        proven: is(head.and_then(|head| head.proven.as_ref())),
        forbidden: head.is_some_and(|head| !head.may_deploy(release, published.migration.as_ref())),
        at: published.at,
        bytes: published.bytes,
        migration: published.migration,
        release: published.release,
    }
}

impl Backend {
    /// The release of this version, which can be deployed as far as its manifest says.
    pub(super) async fn resolve(&self, version: &Version) -> Answer<ReleaseRef> {
        let published = self.library.versions().await?;
        match published.iter().find(|found| found.release.version == *version) {
            Some(found) if !found.starts => Err(no_start()),
            Some(found) => Ok(found.release.clone()),
            None => Err(unknown(version, &published)),
        }
    }
}

fn no_start() -> No {
    No::new(StatusCode::CONFLICT, Fault::new("no-start", NO_START).hint(WAYS_TO_START))
}

fn unknown(version: &Version, published: &[Published]) -> No {
    let mut fault = Fault::new("unknown-version", format!("there is no version {version} in the store"));
    fault.near = near(version, published);
    fault.hint = Some(match fault.near.as_slice() {
        [] if published.is_empty() => "nothing is published yet: everup publish".into(),
        [] => "`everup versions` lists what there is".into(),
        near => format!("did you mean {}?", words::list(near, NEAR)),
    });
    No::new(StatusCode::NOT_FOUND, fault)
}

/// The most similar names, best first; of equally similar ones the newest first.
fn near(version: &Version, published: &[Published]) -> Vec<Version> {
    let mut names: Vec<(f64, &Version)> = published
        .iter()
        .map(|found| &found.release.version)
        .map(|name| (strsim::jaro_winkler(version.as_str(), name.as_str()), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0));
    names.into_iter().take(NEAR).map(|(_, name)| name.clone()).collect()
}
