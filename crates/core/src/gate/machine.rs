//! The gate's own state machine, pure: shared by the real proxy and the simulated one.
//!
//! ```text
//! shut ──release──► open ──drain──► draining ──idle and quiet──► shut
//!                    │ ▲                │ release, hold: taken back
//!                    │ └─lapse, release─┐
//!                    └────────hold────► held ──seal──► sealed ──release──► open
//! ```
//!
//! Laws: nothing passes while held, shut or sealed; a hold that is not renewed opens into the running app; no
//! time-out ends a seal; who waits is let go in the order of arrival, once, or refused, once; what waits is bounded
//! in number, bytes and time. The machine has no clock: `now` is handed in, [`Machine::next_deadline`] says when
//! [`Machine::tick`] is due, and [`Machine::events`] is taken after every call.

pub use super::balancer::{Arrival, Balancer, Event, Pass, Refusal, SlotKey, Why};
pub use super::door::{HoldRefused, Kept, NoUpstream};
pub use super::queue::Ticket;
use super::{Counts, Drain, Hold, HoldLimits, NotHolding, Upstream};
use crate::ids::HoldId;
use crate::time::Mono;

/// One gate with a queue of its own: a [`Balancer`] of one.
#[derive(Debug, Clone)]
pub struct Machine {
    gates: Balancer,
    gate: SlotKey,
}

impl Machine {
    /// A gate as it was kept; [`Kept::expected`] and [`Kept::open`] make new ones.
    #[must_use]
    pub fn new(kept: &Kept, limits: HoldLimits) -> Self {
        let mut gates = Balancer::new(limits);
        let gate = gates.add(Mono::default(), &Kept { balanced: true, ..kept.clone() });
        Self { gates, gate }
    }

    /// What has happened since the last call of this.
    #[must_use]
    pub fn events(&mut self) -> Vec<Event> {
        self.gates.events()
    }

    /// When [`Self::tick`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        self.gates.next_deadline()
    }

    /// Does whatever is due at `now`.
    pub fn tick(&mut self, now: Mono) {
        self.gates.tick(now);
    }

    /// What the gate does and sees.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.gates.counts(self.gate).expect("its one gate is never removed")
    }

    /// Where it sends.
    #[must_use]
    pub fn upstream(&self) -> Option<&Upstream> {
        self.gates.upstream(self.gate)
    }

    /// Whether nothing is in flight where it matters: at former upstreams while open, else anywhere.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.gates.idle(self.gate)
    }

    /// What to store.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.gates.kept(self.gate).expect("its one gate is never removed")
    }

    /// A request has come.
    pub fn arrive(&mut self, now: Mono, bytes: u64) -> Arrival {
        self.gates.arrive(now, bytes)
    }

    /// The client of a waiting request has left; since when it waited, if it did.
    pub fn left(&mut self, ticket: Ticket) -> Option<Mono> {
        self.gates.left(ticket)
    }

    /// The request will last: an upgraded connection or a stream.
    pub fn streaming(&mut self, now: Mono, pass: &mut Pass) {
        self.gates.streaming(now, pass);
    }

    /// The request is out of the app: answered, failed, cut, or its client has left.
    pub fn answered(&mut self, now: Mono, pass: Pass) {
        self.gates.answered(now, pass);
    }

    /// Begins or renews a hold.
    ///
    /// # Errors
    /// When the gate has seen a newer order, or is sealed.
    pub fn hold(&mut self, now: Mono, hold: &Hold) -> Result<(), HoldRefused> {
        self.gates.hold(now, self.gate, hold)
    }

    /// Turns the living hold into a seal; without a hold only a gate without upstream is sealed.
    ///
    /// # Errors
    /// When the hold has lapsed or never was.
    pub fn seal(&mut self, now: Mono, id: Option<&HoldId>) -> Result<(), NotHolding> {
        self.gates.seal(now, self.gate, id)
    }

    /// Lets what is inside end, then shuts; [`Event::Drained`] follows, at once or later.
    pub fn drain(&mut self, now: Mono, drain: &Drain) {
        self.gates.drain(now, self.gate, drain);
    }

    /// From now on what passes goes to `to`; what is inside goes on where it is.
    pub fn switch(&mut self, to: &Upstream) {
        self.gates.switch(self.gate, to);
    }

    /// Opens to the present upstream.
    ///
    /// # Errors
    /// When there is none.
    pub fn release(&mut self, now: Mono) -> Result<(), NoUpstream> {
        self.gates.release(now, self.gate)
    }
}
