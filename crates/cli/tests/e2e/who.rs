//! Who dies (kill -9), and how that is done.

use crate::harness::{Fleet, Setup, freeze, signal, until};
use crate::life::{AllAtOnce, Life, Rolling, Serves, Victim};
use everup_core::receipt::Verdict;
use everup_core::record::Record;
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

    /// Whether users' requests can be inside.
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
    /// So many requests are inside `who`, at most, where `victim` is.
    fn inside(&self, who: Who, victim: &Victim) -> u64 {
        match who {
            _ if !who.has_requests() => 0,
            // It does not listen yet, or was told to stop when nothing was inside it.
            Who::App | Who::Minder if victim.serves == Serves::Nobody => 0,
            // What is held is not inside the app.
            Who::App | Who::Minder if self.way == AllAtOnce && victim.serves == Serves::TheLast => LATE,
            // All at once it is the one that holds; beside the app that stops or starts it sends to the other one.
            Who::Proxy if self.way == Rolling && !self.overlaps && victim.serves == Serves::Nobody => 0,
            _ => self.users.waiting() + LATE,
        }
    }

    pub(crate) fn kill(&mut self, who: Who, victim: &Victim) {
        // Looked for first: what is inside is counted just before it dies.
        let pid = match who {
            Who::Minder => Some(minder(&self.fleet, victim).minder.pid),
            Who::App => victim.app,
            Who::Other => Some(other(&self.fleet, victim)),
            _ => None,
        };
        self.inside = self.inside(who, victim);
        let fleet = &mut self.fleet;
        match who {
            Who::Keeper => fleet.replace_keeper_now(),
            Who::Balancer => fleet.kill_balancer(),
            Who::Coordinator => fleet.kill_agent(&fleet.coordinator()),
            Who::Sleeper => sleeps(fleet),
            Who::Agent => fleet.kill_agent(&victim.instance),
            Who::Minder | Who::App | Who::Other => signal(pid.unwrap(), Signal::KILL),
            Who::Proxy => fleet.kill_proxy(&victim.instance),
        }
    }
}

impl Life {
    /// What the death of `who` in the deployment of `record` cost the users: no more than was inside it, and the receipt
    /// counts it.
    #[track_caller]
    pub(crate) fn judge(&mut self, who: Who, record: &Record) {
        let before = self.failed_last;
        let failed = self.judge_late(who);
        let (inside, receipt) = (self.inside, record.receipt.as_ref().unwrap());
        let told = format!("{who:?}: {:#?}\n{receipt:#?}", self.users.reasons());
        match who {
            // It is the one that counts.
            Who::Balancer => assert_ne!(receipt.verdict, Verdict::Kept, "{told}"),
            // A prober that dies leaves what it had asked, also while it waits. And counts are kept by the second: whatever
            // failed in the second in which a deployment begins is counted to it, also what the death before had cost.
            _ if inside == 0 => {
                let failed = receipt.requests.failed - receipt.requests.left_while_held;
                assert!(failed <= before, "{before} failed before: {told}");
            }
            _ => assert!(receipt.requests.failed >= failed, "{failed} failed: {told}"),
        }
    }

    /// The same of a death after all was counted, which no receipt can know of. How many requests failed.
    #[track_caller]
    pub(crate) fn judge_late(&mut self, who: Who) -> u64 {
        let (failed, inside) = (self.users.failed() - self.failed, self.inside);
        let told = self.users.reasons();
        assert!(failed <= inside, "{failed} failed, and {inside} were inside {who:?}: {told:#?}");
        (self.failed, self.failed_last) = (self.failed + failed, failed);
        failed
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
    let has_record = fleet.record(id.as_str()).is_some();
    until("another coordinator to go on", || {
        // It may have been stopped before it told anybody that it leads; who is asked looks by itself.
        fleet.everup(&["status"]);
        let led = if has_record { fleet.record(id.as_str())?.term } else { fleet.head()?.term };
        (led > head.term).then_some(())
    });
    signal(agent, Signal::CONT);
}
