//! What happened in a world: hashed whole, so that two runs can be compared, and the end of it kept, so that a
//! failure can be read.

use everup_core::deployment::State;
use everup_core::gate::Passing;
use everup_core::ids::{Fence, Term};
use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};

/// How many events a story keeps.
const STORY: usize = 4_000;

/// FNV-1a: the same on every run and every machine, unlike the standard library's.
#[derive(Debug, Clone)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// A host's number; it never changes and is never used again.
pub(crate) type HostNo = u16;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Event {
    /// Virtual milliseconds.
    pub(crate) at: u64,
    /// Where; nothing for what is not on a host.
    pub(crate) host: Option<HostNo>,
    /// What.
    pub(crate) what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// A host came up, in this zone.
    Launched(u8),
    /// The group decided to end it.
    Terminating,
    /// Its processes are gone.
    Lost,
    /// The fleet says so.
    Gone,
    /// An agent started: its run's number.
    AgentStarted(u32),
    /// The agent was killed; its unsynced state is lost.
    AgentCrashed,
    /// An agent that did not run for a while does again.
    AgentResumed,
    /// Something was injected.
    Fault(crate::fault::Fault),
    /// The journal holds this fence, synced.
    Journaled(Fence),
    /// Head was replaced.
    Head {
        /// Its term.
        term: Term,
        /// Who coordinates.
        holder: Option<String>,
        /// What runs.
        current: Option<String>,
    },
    /// A record was written.
    Record {
        /// Its deployment.
        id: String,
        /// Where it is.
        state: State,
        /// At which fence.
        fence: Fence,
        /// Why it is there.
        because: String,
    },
    /// `version.properties` was written.
    Mirror {
        /// What it says that newcomers take.
        says: u16,
        /// What they took by the head that it names.
        head: u16,
    },
    /// A coordinator sent an order to host `to`.
    OrderSent {
        /// To whom.
        to: HostNo,
        /// At which fence.
        fence: Fence,
        /// What.
        task: &'static str,
    },
    /// A call reached the agent.
    Delivered {
        /// The fence of an order, or of a greeting.
        fence: Fence,
        /// What.
        task: &'static str,
    },
    /// The agent answered.
    Answered {
        /// The fence of the order or greeting.
        fence: Fence,
        /// How.
        obeyed: &'static str,
        /// Whether its journal held a higher fence when the order came.
        lower: bool,
    },
    /// It is out of the balancer.
    Left,
    /// It is in the balancer.
    Joined,
    /// Protected from scale-in, or not any more.
    Protected(bool),
    /// Its gate does this now.
    Gate(Passing),
    /// Its gate sends to this start of this version.
    Switched(u16),
    /// An app was started: the version, the start's id.
    AppStarted(u16, String),
    /// The engine told an app to stop.
    AppStopping(u16, String),
    /// An app ended.
    AppEnded(u16, String, Death),
    /// A release is on its disk.
    Staged(u16),
    /// The command of a migration, or of its undo, began: its schema, the attempt, whether it is the undo.
    RunBegan(u16, u32, bool),
    /// It ended.
    RunEnded(u16, &'static str),
    /// A user's request ended well.
    Served(u32),
    /// It did not.
    Failed(u32, Failure),
    /// An operator did something.
    Operator(String),
    /// This operator was refused: another deployment runs.
    Refused(String),
    /// The faults are over.
    Calm,
}

/// How an app ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Death {
    /// By itself, or by a fault.
    Own,
    /// The engine asked for it.
    Stopped,
    /// Its host is lost.
    HostLost,
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The balancer had nobody to send it to.
    NoTarget,
    /// Its host is lost.
    HostLost,
    /// The app inside which it was died by itself.
    AppDied,
    /// The engine stopped the app inside which it was.
    StoppedUnder,
    /// The gate passed it to an app that the engine had stopped, or that never was.
    NoApp,
    /// The gate passed it to an app that had died by itself.
    DeadApp,
    /// The gate passed it to an app that had died by itself a good while ago.
    LongDead,
    /// The gate passed it to an app that was not up yet.
    NotUp,
    /// The app was ill.
    AppIll,
    /// The gate cut it at the drain's deadline.
    Cut,
    /// It waited too long.
    WaitedTooLong,
    /// It waited longer than its gate holds anybody, and was let in all the same.
    PassedTooLate,
    /// The gate had no place for it.
    HoldFull,
    /// Its gate's process was lost.
    GateLost,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.map(|n| format!("i{n}")).unwrap_or_default();
        write!(f, "{:>5}.{:03} {host:<4} {:?}", self.at / 1_000, self.at % 1_000, self.what)
    }
}

/// All events: a hash of all, the last ones themselves.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: Fnv,
    count: u64,
    last: VecDeque<Event>,
}

impl Trace {
    /// Takes an event. A request that ended well is hashed and counted, but would only crowd the story.
    pub(crate) fn push(&mut self, event: Event) {
        event.hash(&mut self.hash);
        self.count += 1;
        if matches!(event.what, What::Served(_)) {
            return;
        }
        if self.last.len() == STORY {
            self.last.pop_front();
        }
        self.last.push_back(event);
    }

    /// A hash of every event so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The last ones, a line each.
    pub(crate) fn story(&self) -> Vec<String> {
        self.last.iter().map(ToString::to_string).collect()
    }
}
