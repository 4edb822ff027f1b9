//! Several gates that share one queue: the embedded balancer's decisions.
//!
//! Laws: a request that waits was never sent, so whichever gate opens first may take it; nobody overtakes who
//! waits; nothing passes a gate that is held, shut or sealed.

use super::door::{Door, HoldRefused, Kept, Mark, NoUpstream, Turn};
use super::queue::{Queue, Ticket};
use super::{Counts, Drain, Hold, HoldLimits, NotHolding, Passing, Upstream};
use crate::ids::HoldId;
use crate::time::{Millis, Mono};
use std::collections::BTreeMap;

/// One gate of a balancer; never used again after it was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotKey(pub u32);

/// A request that passes: handed back with [`Balancer::answered`] when it is out of the app, however that came.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a request that passed counts as in flight until it is handed back"]
pub struct Pass {
    /// The request.
    pub ticket: Ticket,
    /// The gate that it passes.
    pub slot: SlotKey,
    mark: Mark,
}

impl Pass {
    /// Changes whenever the gate is switched: requests with the same epoch are inside the same upstream.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.mark.epoch
    }
}

/// What to do with a request that has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Send it.
    Pass(Pass),
    /// Keep it; a [`Event::LetGo`] or [`Event::Expired`] follows, unless its client leaves before.
    Wait(Ticket),
    /// Answer 503.
    Refuse(Refusal),
    /// Answer 502: it was never sent, and there is nobody else to send it to.
    Unreachable,
}

/// A 503 of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Why,
    /// For the `Retry-After` header.
    pub retry_after: Millis,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The queue is full.
    Full,
    /// It has waited for as long as one request may.
    TooLong,
    /// There is no gate at all.
    NoSlot,
}

/// What happened besides the answer to a call; taken with [`Balancer::events`] after every call.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A waiting request passes now, after it has waited for so long.
    LetGo(Pass, Millis),
    /// A waiting request has to be refused.
    Expired(Ticket, Refusal),
    /// The gate's hold was not renewed: it is open again (or shut, if it was shut before).
    Lapsed(SlotKey),
    /// The drain's deadline: end the streams cleanly, cut the rest, hand their passes back.
    End(SlotKey),
    /// The drain is done; the gate is shut (or still sealed) and nothing is in flight, so it is idle too.
    Drained(SlotKey),
    /// The drain was taken back by a hold or a release.
    TakenBack(SlotKey),
    /// Nothing is in flight any more.
    Idle(SlotKey),
}

/// An upstream that refused a connection is tried last for so long.
const SUSPECT: Millis = Millis(1_000);

#[derive(Debug, Clone)]
struct Slot {
    door: Door,
    balanced: bool,
    /// It was in the balancer with its present upstream: while it leaves, it is a way out when there is no other.
    proven: bool,
    suspect: Option<Mono>,
    ill: bool,
}

impl Slot {
    /// Lower is better; `None` takes nothing.
    fn rank(&self, now: Mono) -> Option<u8> {
        if !self.door.passes(now) {
            return None;
        }
        let doubtful = self.ill || self.suspect.is_some_and(|until| now < until);
        match (self.door.passing(), self.balanced) {
            (Passing::Open, true) => Some(u8::from(doubtful)),
            (Passing::Open, false) if self.proven => Some(2),
            (Passing::Draining, balanced) if balanced || self.proven => Some(3),
            _ => None,
        }
    }
}

/// The gates of one balancer (or the one of a proxy), and the requests that wait for any of them.
#[derive(Debug, Clone, Default)]
pub struct Balancer {
    slots: BTreeMap<SlotKey, Slot>,
    queue: Queue,
    events: Events,
    tickets: u64,
    keys: u32,
    turn: u32,
}

#[derive(Debug, Default)]
struct Events(Vec<Event>);

impl Clone for Events {
    /// An event hands over a pass, of which there is one only.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Balancer {
    /// A balancer without gates.
    #[must_use]
    pub fn new(limits: HoldLimits) -> Self {
        let mut new = Self::default();
        new.queue.set_limits(limits);
        new
    }

    /// What has happened since the last call of this.
    #[must_use]
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events.0)
    }

    /// Whether [`Self::events`] has something.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.0.is_empty()
    }

    /// When [`Self::tick`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        self.slots.values().filter_map(|s| s.door.next_deadline()).chain(self.queue.next_deadline()).min()
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Bytes that the waiting requests are charged with.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        self.queue.bytes()
    }

    // The gates.

    /// Adds a gate, as it was kept.
    pub fn add(&mut self, now: Mono, kept: &Kept) -> SlotKey {
        let key = SlotKey(self.keys);
        self.keys += 1;
        let door = Door::new(kept);
        let proven = kept.balanced || door.passing() == Passing::Open;
        self.slots.insert(key, Slot { door, balanced: kept.balanced, proven, suspect: None, ill: false });
        self.pump(now);
        key
    }

    /// Forgets a gate. What is inside it goes on, and counts nowhere any more.
    pub fn remove(&mut self, now: Mono, slot: SlotKey) {
        self.slots.remove(&slot);
        if self.slots.is_empty() {
            while let Some(ticket) = self.queue.oldest() {
                self.queue.remove(ticket);
                self.events.0.push(Event::Expired(ticket, refusal(Why::NoSlot)));
            }
        }
        self.pump(now);
    }

    /// Lets the balancer choose `slot` for new requests, or not.
    pub fn balance(&mut self, now: Mono, slot: SlotKey, on: bool) {
        if let Some(slot) = self.slots.get_mut(&slot) {
            // Its instance found it well before it had it join.
            slot.ill &= slot.balanced || !on;
            slot.balanced = on;
            slot.proven |= on;
        }
        self.pump(now);
    }

    /// Whether the balancer chooses `slot` for new requests.
    #[must_use]
    pub fn balanced(&self, slot: SlotKey) -> bool {
        self.slots.get(&slot).is_some_and(|s| s.balanced)
    }

    /// What an active check found. Ill ones are chosen only when no other is left.
    pub fn checked(&mut self, slot: SlotKey, healthy: bool) {
        if let Some(slot) = self.slots.get_mut(&slot) {
            slot.ill = !healthy;
        }
    }

    /// Whether the last active check passed, or there was none.
    #[must_use]
    pub fn healthy(&self, slot: SlotKey) -> bool {
        self.slots.get(&slot).is_some_and(|s| !s.ill)
    }

    /// What the gate does and sees; `None` for one that was removed.
    #[must_use]
    pub fn counts(&self, slot: SlotKey) -> Option<Counts> {
        self.slots.get(&slot).map(|s| s.door.counts(self.queue.len()))
    }

    /// Where the gate sends.
    #[must_use]
    pub fn upstream(&self, slot: SlotKey) -> Option<&Upstream> {
        self.slots.get(&slot)?.door.upstream()
    }

    /// The hold that lives.
    #[must_use]
    pub fn hold_id(&self, slot: SlotKey) -> Option<&HoldId> {
        self.slots.get(&slot)?.door.hold_id()
    }

    /// What to store, so that the gate comes up the same way after a crash.
    #[must_use]
    pub fn kept(&self, slot: SlotKey) -> Option<Kept> {
        self.slots.get(&slot).map(|s| s.door.kept(s.balanced))
    }

    // What requests do.

    /// A request has come, whose head (and what was read of its body) takes `bytes` of memory.
    pub fn arrive(&mut self, now: Mono, bytes: u64) -> Arrival {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        if self.queue.is_empty()
            && let Some(pass) = self.choose(now, ticket, &[])
        {
            return Arrival::Pass(pass);
        }
        self.wait(now, ticket, bytes)
    }

    fn wait(&mut self, now: Mono, ticket: Ticket, bytes: u64) -> Arrival {
        if self.slots.is_empty() {
            Arrival::Refuse(refusal(Why::NoSlot))
        } else if self.queue.push(now, ticket, bytes) {
            Arrival::Wait(ticket)
        } else {
            Arrival::Refuse(refusal(Why::Full))
        }
    }

    /// A waiting request takes `bytes` more memory; false when it may not.
    #[must_use]
    pub fn grow(&mut self, ticket: Ticket, bytes: u64) -> bool {
        self.queue.grow(ticket, bytes)
    }

    /// The client of a waiting request has left; since when it waited, if it did.
    pub fn left(&mut self, ticket: Ticket) -> Option<Mono> {
        self.queue.remove(ticket)
    }

    /// The request will last: an upgraded connection or a stream.
    pub fn streaming(&mut self, now: Mono, pass: &mut Pass) {
        if let Some(slot) = self.slots.get_mut(&pass.slot) {
            slot.door.streams(now, &mut pass.mark);
        }
        self.pump(now);
    }

    /// The request is out of the app: answered, failed, cut, or its client has left.
    pub fn answered(&mut self, now: Mono, pass: Pass) {
        self.exit(now, pass);
        self.pump(now);
    }

    /// The upstream took the connection that `pass` needed: it is not suspect any more.
    pub fn reached(&mut self, pass: &Pass) {
        if let Some(slot) = self.slots.get_mut(&pass.slot) {
            slot.suspect = None;
        }
    }

    /// No connection to the upstream of `pass` could be had, so nothing was sent: another gate may take it, which is
    /// none of `tried`. While the gate is being shut it waits again, at its old place.
    pub fn unreachable(&mut self, now: Mono, pass: Pass, tried: &[SlotKey], bytes: u64) -> Arrival {
        let (ticket, slot) = (pass.ticket, pass.slot);
        if let Some(slot) = self.slots.get_mut(&slot) {
            slot.suspect = Some(now + SUSPECT);
        }
        self.exit(now, pass);
        let other = self.choose(now, ticket, tried);
        self.pump(now);
        match other {
            Some(pass) => Arrival::Pass(pass),
            None if self.slots.values().any(|s| s.rank(now).is_some()) => Arrival::Unreachable,
            None => self.wait(now, ticket, bytes),
        }
    }

    fn exit(&mut self, now: Mono, Pass { slot: key, mark, .. }: Pass) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let turn = slot.door.exit(now, mark);
        self.note(key, turn);
    }

    /// Fewest in flight, ties in turn; the doubtful only when no other is left, and then all of them.
    fn choose(&mut self, now: Mono, ticket: Ticket, tried: &[SlotKey]) -> Option<Pass> {
        let turn = self.turn;
        let (&key, slot) = self
            .slots
            .iter_mut()
            .filter(|(key, _)| !tried.contains(key))
            .filter_map(|(key, slot)| Some((slot.rank(now)?, key, slot)))
            .min_by_key(|(rank, key, slot)| (*rank, slot.door.present(), key.0.wrapping_sub(turn)))
            .map(|(_, key, slot)| (key, slot))?;
        self.turn = key.0.wrapping_add(1);
        Some(Pass { ticket, slot: key, mark: slot.door.enter(now) })
    }

    /// Lets go who waits, oldest first, as far as the gates take them.
    fn pump(&mut self, now: Mono) {
        while let Some(ticket) = self.queue.oldest() {
            let Some(pass) = self.choose(now, ticket, &[]) else { return };
            let since = self.queue.remove(ticket).unwrap_or(now);
            self.events.0.push(Event::LetGo(pass, now.since(since)));
        }
        for slot in self.slots.values_mut() {
            slot.door.all_let_go();
        }
    }

    // What orders do.

    /// Begins or renews a hold.
    ///
    /// # Errors
    /// When the gate has seen a newer order, or is sealed.
    pub fn hold(&mut self, now: Mono, slot: SlotKey, hold: &Hold) -> Result<(), HoldRefused> {
        let Some(door) = self.door(slot) else { return Ok(()) };
        let turn = door.hold(now, hold)?;
        self.queue.set_limits(hold.limits);
        self.note(slot, turn);
        Ok(())
    }

    /// Turns the living hold into a seal; without a hold only a gate without upstream is sealed.
    ///
    /// # Errors
    /// When the hold has lapsed or never was.
    pub fn seal(&mut self, now: Mono, slot: SlotKey, id: Option<&HoldId>) -> Result<(), NotHolding> {
        self.door(slot).map_or(Err(NotHolding), |door| door.seal(now, id))
    }

    /// Lets what is inside end, then shuts. [`Event::Drained`] follows, at once or later.
    pub fn drain(&mut self, now: Mono, slot: SlotKey, drain: &Drain) {
        self.queue.set_limits(drain.limits);
        if let Some(door) = self.door(slot) {
            let turn = door.drain(now, drain);
            self.note(slot, turn);
        }
        self.pump(now);
    }

    /// From now on what passes goes to `to`; what is inside goes on where it is.
    pub fn switch(&mut self, slot: SlotKey, to: &Upstream) {
        if let Some(slot) = self.slots.get_mut(&slot)
            && slot.door.switch(to)
        {
            slot.proven = slot.balanced;
            slot.suspect = None;
            slot.ill = false;
        }
    }

    /// Opens to the present upstream.
    ///
    /// # Errors
    /// When there is none.
    pub fn release(&mut self, now: Mono, slot: SlotKey) -> Result<(), NoUpstream> {
        let turn = self.door(slot).ok_or(NoUpstream)?.release()?;
        self.note(slot, turn);
        self.pump(now);
        Ok(())
    }

    fn door(&mut self, slot: SlotKey) -> Option<&mut Door> {
        self.slots.get_mut(&slot).map(|s| &mut s.door)
    }

    // What time does.

    /// Does whatever is due at `now`.
    pub fn tick(&mut self, now: Mono) {
        let mut due = Vec::new();
        for (&key, slot) in &mut self.slots {
            // A door turns at most twice at one moment: a lapse, or the end of a drain and then its success.
            while let Some(turn) = slot.door.tick(now) {
                due.push((key, turn));
            }
        }
        for (key, turn) in due {
            self.note(key, Some(turn));
        }
        self.pump(now);
        while let Some(ticket) = self.queue.expired(now) {
            self.events.0.push(Event::Expired(ticket, refusal(Why::TooLong)));
        }
    }

    fn note(&mut self, slot: SlotKey, turn: Option<Turn>) {
        self.events.0.extend(turn.map(|turn| match turn {
            Turn::Lapsed => Event::Lapsed(slot),
            Turn::End => Event::End(slot),
            Turn::TakenBack => Event::TakenBack(slot),
            Turn::Idle => Event::Idle(slot),
            Turn::Drained => Event::Drained(slot),
        }));
    }

    /// Whether nothing is in flight where it matters: at former upstreams while the gate is open, else anywhere.
    #[must_use]
    pub fn idle(&self, slot: SlotKey) -> bool {
        self.slots.get(&slot).is_none_or(|s| match s.door.passing() {
            Passing::Open => s.door.inside() == s.door.present(),
            _ => s.door.inside() == 0,
        })
    }
}

/// A refused client may come again after so long; holds last for seconds.
const RETRY_AFTER: Millis = Millis(2_000);

const fn refusal(reason: Why) -> Refusal {
    Refusal { reason, retry_after: RETRY_AFTER }
}
