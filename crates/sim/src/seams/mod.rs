//! All seams of one run of an agent, as this world makes them.

mod fleet;
mod gate;
mod peers;
mod runtime;
mod stage;
mod store;

use crate::executor::{Group, until};
use crate::fault::Fault;
use crate::rng::Rng;
use crate::trace::HostNo;
use crate::world::host::Host;
use crate::world::{EPOCH, Sim, environment};
use everup_core::ids::InstanceId;
use everup_core::instance::Care;
use everup_core::policy::Policy;
use everup_core::receipt::{Requests, Source, Sources, Window};
use everup_core::seams::{Chance, Clock, Meter, Seams};
use everup_core::status::Status;
use everup_core::time::{Millis, Mono, Wall};
use everup_engine::identity::Identity;
use everup_engine::mailbox::{Board, Call, Command};
use everup_engine::{coordinator, instance};
use futures_channel::mpsc;
use std::cell::RefCell;
use std::rc::Rc;

/// One run of an agent's place in the world.
pub(crate) struct Place {
    sim: Sim,
    id: InstanceId,
    no: HostNo,
    identity: Identity,
    /// What this process's monotonic clock said at the world's beginning.
    mono_base: u64,
    chance: RefCell<Rng>,
}

impl Place {
    /// The place of run number `run` on `host`.
    pub(crate) fn new(sim: &Sim, host: &Host, run: u32) -> Rc<Self> {
        let mut chance = Rng::of(sim.setting.seed, &format!("agent {} {run}", host.no));
        let identity = Identity {
            id: host.id.clone(),
            zone: host.zone(),
            environment: environment(),
            address: format!("10.0.0.{}:80", host.no),
            care: Care::default(),
            policy: Policy {
                quiet: Millis(sim.setting.late),
                drain: Millis::from_secs(10),
                ..Policy::default()
            },
        };
        let mono_base = chance.below(1 << 40);
        Rc::new(Self {
            sim: sim.clone(),
            id: host.id.clone(),
            no: host.no,
            identity,
            mono_base,
            chance: RefCell::new(chance),
        })
    }

    /// Runs the engine here.
    pub(crate) fn engine(
        self: &Rc<Self>,
        group: Group,
        calls: mpsc::Receiver<Call>,
        commands: mpsc::Sender<Command>,
        wishes: mpsc::Receiver<Command>,
    ) {
        let place = self.clone();
        self.sim.spawn_in(group, async move {
            drop(instance::run(&*place, &place.identity, calls, &commands).await);
        });
        let place = self.clone();
        self.sim.spawn_in(group, async move {
            coordinator::run(&*place, &place.identity, wishes, &*place).await;
        });
    }

    /// Waits for as long as such a call takes: `low` … `high` ms.
    async fn takes(&self, low: u64, high: u64) {
        let span = self.draw(low, high);
        self.sim.sleep(span).await;
    }

    fn draw(&self, low: u64, high: u64) -> u64 {
        self.sim.world().host(&self.id).rng.between(low, high)
    }

    /// Whether `fault` strikes this call; it is counted.
    fn strikes(&self, fault: Fault) -> bool {
        let mut world = self.sim.world();
        if world.calm {
            return false;
        }
        let rate = world.setting.rate(fault);
        let struck = rate > 0 && world.host(&self.id).rng.chance(rate);
        if struck {
            world.inject(Some(self.no), fault);
        }
        struck
    }
}

impl Board for Place {
    fn show(&self, status: Status) {
        self.sim.world().shown(self.no, &status);
    }
}

impl Clock for Place {
    fn mono(&self) -> Mono {
        Mono(self.mono_base + self.sim.now())
    }
    fn wall(&self) -> Wall {
        let off = self.sim.world().host(&self.id).clock_off;
        Wall((EPOCH + self.sim.now()).saturating_add_signed(off))
    }
    async fn until(&self, at: Mono) {
        until(&self.sim.executor, at.0.saturating_sub(self.mono_base)).await;
    }
}

impl Chance for Place {
    fn next(&self) -> u64 {
        self.chance.borrow_mut().next()
    }
}

impl Meter for Place {
    async fn measure(&self, _: Window, _: Option<Wall>) -> Sources {
        // Whoever is asked for figures and does not run costs the whole of the real one's deadline.
        let asleep = !self.sim.world().paused.is_empty();
        self.takes(1, if asleep { 8_000 } else { 50 }).await;
        let counted = self.sim.world().requests;
        let requests = Requests {
            total: u64::from(counted.served + counted.failed),
            failed: u64::from(counted.failed),
            ..Requests::default()
        };
        Sources::from([("gates".to_owned(), Source { requests, ..Source::default() })])
    }
}

impl Seams for Place {
    type Store = Self;
    type Peers = Self;
    type Fleet = Self;
    type Gate = Self;
    type Runtime = Self;
    type Stage = Self;
    type Journal = Self;
    type Meter = Self;
    type Clock = Self;
    type Chance = Self;

    fn store(&self) -> &Self {
        self
    }
    fn peers(&self) -> &Self {
        self
    }
    fn fleet(&self) -> &Self {
        self
    }
    fn gate(&self) -> &Self {
        self
    }
    fn runtime(&self) -> &Self {
        self
    }
    fn stage(&self) -> &Self {
        self
    }
    fn journal(&self) -> &Self {
        self
    }
    fn meter(&self) -> &Self {
        self
    }
    fn clock(&self) -> &Self {
        self
    }
    fn chance(&self) -> &Self {
        self
    }
}

/// Never so long that a caller would wait for ever.
const PATIENCE: Millis = Millis(3_000);
