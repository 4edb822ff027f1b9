//! The pure balancer of `everup_core::gate`, given a clock, wakers and names.

mod number;
mod orders;
mod waiter;

pub(crate) use waiter::Waiter;

use crate::control::Behind;
use crate::flight::{Ending, Flight, Inside};
use crate::state::{KeptSlot, State};
use everup_core::gate::machine::{Arrival, Balancer, Event, Pass, Refusal, SlotKey, Ticket};
use everup_core::gate::{Counts, Drained, HoldLimits, Passing, Upstream};
use everup_core::ids::{HoldId, InstanceId, Zone};
use everup_core::time::{Millis, Mono};
use number::Number;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// What was asked to end has so long before it is ended by force: enough for a close frame and its answer.
const GRACE: Duration = Duration::from_secs(1);

/// Streams are ended over this span, so that their clients do not all come back at once.
const SPREAD: Duration = Duration::from_millis(500);

/// A slot by its instance.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) key: SlotKey,
    pub(crate) zone: Zone,
    pub(crate) behind: Behind,
    drain: Draining,
}

/// How the last drain of a slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Draining {
    /// On its way; so many were ended so far.
    Running(Drained),
    /// Shut.
    Done(Drained),
    /// Opened or held before it was done.
    TakenBack,
}

/// There is no slot of that instance.
#[derive(Debug, thiserror::Error)]
#[error("there is no slot for instance {0}; add it first")]
pub(crate) struct NoSlot(pub(crate) InstanceId);

/// The slot was removed.
#[derive(Debug)]
pub(crate) struct Gone;

type Verdict = Result<Flight, Refusal>;

/// All gates of this proxy.
#[derive(Debug)]
pub(crate) struct Gates {
    machine: RefCell<Balancer>,
    named: RefCell<BTreeMap<InstanceId, Named>>,
    /// The slots before proxies of ours.
    proxies: RefCell<BTreeSet<SlotKey>>,
    waiting: RefCell<HashMap<Ticket, oneshot::Sender<Verdict>>>,
    inside: RefCell<HashMap<Ticket, Rc<Inside>, BuildHasherDefault<Number>>>,
    seq: Cell<u64>,
    changed: Notify,
    due: Notify,
    start: Instant,
}

/// What becomes of a request that has come.
pub(crate) enum Entry {
    /// It passes.
    In(Flight),
    /// It waits.
    Waits(Waiter),
    /// 503.
    Refused(Refusal),
    /// 502: never sent, and nobody else to send it to.
    Unreachable,
}

impl Gates {
    /// Gates as they were kept. `seq` has to differ from any that an earlier process began with.
    pub(crate) fn new(limits: HoldLimits, kept: State, seq: u64) -> Rc<Self> {
        let gates = Rc::new(Self {
            machine: RefCell::new(Balancer::new(limits)),
            named: RefCell::default(),
            proxies: RefCell::default(),
            waiting: RefCell::default(),
            inside: RefCell::default(),
            seq: Cell::new(seq),
            changed: Notify::new(),
            due: Notify::new(),
            start: Instant::now(),
        });
        for slot in kept.slots {
            gates.add(&slot.id, slot.zone, slot.behind, &slot.gate);
        }
        gates
    }

    fn now(&self) -> Mono {
        self.at(Instant::now())
    }

    fn at(&self, at: Instant) -> Mono {
        Mono(Millis::from(at.saturating_duration_since(self.start)).0)
    }

    // What requests do.

    /// A request of `bytes` in memory came at `now`.
    pub(crate) fn arrive(self: &Rc<Self>, now: Instant, bytes: u64) -> Entry {
        let arrival = self.machine.borrow_mut().arrive(self.at(now), bytes);
        self.entry(now, arrival)
    }

    /// `flight` could not be begun: nobody listens there. Nothing was sent, so another gate may take it.
    pub(crate) fn unreachable(self: &Rc<Self>, flight: Flight, tried: &[SlotKey], bytes: u64) -> Entry {
        let Some(pass) = flight.give_up() else { return Entry::Unreachable };
        self.inside.borrow_mut().remove(&pass.ticket);
        let arrival = self.machine.borrow_mut().unreachable(self.now(), pass, tried, bytes);
        let entry = self.entry(Instant::now(), arrival);
        self.settle();
        entry
    }

    fn entry(self: &Rc<Self>, now: Instant, arrival: Arrival) -> Entry {
        match arrival {
            Arrival::Pass(pass) => Entry::In(Flight::new(Rc::clone(self), pass, now)),
            Arrival::Refuse(refusal) => Entry::Refused(refusal),
            Arrival::Unreachable => Entry::Unreachable,
            Arrival::Wait(ticket) => {
                let (tell, told) = oneshot::channel();
                self.waiting.borrow_mut().insert(ticket, tell);
                self.due.notify_one();
                Entry::Waits(Waiter { gates: Rc::clone(self), ticket, told })
            }
        }
    }

    pub(crate) fn entered(&self, ticket: Ticket, inside: Rc<Inside>) {
        self.inside.borrow_mut().insert(ticket, inside);
    }

    pub(crate) fn out(self: &Rc<Self>, now: Instant, pass: Pass) {
        self.inside.borrow_mut().remove(&pass.ticket);
        self.machine.borrow_mut().answered(self.at(now), pass);
        self.settle();
    }

    pub(crate) fn streaming(self: &Rc<Self>, pass: &mut Pass) {
        self.machine.borrow_mut().streaming(self.now(), pass);
        self.settle();
    }

    pub(crate) fn reached(&self, pass: &Pass) {
        self.machine.borrow_mut().reached(pass);
    }

    /// A drain's deadline ended a request of `slot`.
    pub(crate) fn ended(&self, slot: SlotKey, how: Ending) {
        let mut named = self.named.borrow_mut();
        let Some(named) = named.values_mut().find(|n| n.key == slot) else { return };
        if let Draining::Running(so_far) = &mut named.drain {
            match how {
                Ending::ByDesign => so_far.ended += 1,
                Ending::Cut => so_far.cut += 1,
            }
        }
    }

    // What time does.

    /// Does what is due when it is due; runs as long as the proxy does.
    pub(crate) async fn keep_time(self: Rc<Self>) {
        loop {
            let next = self.machine.borrow().next_deadline();
            let due = self.due.notified();
            match next {
                None => due.await,
                Some(at) => {
                    let at = self.start + at.since(Mono(0)).as_duration();
                    tokio::select! { () = due => {}, () = tokio::time::sleep_until(at.into()) => {} }
                }
            }
            self.machine.borrow_mut().tick(self.now());
            self.settle();
        }
    }

    /// Carries out what the machine has decided meanwhile.
    fn settle(self: &Rc<Self>) {
        loop {
            let events = {
                let mut machine = self.machine.borrow_mut();
                if !machine.has_events() {
                    return;
                }
                machine.events()
            };
            for event in events {
                self.carry_out(event);
            }
        }
    }

    fn carry_out(self: &Rc<Self>, event: Event) {
        match event {
            Event::LetGo(pass, _) => {
                let ticket = pass.ticket;
                self.tell(ticket, Ok(Flight::new(Rc::clone(self), pass, Instant::now())));
            }
            Event::Expired(ticket, refusal) => self.tell(ticket, Err(refusal)),
            Event::Lapsed(_) => self.change(),
            Event::Idle(_) => self.changed.notify_waiters(),
            Event::End(slot) => self.end(slot),
            Event::Drained(slot) => self.drained(slot, true),
            Event::TakenBack(slot) => self.drained(slot, false),
        }
    }

    /// A client that left in this moment gives its place back by dropping it.
    fn tell(&self, ticket: Ticket, verdict: Verdict) {
        let waiter = self.waiting.borrow_mut().remove(&ticket);
        if let Some(waiter) = waiter {
            drop(waiter.send(verdict));
        }
    }

    fn drained(&self, slot: SlotKey, done: bool) {
        if let Some(named) = self.named.borrow_mut().values_mut().find(|n| n.key == slot)
            && let Draining::Running(so_far) = named.drain
        {
            named.drain = if done { Draining::Done(so_far) } else { Draining::TakenBack };
        }
        self.change();
    }

    /// The deadline of a drain: streams end one after the other, the rest now, and what is left then by force.
    fn end(self: &Rc<Self>, slot: SlotKey) {
        let all: Vec<_> =
            self.inside.borrow().values().filter(|i| i.slot() == Some(slot)).map(Rc::clone).collect();
        let (streams, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|i| i.is_stream());
        rest.iter().for_each(|inside| inside.ask());
        let gates = Rc::clone(self);
        tokio::task::spawn_local(async move {
            ask_one_by_one(&streams).await;
            tokio::time::sleep(GRACE).await;
            streams.iter().chain(&rest).for_each(|inside| gates.force(slot, inside));
        });
    }

    /// A hold waits until nothing is inside, and streams last: those that do not end by themselves within a moment are
    /// ended cleanly. Whatever else is inside is never cut for a hold.
    fn end_streams(self: &Rc<Self>, slot: SlotKey, hold: HoldId) {
        let gates = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(GRACE).await;
            if gates.machine.borrow().hold_id(slot) != Some(&hold) {
                return;
            }
            let of_slot = |inside: &&Rc<Inside>| inside.slot() == Some(slot) && inside.is_stream();
            let streams: Vec<_> = gates.inside.borrow().values().filter(of_slot).map(Rc::clone).collect();
            ask_one_by_one(&streams).await;
        });
    }

    /// The process is about to end: whatever is inside is ended as at a drain's deadline.
    pub(crate) fn end_all(self: &Rc<Self>) {
        for slot in self.each(|_, named, _| named.key) {
            self.end(slot);
        }
    }

    /// Nobody waits longer than `limit` for the beginning of an answer.
    pub(crate) fn give_up_overdue(&self, now: Instant, limit: Duration) {
        self.inside.borrow().values().for_each(|inside| inside.give_up_overdue(now, limit));
    }

    fn force(self: &Rc<Self>, slot: SlotKey, inside: &Rc<Inside>) {
        if let Some(pass) = inside.force() {
            if inside.notes_end() {
                self.ended(slot, Ending::Cut);
            }
            self.out(Instant::now(), pass);
        }
    }

    fn change(&self) {
        self.seq.set(self.seq.get() + 1);
        self.changed.notify_waiters();
    }

    // What can be seen.

    pub(crate) fn key(&self, id: &InstanceId) -> Result<SlotKey, NoSlot> {
        self.named.borrow().get(id).map(|n| n.key).ok_or_else(|| NoSlot(id.clone()))
    }

    /// The number of the present state of all slots.
    pub(crate) fn seq(&self) -> u64 {
        self.seq.get()
    }

    pub(crate) fn counts(&self, id: &InstanceId) -> Result<Counts, NoSlot> {
        let key = self.key(id)?;
        self.machine.borrow().counts(key).ok_or_else(|| NoSlot(id.clone()))
    }

    /// Whether every gate does `what`; with none at all, too.
    pub(crate) fn all(&self, what: Passing) -> bool {
        self.each(|_, named, machine| machine.counts(named.key).is_some_and(|c| c.passing == what))
            .into_iter()
            .all(|is| is)
    }

    pub(crate) fn upstream(&self, slot: SlotKey) -> Option<Upstream> {
        self.machine.borrow().upstream(slot).cloned()
    }

    /// What it sends to.
    pub(crate) fn behind(&self, slot: SlotKey) -> Behind {
        if self.proxies.borrow().contains(&slot) { Behind::Proxy } else { Behind::App }
    }

    /// What is to be asked how it is: where an open gate that the balancer chooses sends.
    pub(crate) fn serving(&self, slot: SlotKey) -> Result<Option<Upstream>, Gone> {
        let machine = self.machine.borrow();
        let open = machine.counts(slot).ok_or(Gone)?.passing == Passing::Open && machine.balanced(slot);
        Ok(machine.upstream(slot).filter(|_| open).cloned())
    }

    /// Whether active checks say so, or there was none.
    pub(crate) fn is_healthy(&self, slot: SlotKey) -> bool {
        self.machine.borrow().healthy(slot)
    }

    /// Whether an app is there for requests, or will be soon: one that is well, or requests are held on purpose.
    pub(crate) fn is_well(&self) -> bool {
        self.each(|_, named, machine| match machine.counts(named.key)?.passing {
            Passing::Shut => None,
            Passing::Open => Some(machine.healthy(named.key)),
            Passing::Draining | Passing::Held | Passing::Sealed => Some(true),
        })
        .contains(&Some(true))
    }

    pub(crate) fn idle(&self, id: &InstanceId) -> Result<bool, NoSlot> {
        let key = self.key(id)?;
        Ok(self.machine.borrow().idle(key))
    }

    pub(crate) fn draining(&self, id: &InstanceId) -> Result<Draining, NoSlot> {
        self.named.borrow().get(id).map(|n| n.drain).ok_or_else(|| NoSlot(id.clone()))
    }

    /// Each slot, with what `of` makes of it.
    pub(crate) fn each<T>(&self, mut of: impl FnMut(&InstanceId, &Named, &Balancer) -> T) -> Vec<T> {
        let machine = self.machine.borrow();
        self.named.borrow().iter().map(|(id, named)| of(id, named, &machine)).collect()
    }

    /// Whether a hold, a seal or a drain lives, or requests wait: then this process must not be replaced.
    pub(crate) fn is_holding(&self) -> bool {
        let busy = |p| matches!(p, Passing::Held | Passing::Sealed | Passing::Draining);
        let holds = |c: Counts| busy(c.passing) || c.waiting > 0;
        self.each(|_, named, machine| machine.counts(named.key).is_some_and(holds)).contains(&true)
    }

    /// What to store.
    pub(crate) fn state(&self) -> State {
        let kept = self.each(|id, named, machine| {
            let gate = machine.kept(named.key)?;
            Some(KeptSlot { id: id.clone(), zone: named.zone.clone(), behind: named.behind, gate })
        });
        State::new(kept.into_iter().flatten().collect())
    }

    /// Waits until `done` says something; it is asked again after every change.
    pub(crate) async fn until<T>(&self, mut done: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before the look, so that no change between the look and the wait is missed.
            changed.as_mut().enable();
            if let Some(value) = done() {
                return value;
            }
            changed.await;
        }
    }
}

/// Asks streams to end, spread out.
async fn ask_one_by_one(streams: &[Rc<Inside>]) {
    let pause = SPREAD / u32::try_from(streams.len().max(1)).unwrap_or(u32::MAX);
    for stream in streams {
        stream.ask();
        tokio::time::sleep(pause).await;
    }
}
