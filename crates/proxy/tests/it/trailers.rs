//! C4: what comes before an answer, and after it.

use crate::app::*;
use crate::client::*;
use crate::http2;
use crate::world::*;
use bytes::Bytes;
use everup_proxy::Config;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2 as conn;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Both are announced, as HTTP/1.1 wants it.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, x-status\r\n\r\n\
    4\r\nbody\r\n0\r\nx-sum: 42\r\nx-status: fine\r\n\r\n";

fn trailers() -> HeaderMap {
    let fields = [("x-sum", "42"), ("x-status", "fine")];
    fields.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

async fn before(app: &App) -> Running {
    let proxy = Running::start(Config::default()).await;
    proxy.add("i-1", Some(app.address)).await;
    proxy
}

/// Sends `request` as it is; all that comes until the other side closes, in small letters.
async fn exchange(proxy: &Running, request: &str) -> String {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.to_ascii_lowercase()
}

#[test]
fn what_follows_an_answer_arrives_over_http1_where_the_client_takes_it() {
    test(async {
        let app = App::saying(ANSWER).await;
        let proxy = before(&app).await;
        let head = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close, te\r\nte: trailers\r\n\r\n";
        let answer = exchange(&proxy, head).await;
        assert!(answer.contains("\r\ntrailer: x-sum, x-status\r\n"), "{answer}");
        let (_, end) = answer.split_once("4\r\nbody\r\n").expect("the body");
        assert_eq!(end, "0\r\nx-sum: 42\r\nx-status: fine\r\n\r\n");
        let answer = exchange(&proxy, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(answer.ends_with("4\r\nbody\r\n0\r\n\r\n"), "a client that takes none gets none: {answer}");
        assert_eq!(app.connections.get(), 1, "each was complete");
    });
}

#[test]
fn what_follows_an_answer_arrives_over_http2() {
    test(async {
        let app = App::saying(ANSWER).await;
        let proxy = before(&app).await;
        let (mut sender, _connection) = http2::connect(proxy.address).await;
        let response = sender.send_request(http2::request("GET", "/", "")).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers(), Some(&trailers()));
        assert_eq!(body.to_bytes(), "body");
    });
}

/// An app that answers with the trailers that it got.
async fn telling() -> App {
    App::start(|request| async move {
        let body = request.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        text(format!("{} {trailers:?}", body.to_bytes().len()))
    })
    .await
}

#[test]
fn what_follows_a_request_arrives_from_http1() {
    test(async {
        let app = telling().await;
        let proxy = before(&app).await;
        let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
            trailer: x-sum, x-status\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 42\r\nx-status: fine\r\n\r\n";
        for _ in 0..2 {
            let answer = exchange(&proxy, request).await;
            assert!(answer.ends_with(&format!("5 {:?}", trailers())), "{answer}");
        }
        assert_eq!(app.connections.get(), 1, "each was complete");
    });
}

#[test]
fn what_follows_a_request_arrives_from_http2() {
    test(async {
        let app = telling().await;
        let proxy = before(&app).await;
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        let (mut sender, connection) = conn::handshake(http2::Local, TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let frames = [Frame::data(Bytes::from_static(b"hello")), Frame::trailers(trailers())];
        let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, Infallible>)));
        let request = Request::post("http://a/").header("trailer", "x-sum, x-status").body(body).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let answer = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(answer, format!("5 {:?}", trailers()));
    });
}

/// Words before the answer are not the answer. (They are not passed on: hyper's server can say none but 100.)
#[test]
fn early_hints_are_not_the_answer() {
    test(async {
        let app = App::saying(
            b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        )
        .await;
        let proxy = before(&app).await;
        let from = now();
        for _ in 0..2 {
            let reply = get(proxy.address, "/").await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "body"));
            assert!(!reply.headers.contains_key("link"), "it was of another head");
        }
        assert_eq!(proxy.measure(from).await.requests.total, 2);
        assert_eq!(app.connections.get(), 1);
    });
}
