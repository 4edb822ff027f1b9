//! What the API reads from the store: releases and records; and this agent's samples.

use super::probing::Probing;
use crate::records::Records;
use crate::store::Opened as AnyStore;
use everup_core::ids::DeploymentId;
use everup_core::receipt::Window;
use everup_core::record::Record;
use everup_engine::prober::Samples;
use everup_host::settings::Settings;
use everup_release::catalog::{self, Listed};
use everup_web::library::{Answer, Library, Unread};
use everup_web::wire::Published;

/// The store, for the API.
#[derive(Clone)]
pub(super) struct StoreLibrary {
    store: AnyStore,
    records: Records<AnyStore>,
    probing: Probing,
    /// Whether the settings say how an app is started whose release does not.
    starts_any: bool,
}

impl StoreLibrary {
    /// Of one environment.
    #[must_use]
    pub(super) fn new(store: AnyStore, settings: &Settings, probing: Probing) -> Self {
        let records = Records::new(store.clone(), settings.environment.clone());
        Self { records, store, probing, starts_any: settings.app.command.is_some() }
    }

    fn published(&self, Listed { release, manifest }: Listed) -> Published {
        Published {
            release,
            at: manifest.published,
            bytes: manifest.archive.size,
            starts: self.starts_any || manifest.start.is_some(),
            migration: manifest.migration.map(|migration| migration.id),
        }
    }
}

impl Library for StoreLibrary {
    fn versions(&self) -> Answer<'_, Vec<Published>> {
        Box::pin(async {
            let listed = catalog::list(&self.store).await.map_err(unread)?;
            Ok(listed.into_iter().map(|listed| self.published(listed)).collect())
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
