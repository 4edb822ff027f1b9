//! The client for the API: signs requests, believes only signed answers.
//!
//! It goes to the address that it is given and nowhere else: no proxy of the environment (`HTTP_PROXY`) is looked
//! at. Each call has a deadline. A call is repeated once, on a fresh connection and with a signature of its own, if
//! the pooled connection had been closed meanwhile: a call either changes nothing, or changes nothing the second time,
//! or goes on a fresh connection from the start.

mod calls;
mod connection;
mod failure;
mod follow;

pub use failure::Failure;
pub use follow::Follow;

use crate::clock::WallClock;
use crate::keyring::Keyring;
use crate::signing::{self, Key};
use bytes::Bytes;
use connection::Pool;
use everup_core::ids::InstanceId;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The largest answer that is read: the status of a few thousand instances.
const LARGEST_ANSWER: usize = 32 << 20;

/// An ordinary call is answered within this, connecting included.
const ANSWER: Duration = Duration::from_secs(5);

/// What all clients of a process share: keys, clock, connections.
#[derive(Clone)]
pub struct Http(Arc<Shared>);

struct Shared {
    keyring: Arc<Keyring>,
    clock: WallClock,
    pool: Pool,
}

/// A client for one agent.
#[derive(Clone)]
pub struct Client {
    http: Http,
    address: String,
    to: String,
    forwards: Option<HeaderValue>,
}

/// A call's parts.
struct Call {
    method: Method,
    /// Path and query.
    target: String,
    body: Bytes,
    within: Duration,
    /// It must not be sent twice: it goes on a fresh connection.
    once: bool,
}

/// An answer whose signature was verified.
struct Believed(Bytes);

/// A signed request on its way.
struct Sent {
    nonce: String,
    answer: Response<Incoming>,
}

impl Http {
    /// Signs and verifies with the keys of `keyring`.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, clock: WallClock) -> Self {
        Self(Arc::new(Shared { keyring, clock, pool: Pool::default() }))
    }

    /// A client for the agent at `address` (`host:port`). `to` is its instance's id, or the environment's name
    /// where any agent will do.
    #[must_use]
    pub fn client(&self, address: impl Into<String>, to: impl Into<String>) -> Client {
        Client { http: self.clone(), address: address.into(), to: to.into(), forwards: None }
    }

    fn key(&self) -> Key {
        self.0.keyring.newest()
    }
}

impl Client {
    /// The same client for a call that is handed on for somebody else: the receiver does not hand it on again.
    #[must_use]
    pub fn forwarding(mut self, by: &InstanceId) -> Self {
        self.forwards = HeaderValue::from_str(by.as_str()).ok();
        self
    }

    /// Where it sends to.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A call whose answer is one document.
    async fn call(&self, call: Call) -> Result<Believed, Failure> {
        // What is handed on is given up first, so that the one who asked still gets an answer.
        let within = if self.forwards.is_some() { call.within * 5 / 6 } else { call.within };
        match timeout(within, self.exchange(&call)).await {
            Ok(ended) => ended,
            Err(_) => Err(Failure::silent(&self.address, format!("it did not answer within {within:?}"))),
        }
    }

    async fn exchange(&self, call: &Call) -> Result<Believed, Failure> {
        let sent = self.send(call).await?;
        let (parts, body) = sent.answer.into_parts();
        let cut = |error| Failure::silent(&self.address, format!("its answer was cut: {error}"));
        let body = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(cut)?.to_bytes();
        let keys = self.http.0.keyring.keys();
        signing::verify_answer(&parts, Some(&body), &sent.nonce, &keys)
            .map_err(|why| Failure::unbelieved(&self.address, parts.status, why))?;
        if parts.status.is_success() {
            return Ok(Believed(body));
        }
        Err(Failure::refused(&self.address, parts.status, &body))
    }

    /// Sends a call on a connection of the pool, or on a fresh one.
    async fn send(&self, call: &Call) -> Result<Sent, Failure> {
        let pooled = if call.once { None } else { self.http.0.pool.take(&self.address) };
        if let Some(mut pooled) = pooled {
            let (request, nonce) = self.request(call)?;
            if let Ok(answer) = pooled.send(request).await {
                self.http.0.pool.put(&self.address, pooled);
                return Ok(Sent { nonce, answer });
            }
        }
        let mut fresh = connection::open(&self.address).await?;
        let (request, nonce) = self.request(call)?;
        let answer = fresh.send(request).await.map_err(|error| Failure::silent(&self.address, error))?;
        self.http.0.pool.put(&self.address, fresh);
        Ok(Sent { nonce, answer })
    }

    fn request(&self, call: &Call) -> Result<(Request<Full<Bytes>>, String), Failure> {
        let unfit = |problem: String| Failure::unfit(&self.address, problem);
        let host = HeaderValue::from_str(&self.address).map_err(|error| unfit(error.to_string()))?;
        let mut request = Request::builder().method(call.method.clone()).uri(&call.target).header(HOST, host);
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(by) = &self.forwards {
            request = request.header(signing::FORWARDED, by);
        }
        let request = request.body(()).map_err(|error| unfit(error.to_string()))?;
        let (mut parts, ()) = request.into_parts();
        let (nonce, now) = (signing::nonce(), (self.http.0.clock)());
        signing::sign_request(&mut parts, &call.body, &self.to, &self.http.key(), now, &nonce)
            .map_err(|error| unfit(error.to_string()))?;
        Ok((Request::from_parts(parts, Full::new(call.body.clone())), nonce))
    }
}
