//! Connections on which nothing happens are closed, and no others.

use crate::app::{App, text};
use crate::drain::rest_of;
use crate::world::{Running, test};
use everup_core::time::Millis;
use everup_proxy::Config;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

fn config() -> Config {
    Config { client_idle: Millis(300), ..Config::default() }
}

async fn connect(proxy: &Running, words: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(words.as_bytes()).await.unwrap();
    stream
}

#[test]
fn who_says_nothing_and_who_never_ends_a_head_is_closed() {
    test(async {
        let app = App::named("one").await;
        let proxy = Running::start(config()).await;
        proxy.add("i-1", Some(app.address)).await;
        for words in ["", "GE", "GET / HTTP/1.1\r\nhost: a\r\n"] {
            let mut stream = connect(&proxy, words).await;
            assert_eq!(rest_of(&mut stream).await, b"", "after {words:?}");
        }
        let mut used = connect(&proxy, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(rest_of(&mut used).await.ends_with(b"one"), "it is answered before it is closed");
    });
}

/// A request may take longer than a connection may be idle.
#[test]
fn who_waits_for_an_answer_is_not_idle() {
    test(async {
        let answer = Rc::new(Notify::new());
        let given = Rc::clone(&answer);
        let app = App::start(move |_| {
            let given = Rc::clone(&given);
            async move {
                given.notified().await;
                text("late")
            }
        })
        .await;
        let proxy = Running::start(config()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let mut waits = connect(&proxy, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        proxy.until(&id, |counts| counts.in_flight == 1).await;
        let mut idle = connect(&proxy, "").await;
        assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "one that came later is closed");
        answer.notify_one();
        assert!(rest_of(&mut waits).await.ends_with(b"late"));
    });
}
