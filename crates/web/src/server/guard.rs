//! Lets in what is signed, and signs what goes out.

use super::Shared;
use super::answer::No;
use crate::signing::{Claim, Denied, FORWARDED, Key, claim_of, sign_answer, verify_request};
use crate::wire::Fault;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use std::time::Duration;
use tokio::time::timeout;

/// The largest request: an order with a migration's command is a few kilobytes.
const LARGEST_REQUEST: usize = 1 << 20;

/// A request's body has arrived within this.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The largest answer that is signed as a whole.
const LARGEST_ANSWER: usize = 32 << 20;

/// Who asked; handlers find it in the request's extensions.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Whether another agent handed the request on.
    pub(super) forwarded: bool,
    /// The key that signed; it signs the answer too.
    pub(super) key: Key,
    /// The request's nonce, which the answer names.
    pub(super) nonce: String,
}

/// Marks an answer that is a stream: its head is signed here, its events by themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams;

/// Why a request is not let in, and for whom the refusal is signed.
struct Refusal {
    no: No,
    to: Option<Claim>,
}

/// The middleware.
pub(super) async fn guard(State(backend): State<Shared>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit(&backend, &parts, body).await {
        Ok((claim, body)) => {
            let key = backend.keyring.key_or_newest(Some(&claim.key));
            let forwarded = parts.headers.contains_key(FORWARDED);
            parts.extensions.insert(Caller { forwarded, key, nonce: claim.nonce.clone() });
            let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
            sign(&backend, answer, &claim).await
        }
        Err(Refusal { no, to: Some(claim) }) => sign(&backend, no.into_response(), &claim).await,
        Err(Refusal { no, to: None }) => no.into_response(),
    }
}

/// Signature, receiver, clock, body, nonce; in this order.
async fn admit(backend: &Shared, parts: &Parts, body: Body) -> Result<(Claim, Bytes), Refusal> {
    let now = (backend.clock)();
    let refuse = |denied: Denied| {
        tracing::warn!(path = parts.uri.path(), %denied, "a request was refused");
        Refusal { to: claim_of(parts, &denied), no: denied.into() }
    };
    let verified = verify_request(parts, &backend.keyring.keys(), &backend.me, now).map_err(refuse)?;
    let claim = Claim { key: verified.key.clone(), nonce: verified.nonce.clone() };
    let body = read(body).await.map_err(|no| Refusal { no, to: Some(claim.clone()) })?;
    verified.body(&body).map_err(refuse)?;
    backend.nonces.take(&verified, now).map_err(refuse)?;
    Ok((claim, body))
}

async fn read(body: Body) -> Result<Bytes, No> {
    match timeout(BODY_WITHIN, to_bytes(body, LARGEST_REQUEST)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let message = format!("the body is cut, or larger than 1 MiB: {error}");
            Err(No::new(StatusCode::PAYLOAD_TOO_LARGE, Fault::new("too-large", message)))
        }
        Err(_) => {
            let message = format!("the body did not arrive within {BODY_WITHIN:?}");
            Err(No::new(StatusCode::REQUEST_TIMEOUT, Fault::new("too-slow", message)))
        }
    }
}

async fn sign(backend: &Shared, answer: Response, to: &Claim) -> Response {
    let (key, nonce) = (backend.keyring.key_or_newest(Some(&to.key)), &to.nonce);
    let (mut parts, body) = answer.into_parts();
    let now = (backend.clock)();
    let signed = if parts.extensions.get::<Streams>().is_some() {
        sign_answer(&mut parts, None, nonce, &key, now).map(|()| body)
    } else {
        let Ok(bytes) = to_bytes(body, LARGEST_ANSWER).await else { return too_large() };
        sign_answer(&mut parts, Some(&bytes), nonce, &key, now).map(|()| Body::from(bytes))
    };
    match signed {
        Ok(body) => Response::from_parts(parts, body),
        Err(error) => No::new(StatusCode::INTERNAL_SERVER_ERROR, Fault::new("unsignable", error.to_string()))
            .into_response(),
    }
}

fn too_large() -> Response {
    let message = "the answer is larger than 32 MiB";
    No::new(StatusCode::INTERNAL_SERVER_ERROR, Fault::new("too-large", message)).into_response()
}
