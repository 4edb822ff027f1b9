//! Connections to the apps: kept by slot, taken while they are fresh, closed by us.

use crate::config::Config;
use crate::control::Behind;
use crate::io::{Counted, Traffic};
use crate::upload::Upload;
use everup_core::gate::machine::SlotKey;
use hyper::client::conn::http1::{self, SendRequest};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// A request that may not be sent twice takes no connection that has been idle for longer: apps close idle ones, and
/// a request that meets the close is one of which nobody knows what became of it.
const FRESH: Duration = Duration::from_secs(1);

/// Which app a connection leads to: one address of one slot, since its last switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) slot: SlotKey,
    pub(crate) epoch: u32,
    pub(crate) address: SocketAddr,
    pub(crate) behind: Behind,
}

/// One connection, in use by one request.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) way: Way,
    pub(crate) sender: SendRequest<Upload>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) task: AbortHandle,
    /// How often its slot's connections had been closed when it was opened.
    generation: u32,
    /// It has carried a request before.
    pub(crate) used: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
    until: Instant,
}

/// The idle ones.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: RefCell<BTreeMap<SlotKey, Vec<Idle>>>,
    closed: RefCell<BTreeMap<SlotKey, u32>>,
    connect: Duration,
    most: usize,
    lasts: Duration,
    filled: Notify,
}

impl Pool {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            idle: RefCell::default(),
            closed: RefCell::default(),
            connect: config.connect.as_duration(),
            most: config.app_connections as usize,
            lasts: config.app_idle.as_duration(),
            filled: Notify::new(),
        }
    }

    /// The one that was used last; for a request that may not be sent twice only if that was just now.
    pub(crate) fn take(&self, way: Way, repeatable: bool, now: Instant) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let idle = idle.get_mut(&way.slot)?;
        idle.retain(|i| i.connection.way == way && i.until > now && !i.connection.sender.is_closed());
        idle.pop_if(|i| repeatable || now.saturating_duration_since(i.since) < FRESH).map(|i| i.connection)
    }

    /// Keeps a connection whose answer is complete. The app may have said for how long it does, too.
    pub(crate) fn put(self: &Rc<Self>, connection: Connection, announced: Option<Duration>, now: Instant) {
        if connection.sender.is_ready() {
            return self.keep(connection, announced, now);
        }
        if connection.sender.is_closed() {
            return;
        }
        // Its last bytes are being read still.
        let pool = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let mut connection = connection;
            if connection.sender.ready().await.is_ok() {
                pool.keep(connection, announced, Instant::now());
            }
        });
    }

    fn keep(&self, connection: Connection, announced: Option<Duration>, since: Instant) {
        let lasts = announced.map_or(self.lasts, |told| self.lasts.min(with_margin(told)));
        let mut idle = self.idle.borrow_mut();
        let idle = idle.entry(connection.way.slot).or_default();
        let lives = connection.generation == self.generation(connection.way.slot);
        if lives && idle.len() < self.most && !lasts.is_zero() {
            idle.push(Idle {
                connection: Connection { used: true, ..connection },
                since,
                until: since + lasts,
            });
            self.filled.notify_one();
        }
    }

    /// Closes all idle ones of `slot`, and those that are in use as soon as they are not.
    pub(crate) fn close(&self, slot: SlotKey) {
        *self.closed.borrow_mut().entry(slot).or_default() += 1;
        self.idle.borrow_mut().remove(&slot);
    }

    fn generation(&self, slot: SlotKey) -> u32 {
        self.closed.borrow().get(&slot).copied().unwrap_or_default()
    }

    /// A new connection to an app.
    pub(crate) async fn connect(&self, way: Way) -> io::Result<Connection> {
        let generation = self.generation(way.slot);
        let opened = tokio::time::timeout(self.connect, TcpStream::connect(way.address)).await;
        let stream = opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        let stream = Counted::new(stream);
        let traffic = stream.traffic();
        let (sender, connection) = http1::handshake(stream.hyper()).await.map_err(io::Error::other)?;
        let task = tokio::task::spawn_local(async move {
            if let Err(e) = connection.with_upgrades().await {
                tracing::debug!("a connection to an app broke: {e}");
            }
        });
        Ok(Connection { way, sender, traffic, task: task.abort_handle(), generation, used: false })
    }

    /// Closes those that have been idle for too long; runs as long as the proxy does.
    pub(crate) async fn keep_tidy(self: Rc<Self>) {
        loop {
            self.filled.notified().await;
            while self.tidy() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    fn tidy(&self) -> bool {
        let now = Instant::now();
        let mut idle = self.idle.borrow_mut();
        idle.retain(|_, idle| {
            idle.retain(|i| i.until > now && !i.connection.sender.is_closed());
            !idle.is_empty()
        });
        !idle.is_empty()
    }
}

/// An app that closes after `told` must not meet a request of ours on its way.
fn with_margin(told: Duration) -> Duration {
    told.saturating_sub((told / 4).max(Duration::from_millis(500)))
}
