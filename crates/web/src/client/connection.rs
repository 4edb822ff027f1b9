//! Connections to agents, and the few that are kept for the next call.

use super::Failure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

/// So many idle connections are kept to one address.
const KEPT_EACH: usize = 4;

/// So many addresses have kept connections; beyond, the others' are dropped.
const KEPT_ADDRESSES: usize = 1_024;

/// An idle connection is kept so long: less than the server's own limit.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// One address is tried so long.
const CONNECT: Duration = Duration::from_secs(2);

/// One connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    used: Instant,
}

impl Connection {
    /// Sends a request; done when the answer's head is there.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, String> {
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let answer = self.sender.send_request(request).await.map_err(|error| chain(&error))?;
        self.used = Instant::now();
        Ok(answer)
    }

    fn may_be_used(&self) -> bool {
        !self.sender.is_closed() && self.used.elapsed() < KEPT_FOR
    }
}

/// Connects to `address`, to each of the name's addresses in turn.
pub(super) async fn open(address: &str) -> Result<Connection, Failure> {
    let unreached = |problem: String| Failure::NotSent { address: address.to_owned(), problem };
    let found = match timeout(CONNECT, lookup_host(address)).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(unreached(format!("the name cannot be resolved: {error}"))),
        Err(_) => return Err(unreached(format!("the name was not resolved within {CONNECT:?}"))),
    };
    let stream = first(&found).await.map_err(unreached)?;
    // A small answer must not wait for the acknowledgement of the packet before it.
    stream.set_nodelay(true).map_err(|error| unreached(error.to_string()))?;
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| unreached(chain(&error)))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an agent ended");
        }
    });
    Ok(Connection { sender, used: Instant::now() })
}

/// The first address that takes a connection, or what each of them said.
async fn first(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut problems = Vec::new();
    for address in addresses {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => problems.push(format!("{address}: {error}")),
            Err(_) => problems.push(format!("{address}: no answer within {CONNECT:?}")),
        }
    }
    Err(if problems.is_empty() { "the name has no address".into() } else { problems.join("; ") })
}

/// An error with its causes: hyper's own says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Idle connections.
#[derive(Default)]
pub(super) struct Pool(Mutex<HashMap<String, Vec<Connection>>>);

impl Pool {
    /// The one used last, if it can be used.
    pub(super) fn take(&self, address: &str) -> Option<Connection> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = kept.get_mut(address)?;
        connections.retain(Connection::may_be_used);
        // One whose last answer is still being read is not ready, and stays for a later call.
        let ready = connections.iter().rposition(|kept| kept.sender.is_ready())?;
        Some(connections.swap_remove(ready))
    }

    /// Keeps a connection whose answer is being read.
    pub(super) fn put(&self, address: &str, connection: Connection) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_ADDRESSES {
            kept.clear();
        }
        let connections = kept.entry(address.to_owned()).or_default();
        connections.retain(Connection::may_be_used);
        if connections.len() < KEPT_EACH {
            connections.push(connection);
        }
    }
}
