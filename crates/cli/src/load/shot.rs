//! One request: sent once, judged at the end of its answer.

use super::{Plan, Street, since};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use std::rc::Rc;
use tokio::time::{Instant, timeout};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    Slow,
    Post,
    Stream,
}

/// How a request ended.
enum End {
    Good,
    /// A stream that was ended cleanly before its last event.
    ByDesign,
}

/// The events of one stream.
const EVENTS: usize = 5;

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Slow => "slow GET",
            Self::Post => "POST",
            Self::Stream => "stream",
        }
    }

    fn path(self, plan: &Plan) -> String {
        match self {
            Self::Get => "/".to_owned(),
            Self::Slow => format!("/slow?ms={}", plan.slow_ms),
            Self::Post => "/count".to_owned(),
            Self::Stream => "/stream?events=5&ms=100".to_owned(),
        }
    }
}

/// Sends one request that was due at `due`, and counts what becomes of it.
pub(super) async fn fire(street: Rc<Street>, kind: Kind, serial: u64, due: Instant) {
    let id = format!("{:08x}-{serial}", std::process::id());
    street.count(|tally| {
        tally.under_way += 1;
        if kind == Kind::Post {
            tally.posting(&id);
        }
    });
    let deadline = street.plan.deadline;
    let ended = timeout(deadline, answer(&street, kind, &id)).await;
    let took = since(due);
    street.count(|tally| {
        tally.under_way -= 1;
        match ended {
            Ok(Ok(end)) => {
                tally.hit(kind.name(), took, matches!(end, End::ByDesign));
                if kind == Kind::Post {
                    tally.posted(id);
                }
            }
            Ok(Err(reason)) => tally.miss(kind.name(), &reason),
            Err(_) => tally.miss(kind.name(), &format!("no whole answer within {} s", deadline.as_secs())),
        }
    });
}

async fn answer(street: &Street, kind: Kind, id: &str) -> Result<End, String> {
    let mut connection = street.pool.get().await?;
    let request = request(street, kind, id);
    let answer = connection.send_request(request).await.map_err(|e| format!("no answer: {e}"))?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|e| format!("{status}, then cut: {e}"))?;
    street.pool.put(connection);
    let body = body.to_bytes();
    if status != StatusCode::OK {
        let text = String::from_utf8_lossy(&body);
        let line = text.lines().next().unwrap_or_default();
        // Our own answers begin with it.
        return Err(if line.starts_with(status.as_str()) {
            line.to_owned()
        } else {
            format!("{status}: {line}")
        });
    }
    judge(kind, &body)
}

fn judge(kind: Kind, body: &[u8]) -> Result<End, String> {
    let events = || String::from_utf8_lossy(body).matches("data: ").count();
    match kind {
        _ if body.is_empty() => Err("200 without a body".to_owned()),
        Kind::Stream if events() < EVENTS => Ok(End::ByDesign),
        _ => Ok(End::Good),
    }
}

fn request(street: &Street, kind: Kind, id: &str) -> Request<Full<Bytes>> {
    let (method, body) = match kind {
        Kind::Post => (Method::POST, Bytes::copy_from_slice(id.as_bytes())),
        _ => (Method::GET, Bytes::new()),
    };
    let host = street.plan.address.to_string();
    let request = Request::builder().method(method).uri(kind.path(&street.plan)).header(header::HOST, host);
    request.body(Full::new(body)).expect("a fixed path and an address make a request")
}
