//! Writers at once.

use everup_core::seams::{Got, Store, StoreError, Wrote};
use futures_util::future::join_all;

const WORKERS: usize = 5;
const ROUNDS: u64 = 10;

/// Of several creators of one key, one wins, and what is there is what it wrote.
pub(super) async fn creators(store: &impl Store, prefix: &str) {
    for round in 0..ROUNDS {
        let key = format!("{prefix}{round}");
        let bids = join_all((0..WORKERS).map(|worker| {
            let body = format!("worker {worker}").into_bytes();
            store.create(&key, body)
        }))
        .await;
        let winners: Vec<usize> = (0..WORKERS).filter(|n| matches!(bids[*n], Ok(Wrote::Done(_)))).collect();
        assert_eq!(winners.len(), 1, "one creator wins: {bids:?}");
        let winner = format!("worker {}", winners[0]).into_bytes();
        assert_eq!(super::found(store, &key).await.0, winner, "what is there is the winner's");
    }
}

/// Workers that count one number up at once lose no step and take none twice.
pub(super) async fn increments(store: &impl Store, prefix: &str) {
    let key = format!("{prefix}number");
    join_all((0..WORKERS).map(|n| increment(store, &key, n as u64, ROUNDS))).await;
    assert_eq!(sum(store, &key).await, WORKERS as u64 * ROUNDS, "every increment counts once");
}

/// Counts the number in `key` up by `rounds`, one compare-and-swap each. Several processes may do so at once;
/// `worker` tells them apart.
///
/// # Panics
/// When the store fails, or one step takes 10,000 attempts.
pub async fn increment(store: &impl Store, key: &str, worker: u64, rounds: u64) {
    for round in 0..rounds {
        let mut attempts = 0;
        while !step(store, key, &format!("{worker}-{round}")).await.expect("the store answers") {
            attempts += 1;
            assert!(attempts < 10_000, "step {round} of worker {worker} does not come through");
        }
    }
}

/// The number in `key`.
///
/// # Panics
/// When there is none.
pub async fn sum(store: &impl Store, key: &str) -> u64 {
    let (body, _) = super::found(store, key).await;
    number(&body)
}

/// One attempt at one step; whether it counts. The body carries a write id, so that a success that was reported as
/// a loss is recognised.
async fn step(store: &impl Store, key: &str, id: &str) -> Result<bool, StoreError> {
    let wrote = match store.get(key, None).await? {
        Got::Missing => store.create(key, format!("1 {id}").into_bytes()).await?,
        Got::Found { etag, body } => {
            if written_by(&body) == id {
                return Ok(true);
            }
            store.replace(key, &etag, format!("{} {id}", number(&body) + 1).into_bytes()).await?
        }
        Got::Unchanged => panic!("nobody said what is known of {key}"),
    };
    Ok(matches!(wrote, Wrote::Done(_)))
}

fn text(body: &[u8]) -> (&str, &str) {
    std::str::from_utf8(body).ok().and_then(|text| text.split_once(' ')).expect("a number and a write id")
}

fn number(body: &[u8]) -> u64 {
    text(body).0.parse().expect("a number")
}

fn written_by(body: &[u8]) -> &str {
    text(body).1
}
