//! One request, and the answer as it came.

use crate::common::{Agent, DEADLINE, NOW, key};
use bytes::Bytes;
use everup_core::time::Wall;
use everup_web::signing::{nonce, sign_request};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// Of a stream its first piece.
    pub(crate) body: Bytes,
}

/// Asks with a signature.
pub(crate) async fn ask(agent: &Agent, method: &str, target: &str, body: &str) -> Answered {
    ask_at(agent, NOW, method, target, body).await
}

/// Asks as if it were `now`.
pub(crate) async fn ask_at(agent: &Agent, now: u64, method: &str, target: &str, body: &str) -> Answered {
    let (mut parts, body) = request(agent, method, target, body).into_parts();
    sign_request(&mut parts, body.as_bytes(), agent.id.as_str(), &key("a"), Wall(now), &nonce()).unwrap();
    timeout(DEADLINE, send(agent, Request::from_parts(parts, body))).await.expect("an answer")
}

pub(crate) async fn ask_unsigned(agent: &Agent, method: &str, target: &str) -> Answered {
    timeout(DEADLINE, send(agent, request(agent, method, target, ""))).await.expect("an answer")
}

fn request(agent: &Agent, method: &str, target: &str, body: &str) -> Request<String> {
    let request = Request::builder().method(method).uri(target).header("host", &agent.address);
    let kind = (!body.is_empty()).then_some(("content-type", "application/json"));
    let request = kind.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    request.body(body.to_owned()).unwrap()
}

async fn send(agent: &Agent, request: Request<String>) -> Answered {
    let stream = TcpStream::connect(&agent.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (parts, mut body) = sender.send_request(request.map(Full::<Bytes>::from)).await.unwrap().into_parts();
    let kind = parts.headers.get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let content_type = kind.unwrap_or_default();
    let body = if content_type == "text/event-stream" {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    } else {
        body.collect().await.unwrap().to_bytes()
    };
    Answered { status: parts.status.as_u16(), content_type, body }
}
