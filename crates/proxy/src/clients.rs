//! The connections of clients: how many there are, and which could go when there is no room for another.

use crate::io::Traffic;
use crate::peer::Peer;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// All that are open.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    open: RefCell<BTreeMap<u64, Weak<Client>>>,
    next: Cell<u64>,
    none: Notify,
    came: Notify,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) peer: Peer,
    all: Rc<Clients>,
    number: u64,
    task: RefCell<Option<AbortHandle>>,
    requests: Cell<u32>,
    idle_since: Cell<Instant>,
    /// Only where an idle connection is to be closed.
    traffic: OnceCell<Arc<Traffic>>,
    written: Cell<u64>,
}

/// A request of a client that is not over yet.
#[derive(Debug)]
pub(crate) struct Busy(Rc<Client>);

impl Clients {
    pub(crate) fn opened(self: &Rc<Self>, peer: IpAddr) -> Rc<Client> {
        let peer = Peer::new(peer);
        let number = self.next.replace(self.next.get() + 1);
        let client = Rc::new(Client {
            peer,
            all: Rc::clone(self),
            number,
            task: RefCell::default(),
            requests: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            traffic: OnceCell::new(),
            written: Cell::new(0),
        });
        self.open.borrow_mut().insert(number, Rc::downgrade(&client));
        self.came.notify_one();
        client
    }

    pub(crate) fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Closes the connection that has been idle for the longest time; whether there was one. It may be one that its
    /// client is about to use, so this is for want of descriptors only.
    pub(crate) fn close_idlest(&self) -> bool {
        let open = self.open.borrow();
        let idle = open.values().filter_map(Weak::upgrade).filter(|c| c.requests.get() == 0);
        let idlest = idle.min_by_key(|c| c.idle_since.get());
        drop(open);
        let Some(client) = idlest else { return false };
        // Forgotten at once, so that the next call finds another one.
        self.open.borrow_mut().remove(&client.number);
        client.close();
        true
    }

    /// Closes those over HTTP/1 that have been idle for longer than `limit`, and those whose request has not come whole
    /// for so long.
    pub(crate) fn close_idle(&self, now: Instant, limit: Duration) {
        let open: Vec<_> = self.open.borrow().values().filter_map(Weak::upgrade).collect();
        open.iter().filter(|client| client.is_idle(now, limit)).for_each(|client| client.close());
    }

    /// Waits until there is one.
    pub(crate) async fn until_some(&self) {
        while self.count() == 0 {
            self.came.notified().await;
        }
    }

    pub(crate) fn close_all(&self) {
        let open: Vec<_> = self.open.borrow().values().filter_map(Weak::upgrade).collect();
        open.iter().for_each(|client| client.close());
    }

    /// Waits until there is none.
    pub(crate) async fn until_none(&self) {
        while self.count() > 0 {
            self.none.notified().await;
        }
    }
}

impl Client {
    /// `task` serves it.
    pub(crate) fn served_by(&self, task: AbortHandle) {
        self.task.replace(Some(task));
    }

    pub(crate) fn task(&self) -> Option<AbortHandle> {
        self.task.borrow().clone()
    }

    /// It speaks HTTP/1, over the connection that `traffic` is counted of.
    pub(crate) fn ends_when_idle(&self, traffic: Arc<Traffic>) {
        drop(self.traffic.set(traffic));
    }

    /// An answer is over when the last of it is handed on; a client that is still reading that is not idle.
    fn is_idle(&self, now: Instant, limit: Duration) -> bool {
        let Some(traffic) = self.traffic.get() else { return false };
        if self.written.replace(traffic.written()) != traffic.written() {
            self.idle_since.set(now);
        }
        self.requests.get() == 0 && now.saturating_duration_since(self.idle_since.get()) >= limit
    }

    fn close(&self) {
        self.task.borrow().iter().for_each(AbortHandle::abort);
    }

    pub(crate) fn begins(self: &Rc<Self>) -> Busy {
        self.requests.set(self.requests.get() + 1);
        Busy(Rc::clone(self))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.all.open.borrow_mut().remove(&self.number);
        if self.all.count() == 0 {
            self.all.none.notify_one();
        }
    }
}
