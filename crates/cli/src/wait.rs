//! Waits: whoever waits for longer than a moment is told for whom, and until when.

use everup_host::local::client;
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// A wait that is over by then needs no word.
pub const MOMENT: Duration = Duration::from_secs(1);

/// `work`, of which `say` is called once it takes longer than a moment.
pub async fn told<T>(work: impl Future<Output = T>, say: impl FnOnce()) -> T {
    let mut work = pin!(work);
    match timeout(MOMENT, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            say();
            work.await
        }
    }
}

/// `work`, which ends `within` a time by itself; `say` gets the words about it.
pub async fn bounded<T>(
    what: &str,
    within: Duration,
    work: impl Future<Output = T>,
    say: impl FnOnce(&str),
) -> T {
    let left = within.saturating_sub(MOMENT).as_secs();
    told(work, || say(&format!("waiting for {what}, for at most {left} s"))).await
}

/// What the keeper is asked.
pub async fn keeper<T>(work: impl Future<Output = T>, say: impl FnOnce(&str)) -> T {
    bounded("the keeper to answer", client::PATIENCE, work, say).await
}
