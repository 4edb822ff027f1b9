//! Clients that count each answer and repeat nothing.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Why the proxy, and not the app, answered.
    pub(crate) fn error(&self) -> Option<&str> {
        self.headers.get("everup-error").map(|v| v.to_str().unwrap())
    }
}

/// One connection, used again and again.
pub(crate) struct Conversation(http1::SendRequest<Full<Bytes>>);

impl Conversation {
    pub(crate) async fn open(address: SocketAddr) -> hyper::Result<Self> {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        Ok(Self(sender))
    }

    pub(crate) async fn say(&mut self, method: &str, path: &str, body: &'static str) -> hyper::Result<Reply> {
        self.0.ready().await?;
        let request = Request::builder().method(method).uri(path).header("host", "shop.example");
        let response = self.0.send_request(request.body(Full::new(body.into())).unwrap()).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// One request over a connection of its own.
pub(crate) async fn say(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &'static str,
) -> hyper::Result<Reply> {
    Conversation::open(address).await?.say(method, path, body).await
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Reply {
    say(address, "GET", path, "").await.unwrap()
}

/// Requests one after the other over several connections, until told to stop.
pub(crate) struct Load {
    stop: Rc<Cell<bool>>,
    seen: Rc<RefCell<Seen>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What a load has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) good: u32,
    pub(crate) bad: Vec<String>,
}

impl Load {
    pub(crate) fn start(address: SocketAddr, clients: u32, method: &'static str) -> Self {
        let (stop, seen) = (Rc::new(Cell::new(false)), Rc::new(RefCell::new(Seen::default())));
        let one = |_| tokio::task::spawn_local(ask(address, method, Rc::clone(&stop), Rc::clone(&seen)));
        let tasks = (0..clients).map(one).collect();
        Self { stop, seen, tasks }
    }

    /// Waits until so many more answers were good.
    pub(crate) async fn more(&self, n: u32) {
        let goal = self.seen.borrow().good + n;
        while self.seen.borrow().good < goal && self.seen.borrow().bad.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Ends it, and demands that there were answers, and that all were good.
    pub(crate) async fn all_good(self) -> u32 {
        self.stop.set(true);
        for task in self.tasks {
            task.await.unwrap();
        }
        let seen = self.seen.take();
        assert!(
            seen.bad.is_empty(),
            "{} good, {} bad: {:?}",
            seen.good,
            seen.bad.len(),
            &seen.bad[..seen.bad.len().min(3)]
        );
        assert!(seen.good > 0, "an empty sample proves nothing");
        seen.good
    }
}

async fn ask(address: SocketAddr, method: &'static str, stop: Rc<Cell<bool>>, seen: Rc<RefCell<Seen>>) {
    let mut conversation = None;
    while !stop.get() {
        let mut open = match conversation.take() {
            Some(open) => open,
            None => Conversation::open(address).await.unwrap(),
        };
        let body = if method == "POST" { "order" } else { "" };
        match open.say(method, "/", body).await {
            Ok(reply) if reply.status == 200 => {
                seen.borrow_mut().good += 1;
                let closes = reply.headers.get("connection").is_some_and(|c| c == "close");
                // An answer that ends the connection is the only way in which the proxy may end it.
                conversation = Some(open).filter(|_| !closes);
            }
            Ok(reply) => seen.borrow_mut().bad.push(format!("{} {}", reply.status, reply.text())),
            Err(e) => seen.borrow_mut().bad.push(format!("{e:?}")),
        }
    }
}
