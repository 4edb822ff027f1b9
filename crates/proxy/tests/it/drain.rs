//! Letting go of an app: nothing is cut that could end, and what cannot is ended well.

use crate::app::*;
use crate::client::*;
use crate::world::*;
use everup_core::gate::{Drained, Idle, Passing};
use everup_core::seams::Gate;
use everup_core::time::Millis;
use everup_proxy::{Config, Role};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// One instance after the other is drained, switched to a new app and released, under load.
#[test]
fn instances_are_replaced_under_load_and_nobody_notices() {
    test(async {
        let old = [App::named("old").await, App::named("old").await];
        let proxy = Running::start(Config::default()).await;
        let ids =
            [proxy.add("i-1", Some(old[0].address)).await, proxy.add("i-2", Some(old[1].address)).await];
        let from = now();
        let (orders, reads) = (Load::start(proxy.address, 8, "POST"), Load::start(proxy.address, 8, "GET"));
        orders.more(50).await;
        let mut new = Vec::new();
        for (id, old) in ids.iter().zip(&old) {
            let gate = proxy.client.gate(id.clone());
            proxy.client.leave(id).await.unwrap();
            assert_eq!(gate.drain(&drain(Millis::from_secs(20))).await.unwrap(), Drained::default());
            old.kill().await;
            orders.more(20).await;
            new.push(App::named("new").await);
            gate.switch(&upstream(new.last().unwrap().address, "second")).await.unwrap();
            gate.release().await.unwrap();
            proxy.client.join(id).await.unwrap();
            reads.more(50).await;
        }
        let sent = orders.all_good().await + reads.all_good().await;
        let source = proxy.measure(from).await;
        assert_eq!(source.requests.total, u64::from(sent), "each was counted, once");
        assert_eq!(source.requests.failed, 0);
    });
}

/// The only instance: what comes meanwhile waits for the new app.
#[test]
fn the_only_instance_is_replaced_under_load_and_nobody_notices() {
    test(async {
        let old = App::named("old").await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(old.address)).await;
        let from = now();
        let load = Load::start(proxy.address, 10, "POST");
        load.more(50).await;
        let gate = proxy.client.gate(id.clone());
        assert_eq!(gate.drain(&drain(Millis::from_secs(20))).await.unwrap(), Drained::default());
        old.kill().await;
        proxy.until(&id, |c| c.waiting == 10).await;
        let new = App::named("new").await;
        gate.switch(&upstream(new.address, "second")).await.unwrap();
        gate.release().await.unwrap();
        load.more(50).await;
        load.all_good().await;
        let source = proxy.measure(from).await;
        assert_eq!(source.requests.failed, 0);
        assert!(source.held.count >= 10, "{:?}", source.held);
    });
}

/// Overlap: a switch while the old app still runs.
#[test]
fn after_a_switch_the_old_app_ends_what_it_has() {
    test(async {
        let go = Rc::new(Notify::new());
        let wait = Rc::clone(&go);
        let old = App::start(move |_| {
            let go = Rc::clone(&wait);
            async move {
                go.notified().await;
                text("old")
            }
        })
        .await;
        let new = App::named("new").await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(old.address)).await;
        let gate = proxy.client.gate(id.clone());
        let address = proxy.address;
        let slow = tokio::task::spawn_local(async move { get(address, "/").await });
        proxy.until(&id, |c| c.in_flight == 1).await;
        gate.switch(&upstream(new.address, "second")).await.unwrap();
        assert_eq!(get(proxy.address, "/").await.text(), "new");
        assert_eq!(gate.idle(Millis(1)).await.unwrap(), Idle::No(1));
        go.notify_one();
        assert_eq!(slow.await.unwrap().text(), "old");
        assert_eq!(gate.idle(Millis::from_secs(20)).await.unwrap(), Idle::Yes);
    });
}

/// C6: before a single app, each answer ends its connection while the gate drains, and only an answer does.
#[test]
fn a_draining_proxy_ends_connections_after_answers_only() {
    test(async {
        let go = Rc::new(Notify::new());
        let wait = Rc::clone(&go);
        let app = App::start(move |request| {
            let go = Rc::clone(&wait);
            async move {
                if request.uri().path() == "/slow" {
                    go.notified().await;
                }
                text("one")
            }
        })
        .await;
        let proxy = Running::start(Config { role: Role::Proxy, ..Config::default() }).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let mut idle = Conversation::open(proxy.address).await.unwrap();
        let mut busy = Conversation::open(proxy.address).await.unwrap();
        for open in [&mut idle, &mut busy] {
            let reply = open.say("GET", "/", "").await.unwrap();
            assert!(!reply.headers.contains_key("connection"));
        }
        let slow = tokio::task::spawn_local(async move { busy.say("POST", "/slow", "order").await.unwrap() });
        proxy.until(&id, |c| c.in_flight == 1).await;
        let gate = proxy.client.gate(id.clone());
        let draining =
            tokio::task::spawn_local(async move { gate.drain(&drain(Millis::from_secs(20))).await });
        proxy.until(&id, |c| c.passing == Passing::Draining).await;
        assert!(!idle.is_closed(), "it may be about to be used");
        let reply = idle.say("POST", "/", "order").await.unwrap();
        assert_eq!((reply.status.as_u16(), &reply.headers["connection"]), (200, &"close".parse().unwrap()));
        go.notify_one();
        assert_eq!(slow.await.unwrap().headers["connection"], "close");
        assert_eq!(draining.await.unwrap().unwrap(), Drained::default());
    });
}

/// C11: what nobody waits for any more is not in flight, at the app neither.
#[test]
fn clients_that_leave_do_not_delay_a_drain() {
    test(async {
        let app = App::start(|_| std::future::pending()).await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let from = now();
        let mut open = Vec::new();
        for n in 0..20 {
            let mut stream = TcpStream::connect(proxy.address).await.unwrap();
            let request =
                if n % 2 == 0 { "GET / HTTP/1.1\r\n" } else { "POST / HTTP/1.1\r\ncontent-length: 9\r\n" };
            stream.write_all(format!("{request}host: a\r\n\r\n").as_bytes()).await.unwrap();
            open.push(stream);
        }
        proxy.until(&id, |c| c.in_flight == 20).await;
        let gate = proxy.client.gate(id.clone());
        let draining =
            tokio::task::spawn_local(async move { gate.drain(&drain(Millis::from_secs(600))).await });
        proxy.until(&id, |c| c.passing == Passing::Draining).await;
        drop(open);
        assert_eq!(draining.await.unwrap().unwrap(), Drained::default(), "without any deadline");
        let requests = proxy.measure(from).await.requests;
        assert_eq!((requests.total, requests.failed), (20, 0), "they left; nobody failed them");
    });
}

/// C8 and C11: at the deadline streams end well, WebSockets are told, and a download that nobody reads is cut.
#[test]
fn at_the_deadline_each_is_ended_in_its_own_way() {
    test(async {
        let app = App::start(|request| async move {
            match request.uri().path() {
                "/events" => {
                    let (events, body) = stream();
                    events.send("data: 1\n\n").unwrap();
                    // Idle from now on.
                    tokio::task::spawn_local(async move { events.closed().await });
                    let mut response = Response::new(body);
                    response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
                    response
                }
                "/socket" => echo(request),
                _ => text(vec![7; 100 << 20]),
            }
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let from = now();
        let mut events = open(&proxy, "/events", "").await;
        let mut socket = open(&proxy, "/socket", "connection: upgrade\r\nupgrade: websocket\r\n").await;
        let mut download = open(&proxy, "/download", "").await;
        proxy.until(&id, |c| c.in_flight == 3 && c.streams == 2).await;
        // A frame goes round before.
        socket.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
        read_until(&mut socket, b"\x81\x82\0\0\0\0hi").await;
        let gate = proxy.client.gate(id.clone());
        let drained = gate.drain(&drain(Millis(100))).await.unwrap();
        assert_eq!(drained, Drained { ended: 2, cut: 1 });
        read_until(&mut events, b"0\r\n\r\n").await;
        let rest = rest_of(&mut socket).await;
        assert_eq!(rest, [0x88, 0x02, 0x03, 0xe9], "going away, and nothing else");
        assert!(rest_of(&mut download).await.len() < 100 << 20, "not the whole of it");
        let requests = proxy.measure(from).await.requests;
        assert_eq!((requests.total, requests.failed, requests.ended_by_design), (3, 0, 3));
    });
}

/// Nobody here knows a last word of another protocol: it is closed without one.
#[test]
fn another_upgrade_is_passed_on_as_it_is_and_closed_at_the_deadline() {
    test(async {
        let app = App::start(|request| async move { echo(request) }).await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let from = now();
        let mut socket = open(&proxy, "/socket", "connection: upgrade\r\nupgrade: chat/1\r\n").await;
        socket.write_all(b"hello\n").await.unwrap();
        read_until(&mut socket, b"hello\n").await;
        proxy.until(&id, |c| c.in_flight == 1 && c.streams == 1).await;
        let drained = proxy.client.gate(id).drain(&drain(Millis(100))).await.unwrap();
        assert_eq!(drained, Drained { ended: 1, cut: 0 });
        assert!(rest_of(&mut socket).await.is_empty());
        let requests = proxy.measure(from).await.requests;
        assert_eq!((requests.total, requests.failed, requests.ended_by_design), (1, 0, 1));
    });
}

/// A hold waits for what is inside; a WebSocket would let it wait for ever, and nothing else is touched.
#[test]
fn a_hold_ends_what_lasts_and_cuts_nothing() {
    test(async {
        let app = App::start(|request| async move {
            match request.uri().path() {
                "/socket" => echo(request),
                _ => {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    text("slow")
                }
            }
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let mut socket = open(&proxy, "/socket", "connection: upgrade\r\nupgrade: websocket\r\n").await;
        let address = proxy.address;
        let slow = tokio::task::spawn_local(async move { get(address, "/slow").await });
        proxy.until(&id, |c| c.in_flight == 2 && c.streams == 1).await;
        proxy.client.gate(id.clone()).hold(&hold(1)).await.unwrap();
        let rest = rest_of(&mut socket).await;
        assert_eq!(rest, [0x88, 0x02, 0x03, 0xe9], "going away, and nothing else");
        assert_eq!(slow.await.unwrap().text(), "slow");
        proxy.until(&id, |c| c.in_flight == 0).await;
    });
}

/// A request that never got an answer is cut at the deadline, and said to be.
#[test]
fn at_the_deadline_a_request_without_an_answer_is_cut() {
    test(async {
        let app = App::start(|_| std::future::pending()).await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let address = proxy.address;
        let asked = tokio::task::spawn_local(async move { get(address, "/").await });
        proxy.until(&id, |c| c.in_flight == 1).await;
        let drained = proxy.client.gate(id).drain(&drain(Millis(50))).await.unwrap();
        assert_eq!(drained, Drained { ended: 0, cut: 1 });
        let reply = asked.await.unwrap();
        assert_eq!((reply.status, reply.error()), (StatusCode::BAD_GATEWAY, Some("drained")));
    });
}

/// A drain can be taken back while requests are inside.
#[test]
fn a_drain_that_is_taken_back_says_so() {
    test(async {
        let app = App::start(|_| std::future::pending()).await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let _asks = open(&proxy, "/", "").await;
        let gate = proxy.client.gate(id.clone());
        proxy.until(&id, |c| c.in_flight == 1).await;
        let draining = gate.clone();
        let draining =
            tokio::task::spawn_local(async move { draining.drain(&drain(Millis::from_secs(600))).await });
        proxy.until(&id, |c| c.passing == Passing::Draining).await;
        gate.release().await.unwrap();
        assert!(draining.await.unwrap().unwrap_err().0.contains("taken back"));
        assert_eq!(proxy.counts(&id).await.passing, Passing::Open);
    });
}

/// What the client wants to speak, and whatever it says, again.
pub(crate) fn echo(mut request: Request<hyper::body::Incoming>) -> Response<Body> {
    let protocol = request.headers()["upgrade"].clone();
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::task::spawn_local(async move {
        let (mut reads, mut writes) = tokio::io::split(TokioIo::new(upgraded.await.unwrap()));
        let _ = tokio::io::copy(&mut reads, &mut writes).await;
    });
    let mut response = text("");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert("connection", "upgrade".parse().unwrap());
    response.headers_mut().insert("upgrade", protocol);
    response
}

/// Asks, and reads the head of the answer if there is one soon.
pub(crate) async fn open(proxy: &Running, path: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n").as_bytes()).await.unwrap();
    if path != "/" {
        read_until(&mut stream, b"\r\n\r\n").await;
    }
    stream
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(end) {
        assert_ne!(stream.read(&mut byte).await.unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
}

pub(crate) async fn rest_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    let _ = read.expect("it is closed");
    rest
}
