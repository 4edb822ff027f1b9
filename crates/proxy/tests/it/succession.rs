//! A proxy that takes another's place: the port never refuses, and nobody's request is lost.

use crate::app::*;
use crate::client::*;
use crate::drain::{echo, open, rest_of};
use crate::world::*;
use everup_core::seams::Gate;
use everup_core::time::Millis;
use everup_proxy::{Config, RunError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

#[test]
fn a_successor_takes_over_under_load_and_nobody_notices() {
    test(async {
        let app = App::named("one").await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let from = now();
        let (reads, orders) = (Load::start(proxy.address, 8, "GET"), Load::start(proxy.address, 8, "POST"));
        orders.more(50).await;
        let mut successor = proxy.successor();
        // The first one ends by itself, when its last connection has.
        proxy.task.await.unwrap().unwrap();
        orders.more(50).await;
        reads.more(50).await;
        // Orders are taken as soon as the other has ended.
        while proxy.client.leave(&id).await.is_err() {
            assert!(!successor.is_finished(), "{:?}", (&mut successor).await);
            tokio::task::yield_now().await;
        }
        let sent = orders.all_good().await + reads.all_good().await;
        let source = proxy.client.measure(window(from)).await.unwrap();
        assert_eq!((source.requests.total, source.requests.failed), (u64::from(sent), 0), "both are counted");
    });
}

#[test]
fn an_idle_connection_is_not_closed_but_answered_for_the_last_time() {
    test(async {
        let app = App::named("one").await;
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(app.address)).await;
        let mut idle = Conversation::open(proxy.address).await.unwrap();
        idle.say("GET", "/", "").await.unwrap();
        let first = proxy.client.hello().await.unwrap().since;
        let _successor = proxy.successor();
        while proxy.client.hello().await.is_ok_and(|hello| hello.since == first) {
            tokio::task::yield_now().await;
        }
        assert!(!idle.is_closed() && !proxy.task.is_finished());
        let reply = idle.say("POST", "/", "order").await.unwrap();
        assert_eq!((reply.status.as_u16(), &reply.headers["connection"]), (200, &"close".parse().unwrap()));
        proxy.task.await.unwrap().unwrap();
    });
}

#[test]
fn a_proxy_that_holds_is_not_replaced() {
    test(async {
        let app = App::named("one").await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        proxy.client.gate(id.clone()).hold(&hold(1)).await.unwrap();
        let refused = proxy.successor().await.unwrap().unwrap_err();
        assert!(matches!(&refused, RunError::Refused(why) if why.contains("held")), "{refused}");
        proxy.client.gate(id).release().await.unwrap();
        assert_eq!(get(proxy.address, "/").await.text(), "one", "it goes on");
    });
}

#[test]
fn a_successor_that_fails_before_it_serves_changes_nothing() {
    test(async {
        let app = App::named("one").await;
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(app.address)).await;
        let mut failing = UnixStream::connect(proxy.client.path()).await.unwrap();
        failing.write_all(b"{\"do\":\"hand-over\"}\n").await.unwrap();
        let mut answer = [0; 64];
        let n = failing.read(&mut answer).await.unwrap();
        assert_eq!(&answer[..n], b"{\"done\":null}\n");
        let mut waiting = TcpStream::connect(proxy.address).await.unwrap();
        waiting.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        drop(failing);
        let mut reply = Vec::new();
        while !reply.ends_with(b"one") {
            assert_ne!(waiting.read_buf(&mut reply).await.unwrap(), 0, "it waited, and was served");
        }
    });
}

/// A WebSocket outlives the hand-over for a while, and is told when that is over.
#[test]
fn what_lasts_is_ended_well_before_the_first_one_ends() {
    test(async {
        let app = App::start(|request| async { echo(request) }).await;
        let proxy = Running::start(Config { client_idle: Millis(300), ..Config::default() }).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        let mut socket = open(&proxy, "/socket", "connection: upgrade\r\nupgrade: websocket\r\n").await;
        proxy.until(&id, |c| c.streams == 1).await;
        let _successor = proxy.successor();
        assert_eq!(rest_of(&mut socket).await, [0x88, 0x02, 0x03, 0xe9]);
        proxy.task.await.unwrap().unwrap();
    });
}

/// The socket is held by the keeper too: while no proxy lives, clients wait.
#[test]
fn the_port_does_not_refuse_while_the_proxy_is_dead() {
    test(async {
        let app = App::named("one").await;
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(app.address)).await;
        let address = proxy.address;
        proxy.task.abort();
        while !proxy.task.is_finished() {
            tokio::task::yield_now().await;
        }
        let asked = tokio::task::spawn_local(async move { get(address, "/").await });
        tokio::task::yield_now().await;
        let _proxy = proxy.restart().await;
        assert_eq!(asked.await.unwrap().text(), "one");
    });
}
