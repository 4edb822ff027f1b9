//! What every store must do, as one suite: the folder, S3, and the simulated one pass it alike.
//!
//! Each test works below a prefix of its own, so that a suite can run in a bucket that others use. The suite ends in
//! races: what is written at once must be written once.

mod race;

pub use race::{increment, sum};

use everup_core::seams::{Etag, Got, Store, StoreError, Wrote};

/// Runs the whole suite on `store`, below `prefix` (which ends with `/`, and under which nothing is yet).
///
/// # Panics
/// When the store does not keep the contract; the message says which part.
pub async fn all(store: &impl Store, prefix: &str) {
    missing(store, &format!("{prefix}missing/")).await;
    create(store, &format!("{prefix}create/")).await;
    replace(store, &format!("{prefix}replace/")).await;
    unless(store, &format!("{prefix}unless/")).await;
    own_write(store, &format!("{prefix}own/")).await;
    bodies(store, &format!("{prefix}bodies/")).await;
    list(store, &format!("{prefix}list/")).await;
    race::creators(store, &format!("{prefix}creators/")).await;
    race::increments(store, &format!("{prefix}increments/")).await;
}

/// The body and the etag of `key`, which must be there.
async fn found(store: &impl Store, key: &str) -> (Vec<u8>, Etag) {
    match store.get(key, None).await {
        Ok(Got::Found { etag, body }) => (body, etag),
        other => panic!("{key} should be there: {other:?}"),
    }
}

fn done(wrote: Result<Wrote, StoreError>, what: &str) -> Etag {
    match wrote {
        Ok(Wrote::Done(etag)) => etag,
        other => panic!("{what} should have been done: {other:?}"),
    }
}

/// A key that was never written is missing, whatever the caller has; replacing it is lost.
async fn missing(store: &impl Store, prefix: &str) {
    let key = format!("{prefix}never");
    let etag = Etag("0123456789abcdef".into());
    assert_eq!(store.get(&key, None).await, Ok(Got::Missing));
    assert_eq!(store.get(&key, Some(&etag)).await, Ok(Got::Missing));
    assert_eq!(store.replace(&key, &etag, b"x".into()).await, Ok(Wrote::Lost), "replacing what is missing");
    assert_eq!(store.get(&key, None).await, Ok(Got::Missing), "a lost replace leaves nothing");
}

/// The first creation is done, the second is lost and changes nothing.
async fn create(store: &impl Store, prefix: &str) {
    let key = format!("{prefix}object");
    let etag = done(store.create(&key, b"first".into()).await, "the first creation");
    assert_eq!(
        found(store, &key).await,
        (b"first".to_vec(), etag.clone()),
        "the etag of a write is that of a read"
    );
    assert_eq!(store.create(&key, b"second".into()).await, Ok(Wrote::Lost));
    assert_eq!(store.create(&key, b"first".into()).await, Ok(Wrote::Lost), "the same bytes are no exception");
    assert_eq!(found(store, &key).await, (b"first".to_vec(), etag));
}

/// Only who has the present etag replaces; each write has another one, and an old one never comes back.
async fn replace(store: &impl Store, prefix: &str) {
    let key = format!("{prefix}object");
    let one = done(store.create(&key, b"write 1".into()).await, "the creation");
    let two = done(store.replace(&key, &one, b"write 2".into()).await, "the replacement");
    assert_ne!(one, two, "another body has another etag");
    assert_eq!(store.replace(&key, &one, b"late".into()).await, Ok(Wrote::Lost), "an old etag");
    assert_eq!(found(store, &key).await, (b"write 2".to_vec(), two.clone()));
    let three = done(store.replace(&key, &two, b"write 3".into()).await, "the second replacement");
    assert!(three != one && three != two, "an etag never comes back");
}

/// `unless` saves the body while it is the same, and only then.
async fn unless(store: &impl Store, prefix: &str) {
    let key = format!("{prefix}object");
    let one = done(store.create(&key, b"write 1".into()).await, "the creation");
    assert_eq!(store.get(&key, Some(&one)).await, Ok(Got::Unchanged));
    let two = done(store.replace(&key, &one, b"write 2".into()).await, "the replacement");
    let now = Got::Found { etag: two.clone(), body: b"write 2".into() };
    assert_eq!(store.get(&key, Some(&one)).await, Ok(now), "it changed since");
    assert_eq!(store.get(&key, Some(&two)).await, Ok(Got::Unchanged));
}

/// A writer that was not told of its success is told `Lost` the next time, and finds its own write id.
async fn own_write(store: &impl Store, prefix: &str) {
    let key = format!("{prefix}object");
    let body = br#"{"write":"w-1"}"#.to_vec();
    let one = done(store.create(&key, body.clone()).await, "the creation");
    assert_eq!(store.create(&key, body.clone()).await, Ok(Wrote::Lost));
    assert_eq!(found(store, &key).await.0, body, "the loser finds its own write");
    let body = br#"{"write":"w-2"}"#.to_vec();
    done(store.replace(&key, &one, body.clone()).await, "the replacement");
    assert_eq!(store.replace(&key, &one, body.clone()).await, Ok(Wrote::Lost));
    assert_eq!(found(store, &key).await.0, body, "the loser finds its own write");
}

/// Bodies come back as they were: empty ones, binary ones, large ones.
async fn bodies(store: &impl Store, prefix: &str) {
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for (name, body) in [("empty", vec![]), ("binary", vec![0, 255, 10, 13, 0]), ("large", large)] {
        let key = format!("{prefix}{name}");
        done(store.create(&key, body.clone()).await, name);
        assert!(found(store, &key).await.0 == body, "{name} came back otherwise");
    }
}

/// A list is complete, sorted, holds only what begins with the prefix, and sees every write that ended before.
async fn list(store: &impl Store, prefix: &str) {
    assert_eq!(store.list(prefix).await, Ok(vec![]), "nothing is there yet");
    let names = ["b", "a.json", "a/z", "a/b/c", "a+1", "a-1", "ab"];
    let mut keys = Vec::new();
    for name in names {
        let key = format!("{prefix}{name}");
        done(store.create(&key, name.into()).await, name);
        keys.push(key);
        keys.sort();
        assert_eq!(store.list(prefix).await.as_ref(), Ok(&keys), "after {name} was written");
    }
    let below = vec![format!("{prefix}a/b/c"), format!("{prefix}a/z")];
    assert_eq!(store.list(&format!("{prefix}a/")).await, Ok(below));
    assert_eq!(store.list(&format!("{prefix}none/")).await, Ok(vec![]));
}
