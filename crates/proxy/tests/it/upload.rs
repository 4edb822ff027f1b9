//! Bodies on their way to the app.

use crate::app::*;
use crate::client::*;
use crate::world::*;
use everup_core::seams::Gate;
use everup_proxy::Config;
use http_body_util::BodyExt;
use std::cell::Cell;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const EXPECTING: &str = "PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";

async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(end.as_bytes()) {
        assert_ne!(stream.read(&mut byte).await.unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    String::from_utf8(seen).unwrap()
}

/// The client is told to go on when the app says so.
#[test]
fn who_expects_to_be_told_to_go_on_is_told_by_the_app() {
    test(async {
        let told = Rc::new(Cell::new(false));
        let tells = Rc::clone(&told);
        let app = App::raw(move |mut stream| {
            let tells = Rc::clone(&tells);
            async move {
                let head = until(&mut stream, "\r\n\r\n").await;
                assert!(head.contains("expect: 100-continue"), "{head}");
                tells.set(true);
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
                until(&mut stream, "order").await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
            }
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let gate = proxy.client.gate(id.clone());
        gate.hold(&hold(1)).await.unwrap();
        let mut open = TcpStream::connect(proxy.address).await.unwrap();
        open.write_all(EXPECTING.as_bytes()).await.unwrap();
        proxy.until(&id, |c| c.waiting == 1).await;
        gate.release().await.unwrap();
        assert_eq!(until(&mut open, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        assert!(told.get(), "by the app, not by the proxy in its name");
        open.write_all(b"order").await.unwrap();
        assert!(until(&mut open, "done").await.starts_with("HTTP/1.1 200"));
    });
}

/// The app refuses from the head alone: the client hears that, and is never told to go on.
#[test]
fn who_is_refused_from_the_head_alone_sends_no_body() {
    test(async {
        let app = App::raw(|mut stream| async move {
            until(&mut stream, "\r\n\r\n").await;
            let answer =
                b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig";
            stream.write_all(answer).await.unwrap();
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let mut open = TcpStream::connect(proxy.address).await.unwrap();
        open.write_all(EXPECTING.as_bytes()).await.unwrap();
        let answer = until(&mut open, "big").await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        proxy.until(&id, |c| c.in_flight == 0).await;
    });
}

/// An app that does not know the word gets the body after a while.
#[test]
fn an_app_that_says_nothing_gets_the_body_all_the_same() {
    test(async {
        let app = App::raw(|mut stream| async move {
            until(&mut stream, "order").await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(app.address)).await;
        let mut open = TcpStream::connect(proxy.address).await.unwrap();
        open.write_all(EXPECTING.as_bytes()).await.unwrap();
        until(&mut open, "100 Continue\r\n\r\n").await;
        open.write_all(b"order").await.unwrap();
        until(&mut open, "done").await;
    });
}

/// C46: a body of unknown length arrives whole, whatever the method; two lengths never arrive.
#[test]
fn a_body_is_framed_as_it_was_understood() {
    test(async {
        let app = App::start(|request| async move {
            let lengths = request.headers().get_all("content-length").iter().count();
            let chunked = request.headers().contains_key("transfer-encoding");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            text(format!("{lengths} {chunked} {}", body.len()))
        })
        .await;
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(app.address)).await;
        let chunked = "transfer-encoding: chunked\r\n\r\n5\r\norder\r\n0\r\n\r\n";
        let asks = [
            (format!("DELETE / HTTP/1.1\r\nhost: a\r\n{chunked}"), "0 true 5"),
            (format!("GET / HTTP/1.1\r\nhost: a\r\n{chunked}"), "0 true 5"),
            ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\norder".to_owned(), "1 false 5"),
            ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".to_owned(), "1 false 0"),
        ];
        for (ask, expected) in asks {
            let mut open = TcpStream::connect(proxy.address).await.unwrap();
            open.write_all(ask.as_bytes()).await.unwrap();
            assert!(until(&mut open, expected).await.starts_with("HTTP/1.1 200"), "{ask}");
        }
        for refused in
            ["content-length: 5\r\ncontent-length: 6\r\n\r\norder", "transfer-encoding: \tchunked, x\r\n\r\n"]
        {
            let mut open = TcpStream::connect(proxy.address).await.unwrap();
            open.write_all(format!("POST / HTTP/1.1\r\nhost: a\r\n{refused}").as_bytes()).await.unwrap();
            let answer = until(&mut open, "\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{refused}: {answer}");
        }
    });
}

/// The app answers and has not read it all: its answer arrives, and its connection is not used again.
#[test]
fn an_early_answer_arrives() {
    test(async {
        let app = App::start(|_| async { text("early") }).await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let mut open = TcpStream::connect(proxy.address).await.unwrap();
        open.write_all(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\npart").await.unwrap();
        assert!(until(&mut open, "early").await.starts_with("HTTP/1.1 200"));
        proxy.until(&id, |c| c.in_flight == 0).await;
        assert_eq!(get(proxy.address, "/").await.text(), "early");
        assert_eq!(app.connections.get(), 2);
    });
}
