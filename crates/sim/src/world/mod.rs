//! The world: everything that is not the engine, as plain state that tasks of the executor change.
//!
//! Every change that anybody could care about is an event; after each one the rules are asked
//! ([`crate::rules`]), and the first that is broken ends the world.

pub(crate) mod agent;
pub(crate) mod app;
pub(crate) mod database;
pub(crate) mod fleet;
pub(crate) mod gate;
pub(crate) mod host;
pub(crate) mod objects;
pub(crate) mod releases;

use crate::executor::{Executor, Group, Sleep, WORLD, until};
use crate::fault::Fault;
use crate::moment::{self, Moments};
use crate::rng::Rng;
use crate::rules::{self, Broken, Law};
use crate::setting::Setting;
use crate::trace::{Event, HostNo, Trace, What};
use database::Database;
use everup_core::deployment::State;
use everup_core::ids::{Environment, InstanceId};
use everup_core::record::Record;
use everup_core::status::Status;
use fleet::Fleet;
use host::Host;
use objects::Objects;
use releases::Releases;
use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The wall clock's time at the beginning of every world.
pub(crate) const EPOCH: u64 = 1_700_000_000_000;

/// All state.
pub(crate) struct World {
    pub(crate) executor: Rc<Executor>,
    pub(crate) setting: Rc<Setting>,
    pub(crate) trace: Trace,
    pub(crate) hosts: BTreeMap<InstanceId, Host>,
    pub(crate) fleet: Fleet,
    pub(crate) objects: Objects,
    pub(crate) releases: Releases,
    pub(crate) database: Database,
    /// Directions in which no message gets through.
    pub(crate) cut: BTreeSet<(HostNo, HostNo)>,
    /// Hosts that do not reach the store.
    pub(crate) cut_off: BTreeSet<HostNo>,
    /// Whether nobody reaches the store.
    pub(crate) store_away: bool,
    /// The faults are over.
    pub(crate) calm: bool,
    /// The judge has spoken.
    pub(crate) over: bool,
    /// Why an operator had to help.
    pub(crate) helped: Vec<String>,
    /// Users stopped coming; the world is being wound up.
    pub(crate) closing: bool,
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// Agents that are to be killed after so many polls more, and come back after so long.
    pub(crate) armed: BTreeMap<Group, (InstanceId, u32, u64)>,
    /// Agents that do not run now.
    pub(crate) paused: BTreeSet<Group>,
    pub(crate) transitions: BTreeMap<(State, State), u64>,
    pub(crate) requests: Requests,
    /// What accidents are made of.
    pub(crate) moments: Moments,
    /// How often operators have asked for a deployment.
    pub(crate) wishes: u32,
    pub(crate) law: Law,
    pub(crate) broken: Option<Broken>,
    /// Rung when membership changed.
    pub(crate) bell: Bell,
}

/// What became of the users' requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Requests {
    pub(crate) begun: u32,
    pub(crate) served: u32,
    pub(crate) failed: u32,
}

/// Wakes all that wait for some change.
#[derive(Debug, Default)]
pub(crate) struct Bell(Vec<Waker>);

impl Bell {
    /// Wakes everybody.
    pub(crate) fn ring(&mut self) {
        for waker in self.0.drain(..) {
            waker.wake();
        }
    }

    /// Remembers `waker` until the next ring.
    pub(crate) fn join(&mut self, waker: &Waker) {
        if !self.0.iter().any(|known| known.will_wake(waker)) {
            self.0.push(waker.clone());
        }
    }
}

impl World {
    /// Takes an event, and asks the rules.
    pub(crate) fn happened(&mut self, host: Option<HostNo>, what: What) {
        let event = Event { at: self.executor.now(), host, what };
        self.trace.push(event.clone());
        moment::look(self, &event);
        if self.broken.is_none() {
            self.broken = rules::after(self, &event).err();
        }
    }

    /// Takes an event of `host`.
    pub(crate) fn on(&mut self, host: &InstanceId, what: What) {
        let no = self.hosts.get(host).map(|host| host.no);
        self.happened(no, what);
    }

    /// Notes that `fault` was injected, on `host` if it was on one.
    pub(crate) fn inject(&mut self, host: Option<HostNo>, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
        self.happened(host, What::Fault(fault));
    }

    /// An agent shows what it knows.
    pub(crate) fn shown(&mut self, by: HostNo, status: &Status) {
        if self.broken.is_none() {
            self.broken = rules::after_show(self, by, status).err();
        }
    }

    /// Lets all apps reach the database, or none.
    pub(crate) fn take_database(&mut self, away: bool) {
        self.database.away = away;
        self.law.away_since = away.then(|| self.law.away_since.unwrap_or(self.executor.now()));
    }

    /// Virtual milliseconds.
    pub(crate) fn now(&self) -> u64 {
        self.executor.now()
    }

    /// The record of the deployment `id`.
    pub(crate) fn record(&self, id: &str) -> Option<&Record> {
        self.objects.records.values().find(|record| record.id.as_str() == id)
    }

    /// The host named `id`, which has been made.
    pub(crate) fn host(&mut self, id: &InstanceId) -> &mut Host {
        self.hosts.get_mut(id).expect("hosts are never forgotten")
    }

    /// Whether a fault that lasts has not ended.
    pub(crate) fn is_troubled(&self) -> bool {
        let cut = !self.cut.is_empty() || !self.cut_off.is_empty();
        cut || self.store_away || self.database.away || !self.paused.is_empty()
    }

    /// Whether `app` on `host` would pass a check now.
    pub(crate) fn is_healthy(&self, host: &Host, app: &app::App) -> bool {
        !self.database.away && host.ill_until <= self.now() && app.is_up(self.now())
    }
}

/// A handle on the world and its executor.
#[derive(Clone)]
pub(crate) struct Sim {
    pub(crate) executor: Rc<Executor>,
    pub(crate) setting: Rc<Setting>,
    world: Rc<RefCell<World>>,
}

impl Sim {
    /// The world of `setting`, empty.
    pub(crate) fn new(setting: Setting) -> Self {
        let executor = Rc::new(Executor::new(Rng::of(setting.seed, "order")));
        let setting = Rc::new(setting);
        let world = World {
            executor: executor.clone(),
            setting: setting.clone(),
            trace: Trace::default(),
            hosts: BTreeMap::new(),
            fleet: Fleet::new(&setting),
            objects: Objects::default(),
            releases: Releases::default(),
            database: Database::default(),
            cut: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            store_away: false,
            calm: setting.is_calm(),
            over: false,
            helped: Vec::new(),
            closing: false,
            faults: BTreeMap::new(),
            armed: BTreeMap::new(),
            paused: BTreeSet::new(),
            transitions: BTreeMap::new(),
            requests: Requests::default(),
            moments: Moments::default(),
            wishes: 0,
            law: Law::default(),
            broken: None,
            bell: Bell::default(),
        };
        Self { executor, setting, world: Rc::new(RefCell::new(world)) }
    }

    /// The world's state; never kept across an await.
    pub(crate) fn world(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }

    /// Virtual milliseconds.
    pub(crate) fn now(&self) -> u64 {
        self.executor.now()
    }

    /// Waits so many milliseconds.
    pub(crate) fn sleep(&self, span: u64) -> Sleep {
        until(&self.executor, self.now() + span)
    }

    /// Adds a task of the world.
    pub(crate) fn spawn(&self, job: impl Future<Output = ()> + 'static) {
        self.executor.spawn(WORLD, job);
    }

    /// Adds a task of an agent's run.
    pub(crate) fn spawn_in(&self, group: Group, job: impl Future<Output = ()> + 'static) {
        self.executor.spawn(group, job);
    }

    /// Waits until `look` finds something in the fleet; it is asked again whenever the fleet changes.
    pub(crate) async fn when<T>(&self, mut look: impl FnMut(&mut World) -> Option<T>) -> T {
        std::future::poll_fn(|cx| {
            let mut world = self.world();
            look(&mut world).map_or_else(
                || {
                    world.bell.join(cx.waker());
                    Poll::Pending
                },
                Poll::Ready,
            )
        })
        .await
    }

    /// Waits until `look` finds something on a host; it is asked again whenever that host changes.
    pub(crate) async fn when_on<T>(
        &self,
        id: &InstanceId,
        mut look: impl FnMut(&mut Host) -> Option<T>,
    ) -> T {
        std::future::poll_fn(|cx| {
            let mut world = self.world();
            let host = world.host(id);
            look(host).map_or_else(
                || {
                    host.bell.join(cx.waker());
                    Poll::Pending
                },
                Poll::Ready,
            )
        })
        .await
    }
}

/// The one environment of a world.
pub(crate) fn environment() -> Environment {
    Environment::new("sim").expect("it is a good name")
}
