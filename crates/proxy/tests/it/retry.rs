//! Who may send a request twice.

use crate::app::*;
use crate::client::*;
use crate::world::*;
use everup_core::seams::Gate;
use everup_core::time::Millis;
use everup_proxy::Config;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests that an app has read, by path.
type Seen = Rc<RefCell<Vec<String>>>;

/// Reads one request; its path, or nothing at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    let head = String::from_utf8(head).unwrap();
    Some(head.split(' ').nth(1).unwrap().to_owned())
}

async fn ok(stream: &mut TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
}

/// Reads one request and notes its path; whether there was one.
async fn note(stream: &mut TcpStream, seen: &Seen) -> bool {
    let path = read_request(stream).await;
    let was_one = path.is_some();
    seen.borrow_mut().extend(path);
    was_one
}

/// An app that does the same to each connection, and what it has read.
async fn noting<F: Future<Output = ()> + 'static>(does: fn(TcpStream, Seen) -> F) -> (App, Seen) {
    let seen = Seen::default();
    let all = Rc::clone(&seen);
    (App::raw(move |stream| does(stream, Rc::clone(&all))).await, seen)
}

/// It answers the first request of a connection, reads the second one, and hangs up.
async fn hangs_up_on_the_second(mut stream: TcpStream, seen: Seen) {
    if note(&mut stream, &seen).await {
        ok(&mut stream).await;
    }
    note(&mut stream, &seen).await;
}

async fn second(method: &str, body: &'static str) -> (Reply, Vec<String>) {
    let (app, seen) = noting(hangs_up_on_the_second).await;
    let proxy = Running::start(Config::default()).await;
    let id = proxy.add("i-1", Some(app.address)).await;
    get(proxy.address, "/first").await;
    let reply = say(proxy.address, method, "/second", body).await.unwrap();
    proxy.until(&id, |c| c.in_flight == 0).await;
    let seen = seen.borrow().clone();
    (reply, seen)
}

#[test]
fn what_has_no_effect_is_sent_once_more_over_a_fresh_connection() {
    test(async {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let (reply, seen) = second(method, "").await;
            assert_eq!(reply.status, 200, "{method}");
            assert_eq!(seen, ["/first", "/second", "/second"], "{method}");
        }
    });
}

#[test]
fn what_may_have_an_effect_is_sent_once() {
    test(async {
        for (method, body) in [("POST", "order"), ("POST", ""), ("PUT", ""), ("DELETE", ""), ("GET", "body")]
        {
            let (reply, seen) = second(method, body).await;
            assert_eq!((reply.status.as_u16(), reply.error()), (502, Some("outcome-unknown")), "{method}");
            assert_eq!(seen, ["/first", "/second"], "{method}");
        }
    });
}

#[test]
fn a_fresh_connection_that_dies_is_not_tried_again() {
    test(async {
        let (app, seen) = noting(|mut stream, seen| async move {
            note(&mut stream, &seen).await;
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(app.address)).await;
        let from = now();
        let reply = get(proxy.address, "/").await;
        assert_eq!((reply.status.as_u16(), reply.error()), (502, Some("outcome-unknown")));
        assert_eq!(seen.borrow().len(), 1);
        let requests = proxy.measure(from).await.requests;
        assert_eq!((requests.total, requests.failed, requests.outcome_unknown), (1, 1, 1));
    });
}

#[test]
fn an_answer_that_has_begun_is_never_asked_for_again() {
    test(async {
        let (app, seen) = noting(|mut stream, seen| async move {
            note(&mut stream, &seen).await;
            ok(&mut stream).await;
            note(&mut stream, &seen).await;
            let _ = stream.write_all(b"HTTP/1.1 20").await;
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(app.address)).await;
        get(proxy.address, "/first").await;
        let reply = get(proxy.address, "/second").await;
        assert_eq!((reply.status.as_u16(), reply.error()), (502, Some("bad-answer")));
        assert_eq!(*seen.borrow(), ["/first", "/second"]);
    });
}

/// C2: a connection that could not be opened says that nothing was sent, so anybody may have the request.
#[test]
fn what_was_never_sent_goes_to_another_instance_whatever_it_is() {
    test(async {
        let (dead, alive) = (App::named("dead").await, App::named("alive").await);
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(dead.address)).await;
        proxy.add("i-2", Some(alive.address)).await;
        dead.kill().await;
        let from = now();
        for _ in 0..4 {
            let reply = say(proxy.address, "POST", "/", "order").await.unwrap();
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "alive"));
        }
        assert_eq!(proxy.measure(from).await.requests.failed, 0);
    });
}

/// C15: when none is healthy, all are asked; and the answer says whose fault it is.
#[test]
fn when_nobody_can_be_reached_it_says_so_and_goes_on_trying() {
    test(async {
        let app = App::named("one").await;
        let address = app.address;
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(address)).await;
        proxy.add("i-2", Some(address)).await;
        app.kill().await;
        let reply = say(proxy.address, "POST", "/", "order").await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.error()), (502, Some("unreachable")));
        let _back = again(address).await;
        assert_eq!(say(proxy.address, "POST", "/", "order").await.unwrap().status, 200);
    });
}

/// The only app has died, and its agent has not said so yet: who comes in between waits for its word.
#[test]
fn who_comes_before_a_death_is_told_waits_for_the_next_app() {
    test(async {
        let (dead, next) = (App::named("dead").await, App::named("next").await);
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(dead.address)).await;
        dead.kill().await;
        let from = now();
        let address = proxy.address;
        let asked = tokio::task::spawn_local(async move { say(address, "POST", "/", "order").await });
        proxy.until(&id, |counts| counts.in_flight == 0 && counts.waiting == 0).await;
        let gate = proxy.client.gate(id.clone());
        gate.drain(&drain(Millis::ZERO)).await.unwrap();
        proxy.until(&id, |counts| counts.waiting == 1).await;
        gate.switch(&upstream(next.address, "next")).await.unwrap();
        gate.release().await.unwrap();
        let reply = asked.await.unwrap().unwrap();
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "next"));
        assert_eq!(proxy.measure(from).await.requests.failed, 0);
    });
}

/// The app comes back at its old address.
async fn again(address: SocketAddr) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_request(&mut stream).await;
            ok(&mut stream).await;
        }
    })
}

/// C2: (a) the app dies over it, (b) it never answers, (c) it says 503 itself.
#[test]
fn an_order_reaches_one_instance_once() {
    test(async {
        let rows = Rc::new(Cell::new(0));
        let others = Rc::new(Cell::new(0));
        let count = Rc::clone(&rows);
        let first = App::raw(move |mut stream| {
            let rows = Rc::clone(&count);
            async move {
                let path = read_request(&mut stream).await;
                rows.set(rows.get() + 1);
                match path.as_deref() {
                    Some("/silent") => std::future::pending().await,
                    Some("/busy") => {
                        let busy = b"HTTP/1.1 503 Service Unavailable\r\nx-app: yes\r\ncontent-length: 4\r\n\r\nbusy";
                        stream.write_all(busy).await.unwrap();
                        read_request(&mut stream).await;
                    }
                    _ => {}
                }
            }
        })
        .await;
        let count = Rc::clone(&others);
        let second = App::start(move |_| {
            count.set(count.get() + 1);
            async { text("second") }
        })
        .await;
        let proxy = Running::start(Config { answer: Millis(200), ..Config::default() }).await;
        proxy.add("i-1", Some(first.address)).await;
        for (path, status, error) in [
            ("/dies", 502, Some("outcome-unknown")),
            ("/silent", 504, Some("timed-out")),
            ("/busy", 503, None),
        ] {
            let before = rows.get();
            // The second instance is there, and is not asked.
            let id = proxy.add("i-2", Some(second.address)).await;
            proxy.client.leave(&id).await.unwrap();
            let reply = say(proxy.address, "POST", path, "order").await.unwrap();
            assert_eq!((reply.status.as_u16(), reply.error()), (status, error), "{path}");
            assert_eq!((rows.get() - before, others.get()), (1, 0), "{path}");
            if path == "/busy" {
                assert_eq!((reply.text(), &reply.headers["x-app"]), ("busy", &"yes".parse().unwrap()));
            }
        }
    });
}

/// C1: the app closes idle connections after a time that it announces; orders are never on their way then.
#[test]
fn an_order_takes_no_connection_that_the_app_may_be_closing() {
    test(async {
        let seen = Seen::default();
        let all = Rc::clone(&seen);
        let app = App::raw(move |mut stream| {
            let seen = Rc::clone(&all);
            async move {
                let keep_alive = Duration::from_secs(1);
                while let Ok(Some(path)) = tokio::time::timeout(keep_alive, read_request(&mut stream)).await {
                    seen.borrow_mut().push(path);
                    let answer = b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 2\r\n\r\nok";
                    let _ = stream.write_all(answer).await;
                }
            }
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(app.address)).await;
        let from = now();
        let clients = (0..40_u64).map(|n| {
            let address = proxy.address;
            async move {
                let (mut open, mut sent) = (Conversation::open(address).await.unwrap(), 0);
                for round in 0..3 {
                    let method = if n % 2 == 0 { "POST" } else { "GET" };
                    let reply = open.say(method, "/", "").await.unwrap();
                    assert_eq!(reply.status, 200, "{method} {}", reply.text());
                    sent += 1;
                    // Around the moment at which the app closes.
                    tokio::time::sleep(Duration::from_millis(975 + (n * 7 + round * 13) % 50)).await;
                }
                sent
            }
        });
        let sent: u32 = futures_util::future::join_all(clients).await.into_iter().sum();
        assert_eq!(sent as usize, seen.borrow().len(), "each once");
        let requests = proxy.measure(from).await.requests;
        assert_eq!((requests.total, requests.failed), (u64::from(sent), 0));
    });
}
