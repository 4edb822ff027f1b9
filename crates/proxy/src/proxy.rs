//! One proxy: its gates, its connections to apps, its counts, its memory, and whether it is being replaced.

use crate::clients::Clients;
use crate::config::{Config, Role};
use crate::gates::Gates;
use crate::meter::Meter;
use crate::pool::Pool;
use crate::state::Disk;
use everup_core::gate::Passing;
use everup_core::time::{Millis, Wall};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use tokio::sync::{Notify, watch};

/// Whether this process takes new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// It does.
    Accepting,
    /// Not now: a successor is starting, and takes over or fails within moments.
    Paused,
    /// No more: it finishes what it has within this time, and ends.
    Retiring(Millis),
}

/// Why a proxy is not replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StaysOn {
    #[error("requests are held, or a gate is sealed; replace the proxy when the deployment is over")]
    Holding,
    #[error("it is being replaced already, or has itself just begun; try again when that is done")]
    Busy,
}

/// Everything of one proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) config: Config,
    pub(crate) gates: Rc<Gates>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) meter: Rc<Meter>,
    pub(crate) clients: Rc<Clients>,
    pub(crate) since: Wall,
    /// Says to HTTP/2 clients that their connection ends.
    pub(crate) goodbye: Notify,
    disk: Disk,
    service: watch::Sender<Service>,
    /// A predecessor still finishes its connections, through gates of its own: orders wait until it has ended.
    junior: Cell<bool>,
}

impl Proxy {
    pub(crate) fn new(config: Config, gates: Rc<Gates>, meter: Rc<Meter>, disk: Disk, since: Wall) -> Self {
        let pool = Rc::new(Pool::new(&config));
        Self {
            config,
            gates,
            pool,
            meter,
            clients: Rc::default(),
            since,
            goodbye: Notify::new(),
            disk,
            service: watch::Sender::new(Service::Accepting),
            junior: Cell::new(false),
        }
    }

    /// Stores the gates' state, if it is not stored already.
    pub(crate) async fn store(&self) -> io::Result<()> {
        if self.takes_orders().is_err() {
            return Ok(());
        }
        self.disk.store(|| self.gates.state()).await
    }

    /// Stores whatever changes by itself (a drain that ended although nobody waits for it any more).
    pub(crate) async fn keep_stored(self: Rc<Self>) {
        let mut seq = 0;
        loop {
            seq = self.gates.until(|| Some(self.gates.seq()).filter(|now| *now != seq)).await;
            if let Err(e) = self.store().await {
                tracing::error!(
                    "cannot store the gates' state: {e}; after a crash they come up as they were stored"
                );
            }
        }
    }

    /// A gate drains: before a single app, that ends the clients' connections too, each after an answer.
    pub(crate) fn says_goodbye(&self) {
        if self.config.role == Role::Proxy {
            self.goodbye.notify_waiters();
        }
    }

    /// Whether each HTTP/1.1 answer is to be the last on its connection.
    pub(crate) fn closes_after_answers(&self) -> bool {
        self.is_retiring() || (self.config.role == Role::Proxy && self.gates.all(Passing::Draining))
    }

    // Replacement.

    pub(crate) fn set_junior(&self, junior: bool) {
        self.junior.set(junior);
    }

    /// Orders are taken only where they hold for all requests: not while two processes share the gates' work.
    pub(crate) fn takes_orders(&self) -> Result<(), StaysOn> {
        if self.junior.get() || *self.service.borrow() != Service::Accepting {
            return Err(StaysOn::Busy);
        }
        Ok(())
    }

    pub(crate) fn is_retiring(&self) -> bool {
        matches!(*self.service.borrow(), Service::Retiring(_))
    }

    /// Waits until a successor serves.
    pub(crate) async fn retires(&self) {
        // The sender lives as long as the proxy does.
        drop(self.service.subscribe().wait_for(|s| matches!(s, Service::Retiring(_))).await);
    }

    pub(crate) fn service(&self) -> watch::Receiver<Service> {
        self.service.subscribe()
    }

    /// Accepts no more, until [`Self::retire`] or [`Self::resume`].
    pub(crate) fn pause(&self) -> Result<(), StaysOn> {
        self.takes_orders()?;
        if self.gates.is_holding() {
            return Err(StaysOn::Holding);
        }
        self.service.send_replace(Service::Paused);
        Ok(())
    }

    /// The successor did not come up.
    pub(crate) fn resume(&self) {
        self.service.send_replace(Service::Accepting);
    }

    /// The successor serves.
    pub(crate) fn retire(&self, within: Millis) {
        self.service.send_replace(Service::Retiring(within));
        self.goodbye.notify_waiters();
    }
}
