//! Active health checks: what takes connections and does not answer is avoided.

use crate::app::*;
use crate::client::*;
use crate::drain::rest_of;
use crate::world::*;
use everup_core::ids::InstanceId;
use everup_core::seams::Gate;
use everup_core::time::Millis;
use everup_proxy::control::Behind;
use everup_proxy::{Ask, Check, Config};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// An app that can be made to hang: it takes connections and requests, and does not answer.
struct Moody {
    app: App,
    hangs: Rc<Cell<bool>>,
    /// Users' requests, answered or not.
    asked: Rc<Cell<u32>>,
}

impl Moody {
    async fn start(name: &'static str) -> Self {
        let (hangs, asked) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let (mood, count) = (Rc::clone(&hangs), Rc::clone(&asked));
        let app = App::start(move |request| {
            let checks = request.uri().path() == "/healthz";
            assert!(!checks || request.headers()["host"] == "shop.example");
            count.set(count.get() + u32::from(!checks));
            // All of an app that hangs does; but a test has to see which one was asked.
            let hangs = mood.get() && checks;
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                text(name)
            }
        })
        .await;
        Self { app, hangs, asked }
    }
}

fn config() -> Config {
    let ask = Ask::Http {
        path: "/healthz".to_owned(),
        host: Some("shop.example".to_owned()),
        forwarded_proto: None,
    };
    let check = Check { ask, interval: Millis(10), deadline: Millis(100), successes: 1, failures: 2 };
    Config { check: Some(check), ..Config::default() }
}

async fn until_healthy(proxy: &Running, id: &InstanceId, healthy: bool) {
    let mut seq = 0;
    loop {
        let slots = proxy.client.slots(seq, Millis(1_000)).await.unwrap();
        if slots.slots.iter().any(|slot| slot.id == *id && slot.healthy == healthy) {
            return;
        }
        seq = slots.seq;
    }
}

async fn who_answers(proxy: &Running) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for _ in 0..20 {
        all.insert(get(proxy.address, "/").await.text().to_owned());
    }
    all
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn an_app_that_hangs_gets_nothing_until_it_is_well_again() {
    test(async {
        let (one, two) = (Moody::start("one").await, Moody::start("two").await);
        let proxy = Running::start(config()).await;
        let from = now();
        let first = proxy.add("i-1", Some(one.app.address)).await;
        let second = proxy.add("i-2", Some(two.app.address)).await;
        assert_eq!(who_answers(&proxy).await, names(["one", "two"]));
        two.hangs.set(true);
        until_healthy(&proxy, &second, false).await;
        let before = two.asked.get();
        assert_eq!(who_answers(&proxy).await, names(["one"]));
        assert_eq!(two.asked.get(), before);
        one.hangs.set(true);
        until_healthy(&proxy, &first, false).await;
        assert_eq!(who_answers(&proxy).await, names(["one", "two"]), "nobody is well: all are used");
        two.hangs.set(false);
        until_healthy(&proxy, &second, true).await;
        assert_eq!(who_answers(&proxy).await, names(["two"]));
        assert_eq!(proxy.measure(from).await.requests.total, 80, "a check is nobody's request");
        assert_eq!(proxy.counts(&second).await.in_flight, 0);
    });
}

#[test]
fn an_app_that_has_just_been_switched_to_is_well() {
    test(async {
        let (old, new) = (Moody::start("old").await, Moody::start("new").await);
        let proxy = Running::start(config()).await;
        let id = proxy.add("i-1", Some(old.app.address)).await;
        old.hangs.set(true);
        until_healthy(&proxy, &id, false).await;
        proxy.client.gate(id.clone()).switch(&upstream(new.app.address, "second")).await.unwrap();
        until_healthy(&proxy, &id, true).await;
        assert_eq!(get(proxy.address, "/").await.text(), "new");
    });
}

/// Whoever knew how the apps are is dead: the next one asks before an interval has passed, and believes one failure.
#[test]
fn a_proxy_that_begins_again_asks_at_once() {
    test(async {
        let (one, two) = (Moody::start("one").await, Moody::start("two").await);
        let patient = |check: Check| Check { interval: Millis(3_600_000), failures: 9, ..check };
        let proxy = Running::start(Config { check: config().check.map(patient), ..config() }).await;
        proxy.add("i-1", Some(one.app.address)).await;
        let second = proxy.add("i-2", Some(two.app.address)).await;
        two.hangs.set(true);
        assert_eq!(who_answers(&proxy).await, names(["one", "two"]));
        let proxy = proxy.restart().await;
        until_healthy(&proxy, &second, false).await;
        assert_eq!(who_answers(&proxy).await, names(["one"]));
    });
}

/// What does not serve is not asked, and what is gone is forgotten.
#[test]
fn only_what_serves_is_asked() {
    test(async {
        let (one, two) = (Moody::start("one").await, Moody::start("two").await);
        let proxy = Running::start(config()).await;
        let first = proxy.add("i-1", Some(one.app.address)).await;
        proxy.client.leave(&first).await.unwrap();
        one.hangs.set(true);
        let second = proxy.add("i-2", Some(two.app.address)).await;
        two.hangs.set(true);
        until_healthy(&proxy, &second, false).await;
        until_healthy(&proxy, &first, true).await;
        proxy.client.remove_slot(&second).await.unwrap();
        let second = proxy.add("i-2", Some(two.app.address)).await;
        until_healthy(&proxy, &second, false).await;
    });
}

#[test]
fn a_port_that_takes_connections_is_enough_where_no_path_is_given() {
    test(async {
        let app = App::raw(|stream| async { drop(stream) }).await;
        let config = config();
        let check = config.check.map(|check| Check { ask: Ask::Tcp, ..check });
        let proxy = Running::start(Config { check, ..Config::default() }).await;
        let id = proxy.add("i-1", Some(app.address)).await;
        while app.connections.get() < 3 {
            tokio::task::yield_now().await;
        }
        until_healthy(&proxy, &id, true).await;
        app.kill().await;
        until_healthy(&proxy, &id, false).await;
    });
}

/// Before a proxy of ours the balancer asks that, which has asked its app.
#[test]
fn a_proxy_answers_for_its_app() {
    test(async {
        let app = Moody::start("one").await;
        let inner = Running::start(config()).await;
        let inner_id = inner.add("i-1", Some(app.app.address)).await;
        let outer = Running::start(config()).await;
        let id = outer.add_before(Behind::Proxy, "i-1", Some(inner.address)).await;
        let from = now();
        app.hangs.set(true);
        until_healthy(&outer, &id, false).await;
        app.hangs.set(false);
        until_healthy(&outer, &id, true).await;
        let gate = inner.client.gate(inner_id.clone());
        gate.hold(&hold(1)).await.unwrap();
        app.hangs.set(true);
        let mut held = TcpStream::connect(outer.address).await.unwrap();
        held.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        inner.until(&inner_id, |counts| counts.waiting == 1).await;
        assert_eq!(get(inner.address, "/.everup/app").await.status, 200, "what is held is not ill");
        app.hangs.set(false);
        gate.release().await.unwrap();
        assert!(rest_of(&mut held).await.ends_with(b"one"));
        assert_eq!(inner.measure(from).await.requests.total, 1, "a check is nobody's request");
    });
}
