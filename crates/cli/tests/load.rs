//! The load generator against servers whose failures are known.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use everup_cli::demo::app::App;
use everup_cli::demo::character::Character;
use everup_cli::demo::database::{self, Database};
use everup_cli::load::{Load, Plan, Tally};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

/// Waits until `load` has counted so many; panics when it takes too long.
fn until(load: &Load, fact: impl Fn(&Tally) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fact(&load.tally()) {
        assert!(Instant::now() < deadline, "{:?}", load.tally());
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A server that answers every request with `answer`, but breaks the one numbered `broken` off.
fn toy(answer: &'static str, broken: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (serial, connection) in listener.incoming().enumerate() {
            let mut connection = connection.unwrap();
            let mut bytes = [0; 4_096];
            let _ = connection.read(&mut bytes).unwrap();
            if serial != broken {
                connection.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    address
}

fn app(folder: &Path) -> (SocketAddr, Character) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let character = Character::default();
    let database = Database::open(&folder.join("db"), character.schema).unwrap();
    let app = App { version: "1".into(), instance: "i-1".into(), character, database };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let work = async { app.serve_on(tokio::net::TcpListener::from_std(listener).unwrap()).await };
        tokio::task::LocalSet::new().block_on(&runtime, work)
    });
    (address, character)
}

#[test]
fn one_dropped_request_of_many_is_one_failure() {
    let good = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    let load = Load::start(Plan::gets(toy(good, 7), 200)).unwrap();
    until(&load, |tally| tally.total() >= 20);
    let tally = load.end();
    assert_eq!(tally.failed(), 1, "{tally:?}");
    assert!(tally.misses[0].reason.starts_with("no answer"), "{tally:?}");
}

#[test]
fn an_answer_that_is_cut_or_that_the_app_did_not_give_is_a_failure() {
    for (answer, reason) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", "200 OK, then cut"),
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nsad", "502 Bad Gateway: sad"),
    ] {
        let load = Load::start(Plan::gets(toy(answer, usize::MAX), 100)).unwrap();
        until(&load, |tally| tally.failed() > 0);
        let tally = load.end();
        assert_eq!(tally.failed(), tally.total());
        assert!(tally.misses[0].reason.starts_with(reason), "{tally:?}");
    }
}

#[test]
fn where_nobody_answers_the_sample_is_empty() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plan = Plan::gets(address, 100);
    let load = Load::start(plan.clone()).unwrap();
    until(&load, |tally| tally.failed() > 0);
    assert_eq!(load.end().empty(&plan).as_deref(), Some("not one GET was answered"));
}

#[test]
fn the_demo_app_answers_all_of_it_and_counts_each_post_once() {
    let folder = tempfile::tempdir().unwrap();
    let (address, _) = app(folder.path());
    let plan = Plan::mixed(address);
    let load = Load::start(plan.clone()).unwrap();
    until(&load, |tally| tally.empty(&plan).is_none() && tally.total() > 50);
    let tally = load.end();
    assert_eq!(tally.failed(), 0, "{tally:?}");
    assert_eq!(tally.empty(&plan), None);
    let mut counted = database::counted(&folder.path().join("db")).unwrap();
    assert_eq!(tally.compare(&counted), Vec::<String>::new());
    counted.push(counted[0].clone());
    let lost = counted.remove(1);
    let complaints = tally.compare(&counted);
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints[0].contains(&lost));
}
