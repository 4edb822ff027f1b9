//! The balancer before proxies of ours: what such a proxy says it sent to nobody goes to another instance.

use crate::app::*;
use crate::client::*;
use crate::world::*;
use everup_core::gate::{Hold, HoldLimits};
use everup_core::ids::InstanceId;
use everup_core::seams::Gate;
use everup_core::time::Millis;
use everup_proxy::Config;
use everup_proxy::control::Behind;
use http_body_util::BodyExt;
use std::cell::Cell;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An instance: its app, and its own proxy.
struct Instance {
    app: App,
    proxy: Running,
}

impl Instance {
    async fn of(app: App) -> Self {
        let proxy = Running::start(Config::default()).await;
        proxy.add("i", Some(app.address)).await;
        Self { app, proxy }
    }
}

/// An app that answers with its name and the size of what it was sent.
async fn sizing(name: &'static str, orders: &Rc<Cell<u32>>) -> App {
    let orders = Rc::clone(orders);
    App::start(move |request| {
        orders.set(orders.get() + 1);
        async move {
            let size = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
            text(format!("{name} {size}"))
        }
    })
    .await
}

/// Two instances: the app of one is dead, and the other counts its orders.
async fn dead_and_alive() -> (Instance, Instance, Rc<Cell<u32>>) {
    let orders = Rc::default();
    let dead = Instance::of(App::named("dead").await).await;
    let lives = Instance::of(sizing("lives", &orders).await).await;
    dead.app.kill().await;
    (dead, lives, orders)
}

/// A balancer that asks `first` first.
async fn balancing(first: &Instance, second: &Instance) -> Running {
    let balancer = Running::start(Config::default()).await;
    add(&balancer, "i-1", first).await;
    add(&balancer, "i-2", second).await;
    balancer
}

async fn add(balancer: &Running, name: &str, instance: &Instance) -> InstanceId {
    balancer.add_before(Behind::Proxy, name, Some(instance.proxy.address)).await
}

/// Sends a request piece by piece; all of the answer, as text.
async fn dictate(balancer: &Running, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(balancer.address).await.unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn what_a_proxy_sent_to_nobody_goes_to_another_instance() {
    test(async {
        let orders = Rc::default();
        let dead = Instance::of(App::named("dead").await).await;
        let lives = Instance::of(sizing("lives", &orders).await).await;
        let balancer = Running::start(Config::default()).await;
        let from = now();
        let first = add(&balancer, "i-1", &dead).await;
        // A connection that has been used is there when the app dies.
        assert_eq!(get(balancer.address, "/").await.text(), "dead");
        dead.app.kill().await;
        // Each time the first one is asked first: nothing speaks against it.
        for (method, body, answer) in
            [("GET", "", "lives 0"), ("POST", "an order", "lives 8"), ("DELETE", "", "lives 0")]
        {
            balancer.client.remove_slot(&first).await.unwrap();
            add(&balancer, "i-1", &dead).await;
            let second = add(&balancer, "i-2", &lives).await;
            let reply = say(balancer.address, method, "/", body).await.unwrap();
            assert_eq!((reply.status.as_u16(), reply.text()), (200, answer), "{method}");
            balancer.client.remove_slot(&second).await.unwrap();
        }
        assert_eq!(orders.get(), 3, "each once");
        let reply = get(balancer.address, "/").await;
        assert_eq!(
            (reply.status.as_u16(), reply.error()),
            (502, Some("unreachable")),
            "nobody else is there"
        );
        let measured = balancer.measure(from).await.requests;
        assert_eq!((measured.total, measured.failed), (5, 1), "{measured:?}");
    });
}

/// What was handed on is kept only as long as it is little.
#[test]
fn a_long_upload_is_not_sent_twice() {
    test(async {
        let (dead, lives, orders) = dead_and_alive().await;
        let head = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        let short = balancing(&dead, &lives).await;
        let answer = dictate(&short, &[head, b"5\r\nhello\r\n", b"0\r\n\r\n"]).await;
        assert!(answer.ends_with("lives 5"), "{answer}");
        let long = balancing(&dead, &lives).await;
        let piece = [b"4e20\r\n".as_slice(), &[b'x'; 20_000], b"\r\n"].concat();
        let answer = dictate(&long, &[head, &piece, b"0\r\n\r\n"]).await;
        assert!(answer.contains("everup-error: unreachable"), "{answer}");
        assert_eq!(orders.get(), 1);
    });
}

/// Who expects to be told to go on is told by the one that takes the request.
#[test]
fn a_body_that_nobody_asked_for_yet_is_not_lost() {
    test(async {
        let (dead, lives, _orders) = dead_and_alive().await;
        let balancer = balancing(&dead, &lives).await;
        let mut stream = TcpStream::connect(balancer.address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut word = [0; 25];
        stream.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hello").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("lives 5"), "{answer}");
    });
}

/// An app cannot have its requests repeated: the header is ours.
#[test]
fn an_app_cannot_say_that_it_was_not_asked() {
    test(async {
        let orders = Rc::new(Cell::new(0));
        let claims = |orders: &Rc<Cell<u32>>| {
            let orders = Rc::clone(orders);
            App::start(move |_| {
                orders.set(orders.get() + 1);
                async {
                    let mut answer = text("no");
                    *answer.status_mut() = hyper::StatusCode::BAD_GATEWAY;
                    answer.headers_mut().insert("everup-error", "unreachable".parse().unwrap());
                    answer
                }
            })
        };
        let (one, two) = (claims(&orders).await, claims(&orders).await);
        let direct = Running::start(Config::default()).await;
        direct.add("i-1", Some(one.address)).await;
        direct.add("i-2", Some(two.address)).await;
        let reply = say(direct.address, "POST", "/", "order").await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.error(), orders.get()), (502, None, 1));
        let (one, two) = (Instance::of(one).await, Instance::of(two).await);
        let balancer = balancing(&one, &two).await;
        let reply = say(balancer.address, "POST", "/", "order").await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.error(), orders.get()), (502, None, 2));
    });
}

/// After a restart the balancer still knows what is behind a slot.
#[test]
fn what_is_behind_a_slot_is_remembered() {
    test(async {
        let (dead, lives, _orders) = dead_and_alive().await;
        let balancer = balancing(&dead, &lives).await;
        let balancer = balancer.restart().await;
        for _ in 0..4 {
            assert_eq!(get(balancer.address, "/").await.text(), "lives 0");
        }
    });
}

/// An instance goes while its proxy holds: whoever waits there is held, or answered, elsewhere.
#[test]
fn who_waits_at_a_proxy_that_is_closed_goes_to_another_instance() {
    test(async {
        let orders = Rc::default();
        let goes = Instance::of(App::named("goes").await).await;
        let stays = Instance::of(sizing("stays", &orders).await).await;
        let gate = id("i");
        goes.proxy.client.gate(gate.clone()).hold(&hold(1)).await.unwrap();
        let balancer = balancing(&goes, &stays).await;
        let from = now();
        let first = balancer.client.slots(0, Millis::ZERO).await.unwrap().slots[0].id.clone();
        let address = balancer.address;
        let asked = tokio::task::spawn_local(async move { say(address, "POST", "/", "an order").await });
        goes.proxy.until(&gate, |counts| counts.waiting == 1).await;
        balancer.client.remove_slot(&first).await.unwrap();
        goes.proxy.close(Millis(500)).await;
        let reply = asked.await.unwrap().unwrap();
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "stays 8"));
        assert_eq!(orders.get(), 1);
        let measured = balancer.measure(from).await.requests;
        assert_eq!((measured.total, measured.failed), (1, 0), "{measured:?}");
    });
}

/// The balancer's counts are what users got, whoever said it.
#[test]
fn what_a_proxy_of_ours_refuses_has_failed() {
    test(async {
        let app = Instance::of(App::named("one").await).await;
        let limits = HoldLimits { wait: Millis(30), ..HoldLimits::default() };
        app.proxy.client.gate(id("i")).hold(&Hold { limits, ..hold(1) }).await.unwrap();
        let balancer = Running::start(Config::default()).await;
        let from = now();
        add(&balancer, "i-1", &app).await;
        let reply = get(balancer.address, "/").await;
        assert_eq!((reply.status.as_u16(), reply.error()), (503, Some("waited-too-long")));
        let measured = balancer.measure(from).await.requests;
        assert_eq!((measured.total, measured.failed, measured.refused), (1, 1, 1), "{measured:?}");
    });
}
