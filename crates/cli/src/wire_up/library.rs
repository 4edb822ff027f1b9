//! What the API reads from the store: releases and records; and this agent's samples.

use super::probing::Probing;
use crate::records::Records;
use crate::store::Opened as AnyStore;
use everup_core::ids::{DeploymentId, Environment};
use everup_core::receipt::Window;
use everup_core::record::Record;
use everup_core::release::Part;
use everup_engine::prober::Samples;
use everup_release::catalog::{self, Listed};
use everup_web::library::{Answer, Library, Unread};
use everup_web::wire::Published;

/// The store, for the API.
#[derive(Clone)]
pub(super) struct StoreLibrary {
    store: AnyStore,
    records: Records,
    probing: Probing,
}

impl StoreLibrary {
    /// Of one environment.
    #[must_use]
    pub(super) fn new(store: AnyStore, environment: Environment, probing: Probing) -> Self {
        Self { records: Records::new(store.clone(), environment), store, probing }
    }
}

impl Library for StoreLibrary {
    fn versions(&self) -> Answer<'_, Vec<Published>> {
        Box::pin(async {
            let listed = catalog::list(&self.store).await.map_err(unread)?;
            Ok(listed.into_iter().map(published).collect())
        })
    }

    fn records(&self, most: usize) -> Answer<'_, Vec<Record>> {
        Box::pin(async move { self.records.last(most).await.map_err(unread) })
    }

    fn record<'a>(&'a self, id: &'a DeploymentId) -> Answer<'a, Option<Record>> {
        Box::pin(async { self.records.one(id).await.map_err(unread) })
    }

    fn probes(&self, window: Window) -> Answer<'_, Samples> {
        Box::pin(async move { Ok(self.probing.samples(window).await) })
    }
}

fn unread(error: impl std::fmt::Display) -> Unread {
    Unread(error.to_string())
}

fn published(Listed { release, manifest }: Listed) -> Published {
    let Part { size, .. } = manifest.archive;
    Published {
        release,
        at: manifest.published,
        bytes: size,
        migration: manifest.migration.map(|migration| migration.id),
    }
}
