//! The prober against a service that answers, refuses and cuts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Addresses, Agent, DEADLINE, HandClock, NOW, Options, http, instance, key, resolve, status};
use everup_core::head::{Current, Request};
use everup_core::ids::DeploymentId;
use everup_core::policy::Policy;
use everup_core::receipt::Window;
use everup_core::status::Status;
use everup_core::time::Wall;
use everup_engine::prober::{Outcome, Samples};
use everup_web::peers::HttpPeers;
use everup_web::prober::{Prober, Target, gather};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// A deployment runs: 20 requests a second.
fn deploying() -> Arc<Status> {
    let mut status = status(&instance("i1"));
    status.head.as_mut().unwrap().current = Some(Current {
        id: DeploymentId::new("d1").unwrap(),
        request: Request {
            to: common::release("2"),
            policy: Policy::default(),
            by: "ann".into(),
            at: Wall(NOW),
            from: None,
            migration: None,
            applied_before: None,
            take_back: None,
            idempotency: None,
        },
    });
    Arc::new(status)
}

const EVER: Window = Window { from: Wall(0), to: Wall(u64::MAX / 2) };

/// A service that answers each request with `answer` and counts its connections; an empty answer cuts.
async fn service(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, connections) = (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(0)));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream, answer));
        }
    });
    (address, connections)
}

async fn serve(mut stream: TcpStream, answer: &str) {
    let mut request = [0; 4_096];
    while matches!(stream.read(&mut request).await, Ok(1..)) && !answer.is_empty() {
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// Runs a prober until it has seen `most` requests end.
async fn probe(address: &str, most: usize) -> Samples {
    let target = Target::new(address, "shop.example", "/").unwrap();
    let prober = Prober::new(target, everup_web::clock::system());
    let (_status, board) = watch::channel(deploying());
    let (stop, stopping) = watch::channel(false);
    let running = {
        let prober = prober.clone();
        tokio::spawn(async move { prober.run(board, stopping).await })
    };
    let seen = timeout(DEADLINE, async {
        loop {
            let samples = prober.samples(EVER).await;
            if samples.samples.len() >= most {
                break samples;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    let samples = seen.await.expect("samples");
    stop.send(true).unwrap();
    timeout(DEADLINE, running).await.expect("the prober ends").unwrap();
    samples
}

fn outcomes(samples: &Samples) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = samples.samples.iter().map(|sample| sample.outcome).collect();
    outcomes.dedup();
    outcomes
}

#[tokio::test]
async fn good_answers_are_good_on_fresh_and_on_kept_connections() {
    let (address, connections) = service("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let samples = probe(&address, 6).await;
    assert_eq!(outcomes(&samples), [Outcome::Good]);
    let connections = connections.load(Ordering::SeqCst);
    assert!(connections >= 3 && connections < samples.samples.len(), "{connections}");
}

#[tokio::test]
async fn each_kind_of_failure_has_its_name() {
    for (answer, outcome) in [
        ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", Outcome::Status(503)),
        ("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", Outcome::Good),
        ("", Outcome::Cut),
    ] {
        let (address, _) = service(answer).await;
        assert_eq!(outcomes(&probe(&address, 3).await), [outcome], "{answer}");
    }
    // A socket that is bound and does not listen.
    let bound = tokio::net::TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound.local_addr().unwrap().to_string();
    assert_eq!(outcomes(&probe(&address, 3).await), [Outcome::Refused]);
}

#[tokio::test]
async fn an_answer_that_is_cut_in_its_body_is_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf").await;
        }
    });
    assert_eq!(outcomes(&probe(&address, 3).await), [Outcome::Cut]);
}

#[tokio::test]
async fn what_other_agents_saw_fills_the_window() {
    let addresses = Addresses::default();
    let other = Agent::start_with("i2", Options { addresses: addresses.clone(), ..Options::default() });
    let peers = HttpPeers::new(http(vec![key("a")], &HandClock::at(NOW)), resolve(&addresses));
    let own = Prober::new(Target::new("127.0.0.1:1", "x", "/").unwrap(), everup_web::clock::system());
    let window = Window { from: Wall(NOW), to: Wall(NOW + 10_000) };
    // This one has not asked anything.
    assert_eq!(gather(&own, &[], &peers, window, None).await.missing, [window]);
    // The other says that it saw all; a third cannot be reached and takes nothing away.
    let source = gather(&own, &[other.id.clone(), instance("i3")], &peers, window, None).await;
    assert!(source.missing.is_empty());
}
