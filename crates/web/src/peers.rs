//! Messages to other instances' agents.

use crate::client::{Client, Failure, Http};
use everup_core::ids::{InstanceId, Term};
use everup_core::instance::View;
use everup_core::order::{Ack, Order};
use everup_core::seams::{PeerError, Peers};
use std::sync::Arc;

/// Where an instance's agent can be reached, `host:port`.
pub type Resolve = Arc<dyn Fn(&InstanceId) -> Option<String> + Send + Sync>;

/// The other instances, over HTTP.
#[derive(Clone)]
pub struct HttpPeers {
    http: Http,
    resolve: Resolve,
}

impl HttpPeers {
    /// Peers that are found by `resolve`.
    #[must_use]
    pub fn new(http: Http, resolve: Resolve) -> Self {
        Self { http, resolve }
    }

    /// A client for the agent of `id`.
    ///
    /// # Errors
    /// When nobody knows its address: nothing was sent.
    pub fn client(&self, id: &InstanceId) -> Result<Client, Failure> {
        match (self.resolve)(id) {
            Some(address) => Ok(self.http.client(address, id.as_str())),
            None => {
                Err(Failure::NotSent { address: id.to_string(), problem: "its address is not known".into() })
            }
        }
    }
}

impl Peers for HttpPeers {
    async fn greet(&self, to: &InstanceId, term: Term, holder: &InstanceId) -> Result<Ack, PeerError> {
        let greeted = async { self.client(to)?.greet(term, holder).await };
        greeted.await.map_err(|failure| failure.of(to))
    }

    async fn order(&self, order: &Order) -> Result<Ack, PeerError> {
        let ordered = async { self.client(&order.to)?.order(order).await };
        ordered.await.map_err(|failure| failure.of(&order.to))
    }

    async fn watch(&self, id: &InstanceId, since: u64) -> Result<View, PeerError> {
        let watched = async { self.client(id)?.watch(since).await };
        watched.await.map_err(|failure| failure.of(id))
    }

    async fn poke(&self, id: &InstanceId) -> Result<(), PeerError> {
        let poked = async { self.client(id)?.poke().await };
        poked.await.map_err(|failure| failure.of(id))
    }
}
