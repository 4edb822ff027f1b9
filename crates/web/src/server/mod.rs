//! An agent's HTTP API: the engine's mailbox and board, over signed HTTP.
//!
//! [`app`] makes the API of its [`routes`](routes()), [`serve`] gives it a listening socket, [`OPENAPI`] describes it.
//! Everything but `/healthz` wants a signature (`guard`); everything has a bound: connections, the time for a head and
//! a body, the size of both, the wait for the engine, the length of a poll. What only the coordinator can say or do is
//! asked of the coordinator (`forward`), once.

mod answer;
mod deployments;
mod document;
mod events;
mod forward;
mod guard;
mod listen;
mod mail;
mod peer;
mod routes;
mod status;
mod versions;

pub use document::OPENAPI;
pub use events::KEEP_ALIVE;
pub use listen::serve;
pub use routes::{Route, routes};

use crate::clock::WallClock;
use crate::keyring::Keyring;
use crate::library::Library;
use crate::peers::HttpPeers;
use crate::signing::{Nonces, Receiver};
use axum::Router;
use everup_core::policy::Policy;
use everup_core::status::Status;
use everup_engine::mailbox::{Commands, Inbox};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A long poll for people is answered within this. Proxies and clients often give up after 30 s.
pub const LONG_POLL: Duration = Duration::from_secs(25);

/// All that the API shows and calls.
pub struct Backend {
    /// Who this agent is.
    pub me: Receiver,
    /// The instance's procedure.
    pub inbox: Inbox,
    /// The part that can coordinate.
    pub commands: Commands,
    /// What the engine put on its board.
    pub status: watch::Receiver<Arc<Status>>,
    /// Releases, records, samples.
    pub library: Arc<dyn Library>,
    /// The other agents.
    pub peers: HttpPeers,
    /// The keys that are valid.
    pub keyring: Arc<Keyring>,
    /// The nonces that were used.
    pub nonces: Nonces,
    /// How a deployment is done when the request does not say.
    pub policy: Policy,
    /// The wall clock.
    pub clock: WallClock,
    /// Becomes true when the agent is to end: long polls and streams end then.
    pub stop: watch::Receiver<bool>,
}

/// The backend, as the handlers share it.
type Shared = Arc<Backend>;

/// The API.
pub fn app(backend: Backend) -> Router {
    routes::router(Arc::new(backend))
}

impl Backend {
    /// The present status.
    fn status_now(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }
}
