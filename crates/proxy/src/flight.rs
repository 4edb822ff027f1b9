//! One request inside an app: in flight from the moment it passes its gate until this is dropped.

use crate::gates::Gates;
use crate::pool::Way;
use everup_core::gate::machine::{Pass, SlotKey, Ticket};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::task::AbortHandle;

/// How a request ended that a drain's deadline met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A stream, ended cleanly.
    ByDesign,
    /// Anything else.
    Cut,
}

/// What the gates know of a request that is inside.
#[derive(Debug)]
pub(crate) struct Inside {
    pass: RefCell<Option<Pass>>,
    stream: Cell<bool>,
    asked: Cell<bool>,
    ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Ends the connection to the app, and the client's where the client reads no more.
    ends: RefCell<Vec<AbortHandle>>,
}

impl Inside {
    pub(crate) fn slot(&self) -> Option<SlotKey> {
        self.pass.borrow().as_ref().map(|p| p.slot)
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.stream.get()
    }

    /// `end` goes when the request is ended by force.
    pub(crate) fn ends_with(&self, end: AbortHandle) {
        self.ends.borrow_mut().push(end);
    }

    /// Whether its end was not noted before.
    pub(crate) fn notes_end(&self) -> bool {
        !self.ended.replace(true)
    }

    /// Asks whoever carries the request to end it now, in the best way that there is.
    pub(crate) fn ask(&self) {
        self.asked.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Ends it for whoever did not: the connections go, and it counts no more.
    pub(crate) fn force(&self) -> Option<Pass> {
        let pass = self.pass.borrow_mut().take();
        if pass.is_some() {
            self.asked.set(true);
            self.ends.borrow_mut().drain(..).for_each(|end| end.abort());
        }
        pass
    }
}

/// The holder of a request's place inside an app.
#[derive(Debug)]
pub(crate) struct Flight {
    gates: Rc<Gates>,
    ticket: Ticket,
    way: Way,
    inside: Rc<Inside>,
}

impl Flight {
    pub(crate) fn new(gates: Rc<Gates>, pass: Pass) -> Self {
        let ticket = pass.ticket;
        let address =
            gates.upstream(pass.slot).map(|u| u.address).expect("a gate that passes has an upstream");
        let way = Way { slot: pass.slot, epoch: pass.epoch(), address };
        let inside = Rc::new(Inside {
            pass: RefCell::new(Some(pass)),
            stream: Cell::new(false),
            asked: Cell::new(false),
            ended: Cell::new(false),
            waker: RefCell::default(),
            ends: RefCell::default(),
        });
        gates.entered(ticket, Rc::clone(&inside));
        Self { gates, ticket, way, inside }
    }

    /// The gate that it passed; none once it was ended by force.
    pub(crate) fn slot(&self) -> Option<SlotKey> {
        self.inside.slot()
    }

    /// Where it goes, decided when it passed.
    pub(crate) const fn way(&self) -> Way {
        self.way
    }

    /// It lasts: an upgraded connection, or a stream of events.
    pub(crate) fn streams(&self) {
        if !self.inside.stream.replace(true)
            && let Some(pass) = self.inside.pass.borrow_mut().as_mut()
        {
            self.gates.streaming(pass);
        }
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.inside.is_stream()
    }

    /// `end` goes when the request is ended by force.
    pub(crate) fn ends_with(&self, end: AbortHandle) {
        self.inside.ends_with(end);
    }

    /// What is left of it where the flight itself has been handed on.
    pub(crate) fn inside(&self) -> Rc<Inside> {
        Rc::clone(&self.inside)
    }

    /// The app took the connection.
    pub(crate) fn reached(&self) {
        if let Some(pass) = self.inside.pass.borrow().as_ref() {
            self.gates.reached(pass);
        }
    }

    /// Ready when the request has to end, because its drain's deadline has come.
    pub(crate) fn poll_asked(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.inside.asked.get() {
            return Poll::Ready(());
        }
        let mut waker = self.inside.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.inside.asked.get()
    }

    /// As [`Self::poll_asked`], as a future.
    pub(crate) async fn asked(&self) {
        std::future::poll_fn(|cx| self.poll_asked(cx)).await;
    }

    /// Notes how the deadline ended it.
    pub(crate) fn ended(&self, how: Ending) {
        if self.inside.notes_end()
            && let Some(slot) = self.slot()
        {
            self.gates.ended(slot, how);
        }
    }

    /// Gives the place up, to look for another one: nothing was sent.
    pub(crate) fn give_up(self) -> Option<Pass> {
        self.inside.pass.borrow_mut().take()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.gates.out(self.ticket, self.inside.pass.borrow_mut().take());
    }
}
