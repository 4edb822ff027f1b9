//! HTTP/2 with prior knowledge, from the client to the proxy.

use crate::app::*;
use crate::world::*;
use bytes::Bytes;
use everup_core::gate::Passing;
use everup_core::seams::Gate;
use everup_core::time::Millis;
use everup_proxy::{Config, Role};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

#[derive(Clone, Copy)]
pub(crate) struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

pub(crate) type Sender = SendRequest<Full<Bytes>>;

pub(crate) async fn connect(address: SocketAddr) -> (Sender, JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(Local, TokioIo::new(stream)).await.unwrap();
    (sender, tokio::task::spawn_local(connection))
}

pub(crate) fn request(method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let uri = format!("http://shop.example{path}");
    Request::builder().method(method).uri(uri).body(Full::new(body.into())).unwrap()
}

async fn whole(response: Response<hyper::body::Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    assert!(!response.headers().contains_key("connection"), "HTTP/2 has no such header");
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[test]
fn requests_of_one_connection_pass_side_by_side() {
    test(async {
        let app = App::start(|request| async move {
            let seen = format!(
                "{} {} {:?}",
                request.method(),
                request.uri(),
                request.headers().get("host").unwrap()
            );
            let body = request.into_body().collect().await.unwrap().to_bytes();
            text(format!("{seen} {}", body.len()))
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let (sender, _connection) = connect(proxy.address).await;
        let ask = |n: usize| {
            let mut sender = sender.clone();
            async move {
                let request = request("POST", &format!("/{n}"), "order");
                whole(sender.send_request(request).await.unwrap()).await
            }
        };
        let replies = futures_util::future::join_all((0..50).map(ask)).await;
        for (n, reply) in replies.into_iter().enumerate() {
            assert_eq!(reply, (200, format!("POST /{n} \"shop.example\" 5")));
        }
        proxy.until(&id, |c| c.in_flight == 0).await;
    });
}

#[test]
fn a_head_request_keeps_the_length() {
    test(async {
        let app = App::named("body").await;
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(app.address)).await;
        let (mut sender, _connection) = connect(proxy.address).await;
        let response = sender.send_request(request("HEAD", "/", "")).await.unwrap();
        assert_eq!(response.headers()["content-length"], "4");
        assert_eq!(whole(response).await, (200, String::new()));
        assert_eq!(whole(sender.send_request(request("GET", "/", "")).await.unwrap()).await.1, "body");
    });
}

/// C3: what was not modified has a length, and no body.
#[test]
fn what_was_not_modified_keeps_its_length() {
    test(async {
        let answer = b"HTTP/1.1 304 Not Modified\r\ncontent-length: 12345\r\netag: \"1\"\r\n\r\n";
        let app = App::saying(answer).await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let (mut sender, _connection) = connect(proxy.address).await;
        for _ in 0..2 {
            let response = sender.send_request(request("GET", "/", "")).await.unwrap();
            assert_eq!(response.headers()["content-length"], "12345");
            assert_eq!(whole(response).await, (304, String::new()));
        }
        proxy.until(&id, |c| c.in_flight == 0).await;
        assert_eq!(app.connections.get(), 1, "each was complete");
    });
}

/// A stream that its client resets is out of the app.
#[test]
fn a_request_that_is_given_up_is_not_in_flight() {
    test(async {
        let app = App::start(|_| std::future::pending()).await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let (mut sender, _connection) = connect(proxy.address).await;
        let asked = tokio::task::spawn_local(sender.send_request(request("GET", "/", "")));
        proxy.until(&id, |c| c.in_flight == 1).await;
        asked.abort();
        proxy.until(&id, |c| c.in_flight == 0).await;
    });
}

/// A draining proxy says that the connection ends, and still answers what has begun.
#[test]
fn a_draining_proxy_says_goodbye_and_answers() {
    test(async {
        let go = Rc::new(Notify::new());
        let wait = Rc::clone(&go);
        let app = App::start(move |_| {
            let go = Rc::clone(&wait);
            async move {
                go.notified().await;
                text("late")
            }
        })
        .await;
        let proxy = Running::start(Config { role: Role::Proxy, ..Config::default() }).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let (mut sender, connection) = connect(proxy.address).await;
        let asked = tokio::task::spawn_local(sender.send_request(request("POST", "/", "order")));
        proxy.until(&id, |c| c.in_flight == 1).await;
        let gate = proxy.client.gate(id.clone());
        let draining =
            tokio::task::spawn_local(async move { gate.drain(&drain(Millis::from_secs(20))).await });
        proxy.until(&id, |c| c.passing == Passing::Draining).await;
        go.notify_one();
        assert_eq!(whole(asked.await.unwrap().unwrap()).await, (200, "late".to_owned()));
        draining.await.unwrap().unwrap();
        connection.await.unwrap().unwrap();
        assert!(sender.ready().await.is_err(), "it is over");
    });
}
