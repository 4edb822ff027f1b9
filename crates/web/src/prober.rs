//! Asks the service itself, as a user would: once a second, and while a deployment runs 40 times, shared by the fleet.
//!
//! Every request is sent when it is due, whatever became of those before, half of them on fresh connections and half
//! on kept ones, each once: what a retry would hide is what is looked for. The schedule and what it says of a window
//! are `everup_engine::prober`'s.

mod ask;

pub use ask::Target;

use crate::client::Failure;
use crate::clock::WallClock;
use crate::peers::HttpPeers;
use ask::Asker;
use everup_core::ids::InstanceId;
use everup_core::receipt::{Source, Window};
use everup_core::record::{Entry, Progress};
use everup_core::status::Status;
use everup_core::time::{Millis, Mono, Wall};
use everup_engine::prober::{BEFORE, Log, Moment, Samples, Slot, measure, merge};
use futures_util::future::join_all;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// Between two requests while nothing is deployed.
pub const IDLE: Millis = Millis(1_000);

/// Between two requests while a deployment runs, times the instances that share the work: those whose samples are
/// gathered. All at once, every one of these requests waits in the hold beside the users'.
const BUSY: Millis = Millis(25);

/// So many requests are under way at most: 20 a second, each for its whole time limit, and as many again.
const UNDER_WAY: usize = 1_200;

/// Requests under way at the end of a window are waited for so long: a coordinator waits for the samples, and has to
/// keep its lease meanwhile.
const SETTLED: Duration = Duration::from_secs(4);

/// So many other probers are asked for what they saw.
const ASKED: usize = 7;

/// One agent's prober.
#[derive(Clone)]
pub struct Prober(Arc<Inner>);

struct Inner {
    asker: Asker,
    clock: WallClock,
    began: Instant,
    log: Mutex<Log>,
    room: Arc<Semaphore>,
    /// Told whenever a request ended.
    ended: Notify,
}

impl Prober {
    /// A prober of `target`. It asks nothing before [`Prober::run`].
    #[must_use]
    pub fn new(target: Target, clock: WallClock) -> Self {
        Self(Arc::new(Inner {
            asker: Asker::new(target),
            clock,
            began: Instant::now(),
            log: Mutex::new(Log::new(Mono(0), IDLE)),
            room: Arc::new(Semaphore::new(UNDER_WAY)),
            ended: Notify::new(),
        }))
    }

    /// Asks until `stop` becomes true. The status tells whether a deployment runs.
    pub async fn run(&self, mut status: watch::Receiver<Arc<Status>>, mut stop: watch::Receiver<bool>) {
        loop {
            let pace = pace(&status.borrow_and_update());
            let next = self.send_due(pace);
            tokio::select! {
                () = sleep_until(next) => {}
                changed = status.changed() => if changed.is_err() { return },
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Sends what is due; when the next one will be.
    fn send_due(&self, pace: Millis) -> Instant {
        let now = self.0.now();
        let mut log = self.0.log();
        log.pace(now.mono, pace);
        for slot in log.due(now) {
            match self.0.room.clone().try_acquire_owned() {
                Ok(place) => {
                    let asked = self.0.clone().ask(slot);
                    tokio::spawn(async move {
                        asked.await;
                        drop(place);
                    });
                }
                Err(_) => log.missed(slot),
            }
        }
        self.0.began + Duration::from_millis(log.next().0)
    }

    /// What was seen in `window`, once all that was due in it has ended.
    pub async fn samples(&self, window: Window) -> Samples {
        let settled = async {
            loop {
                let mut ended = std::pin::pin!(self.0.ended.notified());
                ended.as_mut().enable();
                if self.0.log().is_settled(window) {
                    return;
                }
                ended.await;
            }
        };
        // What is still under way then is missing.
        let _ = timeout(SETTLED, settled).await;
        self.0.log().samples(window)
    }
}

impl Inner {
    fn now(&self) -> Moment {
        Moment { mono: Mono(Millis::from(self.began.elapsed()).0), wall: (self.clock)() }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(self: Arc<Self>, slot: Slot) {
        let sent = (self.clock)();
        let outcome = self.asker.ask(slot.number.is_multiple_of(2)).await;
        self.log().ended(slot, sent, (self.clock)(), outcome);
        self.ended.notify_waiters();
    }
}

/// Whether a deployment runs, as far as this agent knows.
fn pace(status: &Status) -> Millis {
    let is_wanted = status.head.as_ref().is_some_and(|head| head.current.is_some());
    let is_running = status.record.as_ref().is_some_and(|record| !record.state.is_final());
    if !is_wanted && !is_running {
        return IDLE;
    }
    // Who does not look at the fleet knows of the others by the record.
    let is_there = |entry: &&Entry| entry.progress != Progress::Gone;
    let in_record =
        status.record.iter().flat_map(|record| record.instances.values()).filter(is_there).count();
    // One alone keeps to half of it: 40 a second are a load of their own for the only instance.
    let sharing = status.instances.len().max(in_record).clamp(2, 1 + ASKED);
    BUSY.times(sharing as u64)
}

/// What this agent's prober and those of `others` saw of `window`, together. One that does not answer adds nothing:
/// what only it saw is missing. What they saw from `settled` on is "after".
pub async fn gather(
    own: &Prober,
    others: &[InstanceId],
    peers: &HttpPeers,
    window: Window,
    settled: Option<Wall>,
) -> Source {
    let wider = Window { from: window.from - BEFORE, to: window.to };
    let asked = join_all(others.iter().take(ASKED).map(|other| from_peer(other, peers, wider)));
    let (own, asked) = tokio::join!(own.samples(wider), asked);
    let seen = merge(asked.into_iter().flatten().chain([own]));
    let source = measure(&seen, window);
    match settled {
        Some(from) => source.ending_as(&measure(&seen, Window { from: from.min(window.to), ..window })),
        None => source,
    }
}

async fn from_peer(other: &InstanceId, peers: &HttpPeers, window: Window) -> Option<Samples> {
    let samples: Result<_, Failure> = async { peers.client(other)?.probes(window).await }.await;
    samples.inspect_err(|failure| tracing::info!(%other, %failure, "a prober's samples are missing")).ok()
}
