//! Who dies (kill -9), and how that is done.

use crate::harness::{Fleet, Setup, freeze, signal, until};
use crate::life::{AllAtOnce, Life, Victim};
use everup_host::minder;
use rustix::process::Signal;

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Keeper,
    Balancer,
    Coordinator,
    /// The coordinator too, but it only sleeps until another one goes on, and wakes in the middle of the step.
    Sleeper,
    /// The agent of the instance that is in the step.
    Agent,
    /// The minder of its app.
    Minder,
    /// Its app.
    App,
    /// With overlap, the app beside that one.
    Other,
    /// The proxy before its app.
    Proxy,
}

impl Who {
    /// All that there are where nothing starts beside anything.
    pub(crate) fn all() -> Vec<Self> {
        Self::without_apps().into_iter().chain([Self::Minder, Self::App]).collect()
    }

    /// All that there are while no app runs.
    pub(crate) fn without_apps() -> Vec<Self> {
        let mut all = vec![Self::Keeper, Self::Balancer, Self::Coordinator, Self::Sleeper, Self::Agent];
        all.extend((Setup::default().gate == "proxy").then_some(Self::Proxy));
        all
    }

    /// Whether users' requests are inside.
    pub(crate) const fn has_requests(self) -> bool {
        matches!(self, Self::Balancer | Self::Minder | Self::App | Self::Other | Self::Proxy)
    }

    pub(crate) fn gate(self) -> &'static str {
        if matches!(self, Self::Proxy) { "proxy" } else { Setup::default().gate }
    }
}

/// Between the look at the users and the kill some more requests may have come.
const LATE: u64 = 5;

impl Life {
    pub(crate) fn kill(&mut self, who: Who, victim: &Victim) {
        self.inside += match who {
            // What is held is not inside the app.
            Who::App | Who::Minder if self.way == AllAtOnce => LATE,
            _ if who.has_requests() => self.users.waiting() + LATE,
            _ => 0,
        };
        let fleet = &mut self.fleet;
        match who {
            Who::Keeper => fleet.replace_keeper_now(),
            Who::Balancer => fleet.kill_balancer(),
            Who::Coordinator => fleet.kill_agent(&fleet.coordinator()),
            Who::Sleeper => sleeps(fleet),
            Who::Agent => fleet.kill_agent(&victim.instance),
            Who::Minder => signal(minder(fleet, victim).minder.pid, Signal::KILL),
            Who::App => signal(victim.app.unwrap(), Signal::KILL),
            Who::Other => signal(other(fleet, victim), Signal::KILL),
            Who::Proxy => fleet.kill_proxy(&victim.instance),
        }
    }
}

/// The minder of the app that is in the step.
fn minder(fleet: &Fleet, victim: &Victim) -> minder::State {
    until("its minder", || fleet.minders(&victim.instance).into_iter().find(|state| app(state) == victim.app))
}

/// The app beside the one that is in the step.
fn other(fleet: &Fleet, victim: &Victim) -> u32 {
    until("the app beside it", || {
        fleet.minders(&victim.instance).iter().filter_map(app).find(|app| Some(*app) != victim.app)
    })
}

fn app(state: &minder::State) -> Option<u32> {
    Some(state.child.as_ref()?.pid)
}

/// It is asleep until the others have noticed, which takes its lease and more, and another one has begun to decide.
fn sleeps(fleet: &Fleet) {
    let asleep = fleet.coordinator();
    let agent = fleet.agent(&asleep);
    freeze(agent);
    let head = fleet.head().unwrap();
    let id = head.current.unwrap().id;
    until("another coordinator to go on", || {
        // It may have been stopped before it told anybody that it leads; who is asked looks by itself.
        fleet.everup(&["status"]);
        (fleet.record(id.as_str())?.term > head.term).then_some(())
    });
    signal(agent, Signal::CONT);
}
