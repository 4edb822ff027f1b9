//! Requests that wait.

use crate::app::*;
use crate::client::*;
use crate::world::*;
use everup_core::gate::{Hold, HoldLimits, Passing};
use everup_core::seams::Gate;
use everup_core::time::Millis;
use everup_proxy::Config;
use http_body_util::BodyExt;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

type Seen = Rc<RefCell<Vec<(String, usize)>>>;

/// An app that notes each request that it has read to its end.
async fn noting(seen: &Seen) -> App {
    let seen = Rc::clone(seen);
    App::start(move |request| {
        let seen = Rc::clone(&seen);
        async move {
            let path = request.uri().path().to_owned();
            match request.into_body().collect().await {
                Ok(body) => {
                    seen.borrow_mut().push((path, body.to_bytes().len()));
                    text("done")
                }
                Err(e) => text(e.to_string()),
            }
        }
    })
    .await
}

/// Sends a request and leaves its connection open.
async fn begin(proxy: &Running, head: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream
        .write_all(format!("{head} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes())
        .await
        .unwrap();
    // The proxy may leave a part of it with us.
    let body = body.to_vec();
    stream.write_all(&body[..body.len().min(64 << 10)]).await.unwrap();
    stream
}

fn ask(proxy: &Running, method: &'static str, path: String) -> JoinHandle<hyper::Result<Reply>> {
    let address = proxy.address;
    tokio::task::spawn_local(async move {
        say(address, method, &path, if method == "POST" { "order" } else { "" }).await
    })
}

fn limited(requests: u32) -> Hold {
    Hold { limits: HoldLimits { requests, ..HoldLimits::default() }, ..hold(1) }
}

/// C26.
#[test]
fn who_waits_is_answered_once_in_order_or_refused_and_who_left_never_asks() {
    test(async {
        let seen = Seen::default();
        let app = noting(&seen).await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let gate = proxy.client.gate(id.clone());
        let from = now();
        gate.hold(&limited(100)).await.unwrap();
        // Ten that will leave: without a body, with a whole one, with one that is still coming.
        let mut leaving = Vec::new();
        for n in 0..10 {
            let mut stream = begin(&proxy, "POST /leaver", &vec![7; [0, 50_000, 60_000][n % 3]]).await;
            if n % 3 == 1 {
                stream.flush().await.unwrap();
            }
            leaving.push(stream);
        }
        proxy.until(&id, |c| c.waiting == 10).await;
        drop(leaving);
        proxy.until(&id, |c| c.waiting == 0).await;
        let mut asked = Vec::new();
        for n in 0..100 {
            asked.push(ask(&proxy, if n % 2 == 0 { "GET" } else { "POST" }, format!("/{n}")));
            proxy.until(&id, |c| c.waiting == n + 1).await;
        }
        let refused = get(proxy.address, "/too-many").await;
        assert_eq!((refused.status.as_u16(), refused.error()), (503, Some("queue-full")));
        assert!(refused.headers.contains_key("retry-after"));
        assert!(seen.borrow().is_empty(), "nobody passes a hold");
        gate.release().await.unwrap();
        for asked in asked {
            assert_eq!(asked.await.unwrap().unwrap().text(), "done");
        }
        let mut paths: Vec<_> = seen.borrow().iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(paths[0], "/0", "the oldest first");
        paths.sort();
        paths.dedup();
        assert_eq!((paths.len(), seen.borrow().len()), (100, 100), "each once");
        let source = proxy.measure(from).await;
        let requests = source.requests;
        assert_eq!(
            (requests.total, requests.failed, requests.left_while_held, requests.refused),
            (111, 11, 10, 1)
        );
        assert_eq!(source.held.count, 110);
    });
}

/// A body of several megabytes, of which a part is read ahead, arrives whole.
#[test]
fn a_body_that_was_read_ahead_arrives_whole() {
    test(async {
        let seen = Seen::default();
        let app = noting(&seen).await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let gate = proxy.client.gate(id.clone());
        gate.hold(&hold(1)).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let size = 9 << 20;
        stream
            .write_all(format!("PUT /big HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let (mut reads, mut writes) = stream.into_split();
        let sending =
            tokio::task::spawn_local(async move { writes.write_all(&vec![7; size]).await.map(|()| writes) });
        proxy.until(&id, |c| c.waiting == 1).await;
        gate.release().await.unwrap();
        let _writes = sending.await.unwrap().unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"done") {
            assert_ne!(reads.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert_eq!(*seen.borrow(), [("/big".to_owned(), size)]);
    });
}

#[test]
fn a_hold_that_nobody_renews_lets_go_into_the_app_that_runs() {
    test(async {
        let app = App::named("old").await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        proxy.client.gate(id.clone()).hold(&Hold { lapse: Millis(50), ..hold(1) }).await.unwrap();
        let reply = get(proxy.address, "/").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "old"));
        assert_eq!(proxy.counts(&id).await.passing, Passing::Open);
    });
}

#[test]
fn who_waits_too_long_is_told_when_to_come_again() {
    test(async {
        let app = App::named("one").await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let limits = HoldLimits { wait: Millis(30), ..HoldLimits::default() };
        proxy.client.gate(id).hold(&Hold { limits, ..hold(1) }).await.unwrap();
        let reply = get(proxy.address, "/").await;
        assert_eq!((reply.status.as_u16(), reply.error()), (503, Some("waited-too-long")));
        assert!(reply.headers.contains_key("retry-after"));
    });
}

/// Held at all slots, answered by the first that opens.
#[test]
fn a_request_waits_for_whichever_instance_opens_first() {
    test(async {
        let (one, two) = (App::named("one").await, App::named("two").await);
        let proxy = Running::start(Config::default()).await;
        let ids = [proxy.add("i-1", Some(one.address)).await, proxy.add("i-2", Some(two.address)).await];
        for id in &ids {
            proxy.client.gate(id.clone()).hold(&hold(1)).await.unwrap();
        }
        let asked = ask(&proxy, "POST", "/".to_owned());
        proxy.until(&ids[0], |c| c.waiting == 1).await;
        proxy.client.gate(ids[1].clone()).release().await.unwrap();
        assert_eq!(asked.await.unwrap().unwrap().text(), "two");
    });
}

/// All at once: held, sealed, the proxy killed in the middle, switched, released; never the old app again.
#[test]
fn a_sealed_gate_stays_sealed_across_a_crash_and_answers_from_the_new_app() {
    test(async {
        let old_was_asked = Rc::new(Cell::new(false));
        let asked = Rc::clone(&old_was_asked);
        let old = App::start(move |_| {
            asked.set(true);
            async { text("old") }
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(old.address)).await;
        let gate = proxy.client.gate(id.clone());
        gate.hold(&hold(1)).await.unwrap();
        gate.seal(Some(&hold(1).id)).await.unwrap().unwrap();
        let proxy = proxy.restart().await;
        let asked = ask(&proxy, "POST", "/".to_owned());
        proxy.until(&id, |c| c.waiting == 1).await;
        let new = App::named("new").await;
        gate.switch(&upstream(new.address, "second")).await.unwrap();
        gate.release().await.unwrap();
        assert_eq!(asked.await.unwrap().unwrap().text(), "new");
        assert!(!old_was_asked.get());
    });
}

/// What was inside when the proxy died is counted, and nobody pretends to know what became of it.
#[test]
fn a_crash_is_counted() {
    test(async {
        let app = App::start(|_| std::future::pending()).await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let from = now();
        let _inside = begin(&proxy, "GET /", b"").await;
        proxy.until(&id, |c| c.in_flight == 1).await;
        // In the test the proxy is aborted, not killed: its destructors count.
        let proxy = proxy.restart().await;
        let source = proxy.measure(from).await;
        assert_eq!(source.requests.total, 1);
        assert!(source.missing.is_empty());
    });
}
