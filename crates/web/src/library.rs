//! What the API reads and the engine does not put on its board: releases, records, samples.

use crate::wire::Published;
use everup_core::ids::DeploymentId;
use everup_core::receipt::Window;
use everup_core::record::Record;
use everup_engine::prober::Samples;
use futures_util::future::{BoxFuture, FutureExt};

/// It could not be read: what was wanted, and what happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unread(pub String);

/// What a library answers.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Unread>>;

/// Where releases, records and samples are read. A store whose futures are not `Send` answers through a channel.
pub trait Library: Send + Sync {
    /// The releases in the store, newest first.
    fn versions(&self) -> Answer<'_, Vec<Published>>;

    /// The last deployments, newest first, `most` of them.
    fn records(&self, most: usize) -> Answer<'_, Vec<Record>>;

    /// One deployment's record, if there is one.
    fn record<'a>(&'a self, id: &'a DeploymentId) -> Answer<'a, Option<Record>>;

    /// What this agent's prober saw in `window`.
    fn probes(&self, _window: Window) -> Answer<'_, Samples> {
        async { Ok(Samples::default()) }.boxed()
    }

    /// Further metrics of this machine, as Prometheus reads them.
    fn metrics(&self) -> Answer<'_, String> {
        async { Ok(String::new()) }.boxed()
    }
}
