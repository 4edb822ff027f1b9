//! One request, and how it ended.

use bytes::Bytes;
use everup_engine::prober::Outcome;
use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A request that has not ended after this has failed: users have left long ago.
const LIMIT: Duration = Duration::from_secs(30);

/// So many connections are kept for later requests.
const KEPT: usize = 4;

type Connection = SendRequest<Empty<Bytes>>;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Target {
    address: String,
    host: HeaderValue,
    path: Uri,
}

impl Target {
    /// `path` of the service that listens on `address` (`host:port`), asked for as `host`.
    ///
    /// # Errors
    /// When host or path cannot stand in a request.
    pub fn new(address: impl Into<String>, host: &str, path: &str) -> Result<Self, http::Error> {
        Ok(Self { address: address.into(), host: HeaderValue::from_str(host)?, path: path.parse()? })
    }
}

/// Asks, and keeps some connections.
pub(super) struct Asker {
    target: Target,
    kept: Mutex<Vec<Connection>>,
}

impl Asker {
    pub(super) fn new(target: Target) -> Self {
        Self { target, kept: Mutex::new(Vec::new()) }
    }

    /// Asks once: on a fresh connection, or on a kept one if there is one.
    pub(super) async fn ask(&self, on_fresh: bool) -> Outcome {
        let asked = async { if on_fresh { self.ask_fresh().await } else { self.ask_kept().await } };
        timeout(LIMIT, asked).await.unwrap_or(Outcome::TimedOut)
    }

    async fn ask_kept(&self) -> Outcome {
        let Some(mut connection) = self.take() else { return self.ask_fresh().await };
        match connection.try_send_request(self.request()).await {
            Ok(answer) => self.read(connection, answer).await,
            Err(mut error) => match error.take_message() {
                // It had been closed before, and nothing was sent: every client opens another one then.
                Some(_) => self.ask_fresh().await,
                None => Outcome::Cut,
            },
        }
    }

    async fn ask_fresh(&self) -> Outcome {
        let Ok(mut connection) = self.connect().await else { return Outcome::Refused };
        match connection.send_request(self.request()).await {
            Ok(answer) => self.read(connection, answer).await,
            Err(_) => Outcome::Cut,
        }
    }

    async fn connect(&self) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(&self.target.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of the prober ended");
            }
        });
        Ok(sender)
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.target.path.clone();
        request.headers_mut().insert(HOST, self.target.host.clone());
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("everup-prober"));
        request
    }

    /// Reads the answer to its end: only then is it one.
    async fn read(&self, connection: Connection, answer: Response<Incoming>) -> Outcome {
        let (parts, mut body) = answer.into_parts();
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return Outcome::Cut;
            }
        }
        self.keep(connection);
        if parts.status < StatusCode::INTERNAL_SERVER_ERROR {
            Outcome::Good
        } else {
            Outcome::Status(parts.status.as_u16())
        }
    }

    fn take(&self) -> Option<Connection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|connection| !connection.is_closed());
        let ready = kept.iter().rposition(Connection::is_ready)?;
        Some(kept.swap_remove(ready))
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|connection| !connection.is_closed());
        if kept.len() < KEPT && !connection.is_closed() {
            kept.push(connection);
        }
    }
}
