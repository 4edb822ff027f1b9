//! The records of an environment's deployments, as the store has them.

use everup_core::deployment::State;
use everup_core::head::{Current, Head, head_key};
use everup_core::ids::{DeploymentId, Environment};
use everup_core::record::{Record, record_key};
use everup_core::seams::{Got, Store};
use serde::de::DeserializeOwned;

/// Where they are.
#[derive(Debug, Clone)]
pub struct Records<S> {
    store: S,
    environment: Environment,
}

/// Why one could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unread(String);

impl<S: Store> Records<S> {
    /// Of one environment.
    #[must_use]
    pub const fn new(store: S, environment: Environment) -> Self {
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
            records.extend(self.read::<Record>(key).await.unwrap_or_default());
        }
        Ok(records)
    }

    /// The deployment that runs, and where it is.
    ///
    /// # Errors
    /// When the store does not answer, or another version of everup has written to it.
    pub async fn current(&self) -> Result<Option<(Current, State)>, Unread> {
        let head: Option<Head> = self.read(&head_key(&self.environment)).await?;
        let Some(current) = head.and_then(|head| head.current) else { return Ok(None) };
        // Between the two writes that begin it there is no record.
        let state = self.one(&current.id).await?.map_or(State::Pending, |record| record.state);
        Ok((!state.is_final()).then_some((current, state)))
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Unread> {
        match self.store.get(key, None).await.map_err(|error| Unread(error.to_string()))? {
            Got::Found { body, .. } => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| Unread(format!("{key} is not of this version of everup: {error}"))),
            Got::Missing | Got::Unchanged => Ok(None),
        }
    }
}
