//! Requests and answers in quiet times.

use crate::app::*;
use crate::client::*;
use crate::world::*;
use everup_core::time::Millis;
use everup_proxy::Config;
use hyper::Response;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

#[test]
fn a_request_reaches_the_app_and_its_answer_the_client() {
    test(async {
        let app = App::start(|request| async move {
            let headers = request.headers();
            let seen = format!(
                "{} {} host={} for={} proto={}",
                request.method(),
                request.uri(),
                headers["host"].to_str().unwrap(),
                headers["x-forwarded-for"].to_str().unwrap(),
                headers["x-forwarded-proto"].to_str().unwrap()
            );
            text(seen)
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let reply = get(proxy.address, "/a?b=c").await;
        assert_eq!(reply.text(), "GET /a?b=c host=shop.example for=127.0.0.1 proto=http");
        assert_eq!(reply.error(), None);
        proxy.until(&id, |c| c.in_flight == 0).await;
    });
}

#[test]
fn connections_to_the_app_are_used_again() {
    test(async {
        let app = App::named("one").await;
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(app.address)).await;
        for method in ["GET", "POST", "GET", "POST"] {
            assert_eq!(say(proxy.address, method, "/", "").await.unwrap().text(), "one");
        }
        assert_eq!(app.connections.get(), 1);
    });
}

#[test]
fn the_proxy_answers_for_its_own_health_whatever_its_gates_do() {
    test(async {
        let proxy = Running::start(Config::default()).await;
        assert_eq!(get(proxy.address, "/.everup/health").await.status, 200);
        proxy.add("i-1", None).await;
        assert_eq!(get(proxy.address, "/.everup/health").await.status, 200);
    });
}

#[test]
fn without_any_instance_it_says_so() {
    test(async {
        let proxy = Running::start(Config::default()).await;
        let from = now();
        let reply = get(proxy.address, "/").await;
        assert_eq!((reply.status.as_u16(), reply.error()), (503, Some("no-instance")));
        assert!(reply.headers.contains_key("retry-after"));
        let source = proxy.measure(from).await;
        assert_eq!((source.requests.total, source.requests.refused, source.requests.failed), (1, 1, 1));
    });
}

/// C3: answers that have a length, or say that they are chunked, and have no body.
#[test]
fn answers_without_a_body_are_complete_at_once() {
    test(async {
        let app = App::raw(|mut stream| async move {
            let mut buffer = [0; 4_096];
            loop {
                let n = stream.read(&mut buffer).await.unwrap_or(0);
                if n == 0 {
                    return;
                }
                let head = String::from_utf8_lossy(&buffer[..n]);
                let answer: &[u8] = match head.split(' ').take(2).collect::<Vec<_>>()[..] {
                    ["HEAD", "/chunked"] => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                    ["HEAD", "/length"] => b"HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n",
                    ["GET", "/304"] => b"HTTP/1.1 304 Not Modified\r\ncontent-length: 12345\r\n\r\n",
                    ["GET", "/204"] => b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
                    _ => b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
                };
                stream.write_all(answer).await.unwrap();
            }
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let mut open = TcpStream::connect(proxy.address).await.unwrap();
        let mut ask = async |request: &str| {
            open.write_all(format!("{request} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") && !answer.ends_with(b"body") {
                open.read_buf(&mut answer).await.unwrap();
            }
            String::from_utf8(answer).unwrap().to_ascii_lowercase()
        };
        let chunked = ask("HEAD /chunked").await;
        assert!(chunked.starts_with("http/1.1 200"), "{chunked}");
        assert!(ask("HEAD /length").await.contains("content-length: 12345"));
        let unmodified = ask("GET /304").await;
        assert!(unmodified.contains("304") && unmodified.contains("content-length: 12345"), "{unmodified}");
        assert!(!unmodified.contains("chunked"), "{unmodified}");
        let empty = ask("GET /204").await;
        assert!(empty.contains("204") && !empty.contains("chunked"), "{empty}");
        assert!(ask("GET /").await.ends_with("body"));
        proxy.until(&id, |c| c.in_flight == 0).await;
        assert_eq!(app.connections.get(), 1, "each was complete");
    });
}

/// C5: each event arrives before the next is made.
#[test]
fn events_arrive_one_by_one() {
    test(async {
        let told = Rc::new(Notify::new());
        let app = App::start(move |request| {
            let told = Rc::clone(&told);
            async move {
                if request.uri().path() == "/ack" {
                    told.notify_one();
                    return text("");
                }
                let (events, body) = stream();
                tokio::task::spawn_local(async move {
                    for _ in 0..100 {
                        events.send("data: twenty bytes.\n\n").unwrap();
                        told.notified().await;
                    }
                });
                let mut response = Response::new(body);
                response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
                response
            }
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let mut open = TcpStream::connect(proxy.address).await.unwrap();
        open.write_all(b"GET /events HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        for n in 1..=100 {
            while String::from_utf8_lossy(&answer).matches("data:").count() < n {
                assert_ne!(open.read_buf(&mut answer).await.unwrap(), 0);
            }
            assert_eq!(proxy.counts(&id).await.streams, 1);
            get(proxy.address, "/ack").await;
        }
        while !answer.ends_with(b"0\r\n\r\n") {
            assert_ne!(open.read_buf(&mut answer).await.unwrap(), 0);
        }
        proxy.until(&id, |c| c.streams == 0 && c.in_flight == 0).await;
    });
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    test(async {
        let app = App::named("one").await;
        let config = Config { body_bytes: Some(4), ..Config::default() };
        let proxy = Running::start(config).await;
        proxy.add("i-1", Some(app.address)).await;
        assert_eq!(say(proxy.address, "POST", "/", "1234").await.unwrap().status, 200);
        assert_eq!(say(proxy.address, "POST", "/", "12345").await.unwrap().status, 413);
    });
}

/// An app that never answers is given up.
#[test]
fn an_app_that_says_nothing_is_given_up() {
    test(async {
        let app = App::start(|_| std::future::pending()).await;
        let config = Config { answer: Millis(50), ..Config::default() };
        let proxy = Running::start(config).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let from = now();
        let reply = get(proxy.address, "/").await;
        assert_eq!((reply.status.as_u16(), reply.error()), (504, Some("timed-out")));
        assert_eq!(proxy.measure(from).await.requests.outcome_unknown, 1);
        proxy.until(&id, |c| c.in_flight == 0).await;
    });
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    test(async {
        let app = App::named("one").await;
        let proxy = Running::start(Config { head_bytes: 16 << 10, ..Config::default() }).await;
        proxy.add("i-1", Some(app.address)).await;
        let answer = async |bytes: usize| {
            let mut stream = TcpStream::connect(proxy.address).await.unwrap();
            let head =
                format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: {}\r\n\r\n", "x".repeat(bytes));
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            String::from_utf8(answer).unwrap()
        };
        assert!(answer(8 << 10).await.starts_with("HTTP/1.1 200"));
        let refused = answer(17 << 10).await;
        assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
    });
}
