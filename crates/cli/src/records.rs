//! The records of an environment's deployments, as the store has them.

use crate::store::Opened;
use everup_core::ids::{DeploymentId, Environment};
use everup_core::record::{Record, record_key};
use everup_core::seams::{Got, Store};

/// Where they are.
#[derive(Debug, Clone)]
pub struct Records {
    store: Opened,
    environment: Environment,
}

/// Why one could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unread(String);

impl Records {
    /// Of one environment.
    #[must_use]
    pub const fn new(store: Opened, environment: Environment) -> Self {
        Self { store, environment }
    }

    /// One, if there is such a deployment.
    ///
    /// # Errors
    /// When the store does not answer, or another version of everup has written it.
    pub async fn one(&self, id: &DeploymentId) -> Result<Option<Record>, Unread> {
        self.read(&record_key(&self.environment, id)).await
    }

    /// The last ones, newest first, at most so many.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn last(&self, most: usize) -> Result<Vec<Record>, Unread> {
        let prefix = format!("{}/deployments/", self.environment);
        let keys = self.store.list(&prefix).await.map_err(|error| Unread(error.to_string()))?;
        let mut records = Vec::new();
        // Ids begin with their start, so the names' order is that of time.
        for key in keys.iter().rev().take(most) {
            // Another version's record, or a damaged one, hides no other.
            records.extend(self.read(key).await.unwrap_or_default());
        }
        Ok(records)
    }

    async fn read(&self, key: &str) -> Result<Option<Record>, Unread> {
        match self.store.get(key, None).await.map_err(|error| Unread(error.to_string()))? {
            Got::Found { body, .. } => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| Unread(format!("{key} is no record of this version of everup: {error}"))),
            Got::Missing | Got::Unchanged => Ok(None),
        }
    }
}
