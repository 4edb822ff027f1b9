//! A host's gate: the product's own state machine, with requests as objects around it.

use super::Sim;
use crate::fault::Fault;
use crate::moment::Moment;
use crate::trace::What;
use everup_core::gate::machine::{Arrival, Event, Kept, Machine, Pass, Ticket, Why};
use everup_core::gate::{Drained, HoldLimits, Passing};
use everup_core::ids::{InstanceId, StartId};
use everup_core::time::Mono;
use futures_channel::oneshot;
use std::collections::BTreeMap;

/// What a waiting request is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Go into this app.
    Pass(Option<StartId>),
    /// 503.
    Refused(Why),
}

/// What a request meets at the gate.
pub(crate) enum Met {
    /// It may enter this app.
    Inside(Ticket, Option<StartId>),
    /// It has to wait.
    Waits(Ticket, oneshot::Receiver<Told>),
    /// It was refused.
    Refused(Why),
}

/// How the last drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrainEnd {
    /// Shut.
    Drained(Drained),
    /// Taken back by a hold or a release.
    TakenBack,
}

/// The gate of one host.
pub(crate) struct SimGate {
    pub(crate) machine: Machine,
    waiting: BTreeMap<Ticket, oneshot::Sender<Told>>,
    inside: BTreeMap<Ticket, Pass>,
    /// How many drains have ended, and how the last one did.
    pub(crate) drains: u64,
    pub(crate) last_drain: Option<DrainEnd>,
    cut: u32,
    /// How long whoever comes now may wait.
    pub(crate) wait: u64,
    ticks_at: Option<u64>,
    /// Rises when its process is lost, and everything in it.
    pub(crate) process: u32,
    passing: Passing,
}

impl Default for SimGate {
    fn default() -> Self {
        Self::from_kept(&Kept::expected(true), 0)
    }
}

impl SimGate {
    fn from_kept(kept: &Kept, process: u32) -> Self {
        Self {
            machine: Machine::new(kept, HoldLimits::default()),
            waiting: BTreeMap::new(),
            inside: BTreeMap::new(),
            drains: 0,
            last_drain: None,
            cut: 0,
            wait: HoldLimits::default().wait.0,
            ticks_at: None,
            process,
            passing: kept.passing,
        }
    }

    /// A request came.
    pub(crate) fn arrive(&mut self, now: u64) -> Met {
        match self.machine.arrive(Mono(now), 1_000) {
            Arrival::Pass(pass) => {
                let (ticket, start) = self.enter(pass);
                Met::Inside(ticket, start)
            }
            Arrival::Wait(ticket) => {
                let (told, told_to) = oneshot::channel();
                self.waiting.insert(ticket, told);
                Met::Waits(ticket, told_to)
            }
            Arrival::Refuse(refusal) => Met::Refused(refusal.reason),
            Arrival::Unreachable => Met::Inside(Ticket(u64::MAX), None),
        }
    }

    fn enter(&mut self, pass: Pass) -> (Ticket, Option<StartId>) {
        let ticket = pass.ticket;
        self.inside.insert(ticket, pass);
        (ticket, self.machine.upstream().map(|up| up.start.clone()))
    }

    /// A request is out of its app; false if it was cut before.
    pub(crate) fn leave(&mut self, now: u64, ticket: Ticket) -> bool {
        match self.inside.remove(&ticket) {
            Some(pass) => {
                self.machine.answered(Mono(now), pass);
                true
            }
            None => false,
        }
    }

    /// Whether nothing is inside where it matters.
    pub(crate) fn is_idle(&self) -> bool {
        self.machine.idle()
    }

    /// What it does now.
    pub(crate) fn passing(&self) -> Passing {
        self.machine.counts().passing
    }

    fn cut_all(&mut self, now: u64) {
        while let Some((_, pass)) = self.inside.pop_first() {
            self.cut += 1;
            self.machine.answered(Mono(now), pass);
        }
    }

    /// Does what follows from the last call.
    fn follow(&mut self, now: u64) {
        loop {
            let events = self.machine.events();
            if events.is_empty() {
                return;
            }
            for event in events {
                self.happened(now, event);
            }
        }
    }

    fn happened(&mut self, now: u64, event: Event) {
        match event {
            Event::LetGo(pass, _) => {
                let (ticket, start) = self.enter(pass);
                self.tell(ticket, Told::Pass(start));
            }
            Event::Expired(ticket, refusal) => self.tell(ticket, Told::Refused(refusal.reason)),
            Event::End(_) => self.cut_all(now),
            Event::Drained(_) => {
                let cut = std::mem::take(&mut self.cut);
                self.drain_ended(DrainEnd::Drained(Drained { ended: 0, cut }));
            }
            Event::TakenBack(_) => self.drain_ended(DrainEnd::TakenBack),
            Event::Lapsed(_) | Event::Idle(_) => {}
        }
    }

    fn drain_ended(&mut self, how: DrainEnd) {
        self.drains += 1;
        self.last_drain = Some(how);
    }

    fn tell(&mut self, ticket: Ticket, told: Told) {
        if let Some(waiter) = self.waiting.remove(&ticket) {
            // Its user may have left.
            drop(waiter.send(told));
        }
    }
}

/// Asks the gate of `host` something, and does what follows: whoever may pass is told, and time is kept.
pub(crate) fn at<T>(sim: &Sim, host: &InstanceId, ask: impl FnOnce(&mut SimGate, u64) -> T) -> T {
    let mut world = sim.world();
    let now = world.now();
    let place = world.host(host);
    let answer = ask(&mut place.gate, now);
    place.gate.follow(now);
    let (before, passing) = (place.gate.passing, place.gate.passing());
    place.gate.passing = passing;
    let due = place.gate.machine.next_deadline().map(|at| at.0.max(now + 1));
    let sooner = due.filter(|at| place.gate.ticks_at.is_none_or(|known| *at < known || known <= now));
    if let Some(at) = sooner {
        place.gate.ticks_at = Some(at);
    }
    place.bell.ring();
    let process = place.gate.process;
    if before != passing {
        world.on(host, What::Gate(passing));
    }
    drop(world);
    if let Some(due) = sooner {
        tick_at(sim, host, process, due);
    }
    answer
}

fn tick_at(sim: &Sim, host: &InstanceId, process: u32, due: u64) {
    let (sim, host) = (sim.clone(), host.clone());
    sim.clone().spawn(async move {
        crate::executor::until(&sim.executor, due).await;
        let same = sim.world().host(&host).gate.process == process;
        if same {
            at(&sim, &host, |gate, now| gate.machine.tick(Mono(now)));
        }
    });
}

/// Its process is lost with everything in it, and comes back from its state file.
pub(crate) fn lose(sim: &Sim, host: &InstanceId) {
    let (no, waits) = {
        let mut world = sim.world();
        let place = world.host(host);
        (place.no, !place.gate.waiting.is_empty())
    };
    if waits {
        sim.world().moments.note(Moment::GateLostWithRequests);
    }
    sim.world().inject(Some(no), Fault::GateLost);
    come_back(sim, host);
}

/// A new process begins with what is in its state file.
pub(crate) fn come_back(sim: &Sim, host: &InstanceId) {
    let mut world = sim.world();
    let place = world.host(host);
    let lost = SimGate::from_kept(&place.gate.machine.kept(), place.gate.process + 1);
    // Dropping the waiters' senders tells them.
    let before = std::mem::replace(&mut place.gate, lost);
    place.bell.ring();
    drop(world);
    drop(before);
    at(sim, host, |_, _| ());
}
