//! Connections that users keep open between requests, as browsers do.

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A connection that can take a request.
pub(super) type Connection = SendRequest<Full<Bytes>>;

/// The most idle connections that are kept.
const MOST_IDLE: usize = 256;

/// The idle connections to one address.
pub(super) struct Pool {
    address: SocketAddr,
    idle: RefCell<Vec<Connection>>,
}

impl Pool {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, idle: RefCell::default() }
    }

    /// An idle one that is still open, or a fresh one.
    pub(super) async fn get(&self) -> Result<Connection, String> {
        loop {
            let idle = self.idle.borrow_mut().pop();
            let Some(mut connection) = idle else { return open(self.address).await };
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
    }

    /// Takes one back after its answer.
    pub(super) fn put(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if !connection.is_closed() && idle.len() < MOST_IDLE {
            idle.push(connection);
        }
    }
}

/// A fresh connection.
pub(super) async fn open(address: SocketAddr) -> Result<Connection, String> {
    let refused = |error| format!("no connection: {error}");
    let stream = TcpStream::connect(address).await.map_err(refused)?;
    stream.set_nodelay(true).map_err(refused)?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("no connection: {error}"))?;
    tokio::task::spawn_local(async move {
        // Its end is seen by the request that is inside it.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}
