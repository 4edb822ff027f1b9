//! What the API reads from the store: releases and records; and this agent's samples.

use super::probing::Probing;
use crate::store::Opened as AnyStore;
use everup_core::ids::{DeploymentId, Environment};
use everup_core::receipt::Window;
use everup_core::record::{Record, record_key};
use everup_core::release::Part;
use everup_core::seams::{Got, Store};
use everup_engine::prober::Samples;
use everup_release::catalog::{self, Listed};
use everup_web::library::{Answer, Library, Unread};
use everup_web::wire::Published;

/// The store, for the API.
#[derive(Clone)]
pub(super) struct StoreLibrary {
    store: AnyStore,
    probing: Probing,
    environment: Environment,
}

impl StoreLibrary {
    /// Of one environment.
    #[must_use]
    pub(super) fn new(store: AnyStore, environment: Environment, probing: Probing) -> Self {
        Self { store, probing, environment }
    }

    async fn read_record(&self, key: &str) -> Result<Option<Record>, Unread> {
        match self.store.get(key, None).await.map_err(unread)? {
            Got::Found { body, .. } => {
                let damaged =
                    |error| Unread(format!("{key} is no record of this version of everup: {error}"));
                serde_json::from_slice(&body).map(Some).map_err(damaged)
            }
            Got::Missing | Got::Unchanged => Ok(None),
        }
    }

    /// Ids begin with their start, so the names' order is that of time.
    async fn read_records(&self, most: usize) -> Result<Vec<Record>, Unread> {
        let prefix = format!("{}/deployments/", self.environment);
        let keys = self.store.list(&prefix).await.map_err(unread)?;
        let mut records = Vec::new();
        for key in keys.iter().rev().take(most) {
            // Another version's record, or a damaged one, hides no other.
            records.extend(self.read_record(key).await.unwrap_or_default());
        }
        Ok(records)
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
        Box::pin(self.read_records(most))
    }

    fn record<'a>(&'a self, id: &'a DeploymentId) -> Answer<'a, Option<Record>> {
        Box::pin(async { self.read_record(&record_key(&self.environment, id)).await })
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
