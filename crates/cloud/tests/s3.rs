//! The S3 store against a real server. Its address is in `EVERUP_TEST_S3` (`cargo xtask test` starts one); the
//! credentials are in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, the bucket in `EVERUP_TEST_S3_BUCKET`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops at the first surprise, and says why"
)]

mod faulty;

use everup_cloud::s3::{Location, S3};
use everup_core::seams::{Got, Store, StoreError, Wrote};
use everup_release::shelf::Shelf;
use everup_sim::conformance;
use faulty::{Fault, Proxy};
use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

/// The store, below a prefix that no other run has; `None` if there is no server and none is required.
fn store(test: &str) -> Option<S3> {
    Some(store_at(test, endpoint()?))
}

fn endpoint() -> Option<String> {
    let Ok(endpoint) = std::env::var("EVERUP_TEST_S3") else {
        let required = std::env::var_os("EVERUP_TEST_REQUIRE").is_some();
        assert!(
            !required,
            "this test needs an S3 server: set EVERUP_TEST_S3 to its address, or run `cargo xtask test`"
        );
        eprintln!(
            "not run: it needs an S3 server, whose address is in EVERUP_TEST_S3; `cargo xtask test` starts one"
        );
        return None;
    };
    Some(endpoint)
}

fn store_at(test: &str, endpoint: String) -> S3 {
    let bucket = std::env::var("EVERUP_TEST_S3_BUCKET").unwrap_or_else(|_| "everup-test".into());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let url = format!("s3://{bucket}/{test}-{now}-{}", std::process::id());
    let location = Location::new(&url, Some(endpoint), Some("us-east-1".into())).unwrap();
    S3::new(&location).unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn it_keeps_the_contract_of_every_store() {
    let Some(store) = store("suite") else { return };
    run(conformance::all(&store, "suite/"));
}

#[test]
fn archives_are_stored_read_in_parts_and_removed() {
    let Some(store) = store("archives") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, size) in [("small", 10), ("large", 20 << 20)] {
        let body: Vec<u8> = (0..size).map(|n: u32| (n % 253) as u8).collect();
        let from = folder.path().join(name);
        std::fs::write(&from, &body).unwrap();
        let key = format!("releases/7/{name}.zip");
        run(async {
            assert_eq!(store.size(&key).await, Ok(None));
            assert_eq!(store.read(&key, 0, 4).await, Ok(None));
            store.put(&key, &from).await.unwrap();
            assert_eq!(store.size(&key).await, Ok(Some(body.len() as u64)));
            assert_eq!(store.read(&key, 3, 4).await, Ok(Some(body[3..7].to_vec())));
            assert_eq!(
                store.read(&key, body.len() as u64 - 2, 9).await,
                Ok(Some(body[body.len() - 2..].to_vec()))
            );
            assert_eq!(store.read(&key, body.len() as u64, 9).await, Ok(Some(vec![])));
            assert_eq!(store.list("releases/").await, Ok(vec![key.clone()]));
            store.delete(&key).await.unwrap();
            store.delete(&key).await.unwrap();
            assert_eq!(store.size(&key).await, Ok(None));
        });
    }
}

#[test]
fn a_wrong_secret_is_said_to_be_one() {
    let Some(endpoint) = endpoint() else { return };
    let location = Location::new("s3://everup-test/x", Some(endpoint), Some("us-east-1".into())).unwrap();
    let store = S3::with_credentials(&location, "everup", "wrong").unwrap();
    let error = run(store.get("local/head.json", None)).unwrap_err();
    assert_eq!(error.wanted, "read local/head.json");
    assert!(error.happened.contains("credentials may not"), "{error}");
}

const FAULTS: [Fault; 4] = [Fault::AnswerLost, Fault::Fails, Fault::Conflict, Fault::Busy];

/// C17: whatever becomes of the answers, writers that look for their own write take each step once.
#[test]
fn answers_that_are_lost_lose_nothing_and_do_nothing_twice() {
    let Some(endpoint) = endpoint() else { return };
    let proxy = Proxy::before(&endpoint);
    let store = store_at("faulty", proxy.endpoint());
    for fault in FAULTS {
        proxy.set(Some(fault));
        let key = format!("{fault:?}");
        let all = (0..3).map(|writer| add(&store, &key, writer));
        run(futures_util::future::join_all(all));
        let steps = run(read(&store, &key)).map(|(steps, _)| steps);
        let mut steps: Vec<String> = steps.unwrap().lines().map(str::to_owned).collect();
        steps.sort();
        assert_eq!(steps, ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2", "2-0", "2-1", "2-2"], "{fault:?}");
        assert!(proxy.met().len() >= 9, "{fault:?} was met by {:?}", proxy.met());
    }
}

/// Slow is not broken: the contract holds, the race in it included.
#[test]
fn a_slow_store_keeps_the_contract() {
    let Some(endpoint) = endpoint() else { return };
    let proxy = Proxy::before(&endpoint);
    proxy.delay(Duration::from_millis(30));
    run(conformance::all(&store_at("slow", proxy.endpoint()), "suite/"));
}

/// Of a write that nobody else meets, whatever is said of it: it is there to see, once. A rival's is not taken for it.
#[test]
fn a_writer_finds_its_own_write() {
    let Some(endpoint) = endpoint() else { return };
    let proxy = Proxy::before(&endpoint);
    let store = store_at("own", proxy.endpoint());
    for fault in FAULTS {
        let key = format!("{fault:?}");
        proxy.set(Some(fault));
        let created = run(store.create(&key, b"first".into()));
        is_told(fault, &created);
        let (body, etag) = run(read(&store, &key)).expect("what was not carried out was tried again");
        assert_eq!(body, "first", "{fault:?}");
        let replaced = run(store.replace(&key, &etag, b"second".into()));
        is_told(fault, &replaced);
        let (body, etag) = run(read(&store, &key)).unwrap();
        assert_eq!(body, "second", "{fault:?}");
        assert_eq!(proxy.met().len(), 2, "{fault:?}");
        // A rival's write wins, and is not taken for one's own.
        proxy.set(None);
        assert!(matches!(run(store.replace(&key, &etag, b"a rival's".into())), Ok(Wrote::Done(_))));
        proxy.set(Some(fault));
        let lost = run(store.replace(&key, &etag, b"third".into()));
        assert!(!matches!(lost, Ok(Wrote::Done(_))), "{fault:?}: {lost:?}");
        assert_eq!(run(read(&store, &key)).unwrap().0, "a rival's", "{fault:?}");
    }
}

/// A write that arrives when another has won, and its writer is gone, changes nothing.
#[test]
fn a_write_that_comes_late_loses() {
    let Some(endpoint) = endpoint() else { return };
    let proxy = Proxy::before(&endpoint);
    let store = store_at("late", proxy.endpoint());
    run(async {
        let Wrote::Done(etag) = store.create("object", b"first".into()).await.unwrap() else { panic!() };
        proxy.keep_back("late");
        tokio::select! {
            told = store.replace("object", &etag, b"late".into()) => panic!("{told:?}"),
            () = async { while proxy.waiting() == 0 { tokio::task::yield_now().await } } => {}
        }
        assert!(matches!(store.replace("object", &etag, b"second".into()).await, Ok(Wrote::Done(_))));
        proxy.let_go();
        assert_eq!(read(&store, "object").await.unwrap().0, "second");
    });
}

/// Of a write that was carried out and not so answered, nobody is told that all is well or that another was first,
/// unless it is so to see.
fn is_told(fault: Fault, told: &Result<Wrote, StoreError>) {
    let fits = match fault {
        Fault::AnswerLost | Fault::Silent => matches!(told, Err(_) | Ok(Wrote::Lost)),
        Fault::Fails => matches!(told, Ok(Wrote::Lost)),
        Fault::Conflict | Fault::Busy => matches!(told, Ok(Wrote::Done(_))),
    };
    assert!(fits, "{fault:?}: {told:?}");
}

async fn read(store: &S3, key: &str) -> Option<(String, everup_core::seams::Etag)> {
    match store.get(key, None).await.unwrap() {
        Got::Found { etag, body } => Some((String::from_utf8(body).unwrap(), etag)),
        _ => None,
    }
}

/// Adds three lines of its own to a shared object. A line that is there was added.
async fn add(store: &S3, key: &str, writer: u32) {
    for step in 0..3 {
        let own = format!("{writer}-{step}");
        loop {
            let found = read(store, key).await;
            let before = found.as_ref().map_or("", |(body, _)| body);
            if before.lines().any(|line| line == own) {
                break;
            }
            let body = format!("{before}{own}\n").into_bytes();
            // Whatever is said of it, the next look tells.
            let _ = match &found {
                Some((_, etag)) => store.replace(key, etag, body).await,
                None => store.create(key, body).await,
            };
        }
    }
}
