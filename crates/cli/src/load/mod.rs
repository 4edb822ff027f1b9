//! Users: a load generator that counts every answer and never sends a request twice.
//!
//! Its schedule is fixed beforehand (an open loop): a slow answer delays no other request, and time is counted from
//! the moment at which a request was due. A request that could not be sent is a failed one. A kind of which nothing
//! was answered is an error, never a pass. It lives on a thread of its own, so that whoever watches cannot slow it.

mod connection;
mod shot;
mod socket;
mod tally;

pub use tally::{Count, Miss, Tally};

use connection::Pool;
use shot::Kind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// What users do. A rate of 0 leaves a kind out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The service.
    pub address: SocketAddr,
    /// GETs of `/` a second.
    pub gets: u32,
    /// GETs a second of an answer that takes its time.
    pub slow: u32,
    /// How long that takes, in milliseconds.
    pub slow_ms: u32,
    /// POSTs to `/count` a second, each with an id of its own.
    pub posts: u32,
    /// Streams of five events over 400 ms, begun a second.
    pub streams: u32,
    /// WebSockets that are kept open; each says something every 200 ms.
    pub sockets: u32,
    /// An answer that is not complete after so long is a failure. Longer than any hold.
    pub deadline: Duration,
}

impl Plan {
    /// A little of everything.
    #[must_use]
    pub fn mixed(address: SocketAddr) -> Self {
        let deadline = Duration::from_secs(30);
        Self { address, gets: 50, slow: 5, slow_ms: 200, posts: 20, streams: 3, sockets: 1, deadline }
    }

    /// GETs of `/` alone, for servers that know nothing else.
    #[must_use]
    pub fn gets(address: SocketAddr, a_second: u32) -> Self {
        Self { gets: a_second, slow: 0, posts: 0, streams: 0, sockets: 0, ..Self::mixed(address) }
    }
}

/// The most requests that are under way at once; one more that is due is a failed one.
const MOST_AT_ONCE: usize = 4_000;

/// Users at work. Dropping it ends them as well.
#[derive(Debug)]
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Sends the first request now, and goes on until [`Load::end`].
    ///
    /// # Errors
    /// When the machine gives no thread or no runtime.
    pub fn start(plan: Plan) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (end, ended) = watch::channel(false);
        let shared = Arc::clone(&tally);
        let work = move || LocalSet::new().block_on(&runtime, users(plan, shared, ended));
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(work)?;
        Ok(Self { tally, end, thread: Some(thread) })
    }

    /// What was counted so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests ended so far, and how many of them failed.
    #[must_use]
    pub fn figures(&self) -> (u64, u64) {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        (tally.total(), tally.failed())
    }

    /// How many requests wait for their answer now.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).under_way
    }

    /// Sends nothing more, waits for the answers that are due, and says what was counted.
    #[must_use]
    pub fn end(mut self) -> Tally {
        self.join();
        self.tally()
    }

    fn join(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of it leaves a tally that shows what is missing.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}

/// What all users share.
struct Street {
    plan: Plan,
    tally: Arc<Mutex<Tally>>,
    pool: Pool,
}

impl Street {
    fn count(&self, with: impl FnOnce(&mut Tally)) {
        with(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn users(plan: Plan, tally: Arc<Mutex<Tally>>, ended: watch::Receiver<bool>) {
    let pool = Pool::new(plan.address);
    let street = Rc::new(Street { plan, tally, pool });
    let plan = &street.plan;
    let kinds = [
        (Kind::Get, plan.gets),
        (Kind::Slow, plan.slow),
        (Kind::Post, plan.posts),
        (Kind::Stream, plan.streams),
    ];
    let walkers = kinds.into_iter().filter(|(_, rate)| *rate > 0);
    let mut all: Vec<_> = walkers
        .map(|(kind, rate)| tokio::task::spawn_local(walk(Rc::clone(&street), kind, rate, ended.clone())))
        .collect();
    for _ in 0..plan.sockets {
        all.push(tokio::task::spawn_local(socket::keep(Rc::clone(&street), ended.clone())));
    }
    for one in all {
        let _ = one.await;
    }
}

/// Requests of one kind, each when it is due.
async fn walk(street: Rc<Street>, kind: Kind, rate: u32, mut ended: watch::Receiver<bool>) {
    let mut due = interval(Duration::from_secs(1) / rate);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut shots = tokio::task::JoinSet::new();
    let mut serial = 0_u64;
    loop {
        tokio::select! {
            biased;
            _ = ended.wait_for(|end| *end) => break,
            at = due.tick() => {
                serial += 1;
                while shots.try_join_next().is_some() {}
                if shots.len() >= MOST_AT_ONCE {
                    street.count(|t| t.miss(kind.name(), "too many requests wait for their answers"));
                } else {
                    shots.spawn_local(shot::fire(Rc::clone(&street), kind, serial, at));
                }
            }
        }
    }
    while shots.join_next().await.is_some() {}
}

/// Milliseconds since `due`.
fn since(due: Instant) -> u64 {
    u64::try_from(due.elapsed().as_millis()).unwrap_or(u64::MAX)
}
