//! One request inside an app: in flight from the moment it passes its gate until this is dropped.

use crate::gates::Gates;
use crate::pool::Way;
use crate::upload::Progress;
use everup_core::gate::machine::{Pass, SlotKey};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// How a request ended that a drain's deadline met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A stream, ended cleanly.
    ByDesign,
    /// Anything else.
    Cut,
}

/// Why an answer is awaited no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// A drain's deadline has come.
    Drained,
    /// The app took too long.
    Overdue,
}

/// What the gates know of a request that is inside.
#[derive(Debug)]
pub(crate) struct Inside {
    pass: RefCell<Option<Pass>>,
    stream: Cell<bool>,
    asked: Cell<bool>,
    ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// When the request passed, if its answer is awaited, and how its body comes on.
    awaited: RefCell<Option<(Instant, Rc<Progress>)>>,
    overdue: Cell<bool>,
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
        self.wake();
    }

    /// Gives it up if the app has been asked, and has had the whole request or the last piece that came of it, for
    /// longer than `limit`.
    pub(crate) fn give_up_overdue(&self, now: Instant, limit: Duration) {
        let awaited = self.awaited.borrow();
        let since = awaited.as_ref().map(|(asked, body)| body.last().map_or(*asked, |last| last.max(*asked)));
        if since.is_some_and(|since| now.saturating_duration_since(since) >= limit) {
            self.overdue.set(true);
            self.wake();
        }
    }

    fn wake(&self) {
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
    /// When it passed.
    since: Instant,
    way: Way,
    inside: Rc<Inside>,
}

impl Flight {
    pub(crate) fn new(gates: Rc<Gates>, pass: Pass, since: Instant) -> Self {
        let ticket = pass.ticket;
        let address =
            gates.upstream(pass.slot).map(|u| u.address).expect("a gate that passes has an upstream");
        let behind = gates.behind(pass.slot);
        let way = Way { slot: pass.slot, epoch: pass.epoch(), address, behind };
        let inside = Rc::new(Inside {
            pass: RefCell::new(Some(pass)),
            stream: Cell::new(false),
            asked: Cell::new(false),
            ended: Cell::new(false),
            waker: RefCell::default(),
            awaited: RefCell::default(),
            overdue: Cell::new(false),
            ends: RefCell::default(),
        });
        gates.entered(ticket, Rc::clone(&inside));
        Self { gates, since, way, inside }
    }

    /// The gate that it passed; none once it was ended by force.
    pub(crate) fn slot(&self) -> Option<SlotKey> {
        self.inside.slot()
    }

    /// When it passed its gate.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// It is out of the app since `now`.
    pub(crate) fn leaves(self, now: Instant) {
        self.hand_back(|| now);
    }

    fn hand_back(&self, now: impl FnOnce() -> Instant) {
        let pass = self.inside.pass.borrow_mut().take();
        // Nothing is left of a request that gave its place up; it may be inside again under the same ticket.
        if let Some(pass) = pass {
            self.gates.out(now(), pass);
        }
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
        self.wait(cx);
        Poll::Pending
    }

    fn wait(&self, cx: &Context<'_>) {
        let mut waker = self.inside.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// The app is asked now; `body` is what it still gets.
    pub(crate) fn awaits(&self, body: &Rc<Progress>) {
        self.inside.overdue.set(false);
        self.inside.awaited.replace(Some((self.since, Rc::clone(body))));
    }

    /// It has answered.
    pub(crate) fn is_answered(&self) {
        self.inside.awaited.take();
    }

    /// Ready when nobody waits for the app's answer any more; why.
    pub(crate) async fn given_up(&self) -> GivenUp {
        std::future::poll_fn(|cx| match (self.inside.asked.get(), self.inside.overdue.get()) {
            (true, _) => Poll::Ready(GivenUp::Drained),
            (false, true) => Poll::Ready(GivenUp::Overdue),
            (false, false) => {
                self.wait(cx);
                Poll::Pending
            }
        })
        .await
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
        self.hand_back(Instant::now);
    }
}
