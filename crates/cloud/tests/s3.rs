//! The S3 store against a real server. Its address is in `EVERUP_TEST_S3` (`cargo xtask test` starts one); the
//! credentials are in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, the bucket in `EVERUP_TEST_S3_BUCKET`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops at the first surprise, and says why"
)]

use everup_cloud::s3::{Location, S3};
use everup_core::seams::Store;
use everup_release::shelf::Shelf;
use everup_sim::conformance;
use std::time::{SystemTime, UNIX_EPOCH};

/// The store, below a prefix that no other run has; `None` if there is no server and none is required.
fn store(test: &str) -> Option<S3> {
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
    let bucket = std::env::var("EVERUP_TEST_S3_BUCKET").unwrap_or_else(|_| "everup-test".into());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let url = format!("s3://{bucket}/{test}-{now}-{}", std::process::id());
    let location = Location::new(&url, Some(endpoint), Some("us-east-1".into())).unwrap();
    Some(S3::new(&location).unwrap())
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
    let Some(endpoint) = std::env::var("EVERUP_TEST_S3").ok() else { return };
    let location = Location::new("s3://everup-test/x", Some(endpoint), Some("us-east-1".into())).unwrap();
    let store = S3::with_credentials(&location, "everup", "wrong").unwrap();
    let error = run(store.get("local/head.json", None)).unwrap_err();
    assert_eq!(error.wanted, "read local/head.json");
    assert!(error.happened.contains("credentials may not"), "{error}");
}
