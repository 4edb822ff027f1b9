//! What an instance remembers, does and tells.

use crate::gate::{Passing, Upstream};
use crate::ids::{DeploymentId, Environment, Fence, HoldId, InstanceId, MigrationId, Version, Zone};
use crate::order::{Order, Task};
use crate::release::{Command, Fetched, ReleaseRef};
use crate::time::{Millis, Wall};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Where an instance is in its own procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It exists, and has not yet learnt what to run.
    Announced,
    /// It may not start anything yet; [`View::waiting`] says for what.
    Waiting,
    /// Its app is being started.
    Starting,
    /// Its app answered its checks.
    Healthy,
    /// It asked to be let into the balancer.
    Joining,
    /// In service.
    Serving,
    /// It asked to be let out of the balancer.
    Leaving,
    /// Its gate is shut and nothing is in flight.
    Idle,
    /// No app runs.
    Stopped,
    /// The new release is being started beside the old one.
    Beside,
    /// The gate sends to the new release; the old one lingers.
    Lingering,
    /// Its gate holds; the old app runs.
    Held,
    /// Its gate is sealed and its app stopped.
    Sealed,
    /// It runs the migration.
    Migrating,
    /// Its app does not start, or fails its checks.
    Ill,
}

/// What an instance says of itself. `seq` rises with each change, within one run of its agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Who it is.
    pub id: InstanceId,
    /// Where it is.
    pub zone: Zone,
    /// Random per run of the agent: a `seq` of another run cannot be compared.
    pub run: u64,
    /// Rises with each change.
    pub seq: u64,
    /// The highest fence that it stored; it obeys nothing lower.
    pub fence: Fence,
    /// Where it is in its procedure.
    pub phase: Phase,
    /// What it is waiting for, as a sentence.
    pub waiting: Option<String>,
    /// The release whose app it runs, or ran last.
    pub release: Option<ReleaseRef>,
    /// Whether that app runs.
    pub running: bool,
    /// Whether a second app runs beside that one, or may: of the new release on its way up, or of the old one on its way
    /// down.
    #[serde(default)]
    pub doubled: bool,
    /// The fence of the last order that it carried out to its end.
    pub done: Fence,
    /// Whether it has served since that order for as long as the order wanted as proof.
    pub steady: bool,
    /// Releases that are complete and verified on its disk.
    pub staged: BTreeSet<ReleaseRef>,
    /// What its gate does.
    pub gate: Passing,
    /// Whether nothing is in flight at its gate (while it holds).
    pub idle: bool,
    /// Whether the last health check within two intervals passed.
    pub healthy: bool,
    /// The hold that its gate lives under.
    pub hold: Option<HoldId>,
    /// What is wrong.
    pub problem: Option<Problem>,
    /// The migration that it was granted, and how far it is.
    pub migration: Option<Granted>,
    /// How often its app ended without being asked to, since it was last started on purpose.
    pub deaths: u32,
    /// What its last staging cost.
    pub fetched: Option<Fetched>,
    /// Why it does not carry out its order as it was granted: there is no room for a second app, or it serves although
    /// it was taken for out of service. It serves on and waits to be granted its move anew, for only the coordinator
    /// knows whether the others can spare it.
    #[serde(default)]
    pub objects: Option<String>,
}

impl View {
    /// Whether requests pass and the app answers: two of the three conditions of being in service; the balancer
    /// has the third.
    #[must_use]
    pub const fn passes(&self) -> bool {
        self.healthy
            && matches!(self.gate, Passing::Open)
            && matches!(self.phase, Phase::Serving | Phase::Lingering | Phase::Joining | Phase::Beside)
    }
}

/// Something that is wrong with an instance: what was wanted, what happened, what the app said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{check}: {reason}")]
pub struct Problem {
    /// Which step or check found it: "start", "health check GET /healthz", "stage", "version".
    pub check: String,
    /// What happened, and what to do about it.
    pub reason: String,
    /// The last lines that the app wrote.
    pub log: Vec<String>,
}

impl Problem {
    /// A problem without log lines.
    pub fn new(check: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { check: check.into(), reason: reason.into(), log: Vec::new() }
    }
}

/// What an instance keeps across restarts of its agent. Saved, synced, before it acts on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The form of this document.
    pub form: u32,
    /// The highest fence seen; kept for ever.
    pub fence: Fence,
    /// What it is to do; nothing on a new instance.
    pub goal: Option<Goal>,
    /// The order that set the goal, if one did: answered again when it comes again.
    pub order: Option<Order>,
    /// The release whose app it runs, or ran last.
    pub release: Option<ReleaseRef>,
    /// The release that ran before the last update, while that is not done: the way back.
    pub before: Option<ReleaseRef>,
    /// The last order that was carried out to its end.
    pub done: Fence,
    /// The migration that was granted to it.
    pub migration: Option<Granted>,
    /// A problem that ended the last order without success.
    pub problem: Option<Problem>,
    /// Why the last order was given up, the old app serving on: said until the next one.
    #[serde(default)]
    pub given_up: Option<Problem>,
    /// Whether its announcement is known to be in the store; nothing is started before that.
    #[serde(default)]
    pub announced: bool,
}

/// What an instance is to do; reached from wherever it is, so that a restart in the middle only begins again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "goal")]
pub enum Goal {
    /// Be in service on `release`.
    Serve {
        /// What to run.
        release: ReleaseRef,
    },
    /// Be in service on `release` after an update that was ordered.
    Update {
        /// What to run.
        release: ReleaseRef,
        /// How.
        task: Task,
    },
    /// Hold the gate while the old app runs. Ends by itself.
    Hold {
        /// The order.
        task: Task,
    },
    /// Sealed: starts and opens by order only, as long as this deployment runs.
    Sealed {
        /// Which.
        deployment: DeploymentId,
    },
}

/// A migration that was granted to this instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Which run.
    pub run: Run,
    /// How far it is.
    pub stage: RunStage,
}

/// One attempt at a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The migration.
    pub migration: MigrationId,
    /// The release that brings it, in whose folder it runs.
    pub release: ReleaseRef,
    /// The deployment that granted it.
    pub deployment: DeploymentId,
    /// The environment, told to the command.
    pub environment: Environment,
    /// 1, then one more for each attempt that an operator asked for.
    pub attempt: u32,
    /// What to run.
    pub command: Command,
    /// Whether it takes the migration back.
    pub undo: bool,
}

impl Run {
    /// What it does, for sentences: "migration orders", "the undo of migration orders".
    #[must_use]
    pub fn what(&self) -> String {
        let of = if self.undo { "the undo of " } else { "" };
        format!("{of}migration {}", self.migration)
    }

    /// How a person says what became of it.
    #[must_use]
    pub const fn words(&self) -> &'static str {
        if self.undo {
            "everup resume --undo=applied, not-applied or run-again"
        } else {
            "everup resume --migration=applied, not-applied or run-again"
        }
    }
}

/// How far a run is, as its runner knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStage {
    /// Written down, not begun: known not to have run.
    Accepted,
    /// It may have begun.
    Spawned,
    /// It ended.
    Ended(Outcome),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// With this exit status, and no process of it is left.
    Exited {
        /// The status.
        code: i32,
        /// Its last lines.
        log: Vec<String>,
    },
    /// It is known never to have begun, and never will.
    NeverBegan {
        /// Why not.
        reason: String,
    },
    /// Killed by a signal, its host lost, or processes of it got away: a person has to look.
    Unknown {
        /// What is known.
        reason: String,
        /// Its last lines.
        log: Vec<String>,
    },
}

impl Outcome {
    /// It never began, for this reason.
    pub fn never_began(reason: impl Into<String>) -> Self {
        Self::NeverBegan { reason: reason.into() }
    }

    /// Whether it is known never to have begun.
    #[must_use]
    pub const fn is_never_begun(&self) -> bool {
        matches!(self, Self::NeverBegan { .. })
    }
}

/// One of the two places (ports) where an instance's app can run, so that two releases can run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A running app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Where.
    pub slot: Slot,
    /// What.
    pub release: ReleaseRef,
    /// How to reach it, and which start it is.
    pub upstream: Upstream,
}

/// What of ours was found running.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The apps; at most one a slot.
    pub apps: Vec<Running>,
}

/// A passed health check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The version that the app itself reports, if it was asked and can say.
    pub version: Option<Version>,
    /// Where it answers, if that was looked for: an app may listen on `::1` alone.
    pub address: Option<SocketAddr>,
    /// The last lines that it wrote, where it reports another version than its release's.
    pub log: Vec<String>,
}

/// How an app ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// "exit status 1", "signal 9 (KILL)", "was not there".
    pub how: String,
    /// The last lines that it wrote.
    pub log: Vec<String>,
    /// What had to be killed because it outlived the deadline.
    pub killed: Vec<String>,
}

/// The form of [`Announcement`] that this version writes; it reads no other.
pub const ANNOUNCEMENT_FORM: u32 = 1;

/// What an instance puts into the store at boot, before it reads head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The form of this document.
    pub form: u32,
    /// Marks the write.
    pub write: crate::ids::WriteId,
    /// Who.
    pub id: InstanceId,
    /// Where.
    pub zone: Zone,
    /// How its agent can be reached, `host:port`.
    pub address: String,
    /// When, by its own clock: for people.
    pub at: Wall,
}

/// How an instance judges its app, from its own settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Care {
    /// Between two checks of a serving app.
    pub interval: Millis,
    /// Between two checks of a starting one.
    pub starting_interval: Millis,
    /// So many in a row make a starting app healthy.
    pub successes: u32,
    /// So many failures in a row make a serving app ill.
    pub failures: u32,
    /// The longest a stop may take before KILL.
    pub stop: Millis,
    /// The longest a start may take outside of a deployment.
    pub start: Millis,
    /// The wait before the second restart of an app that died; doubled each time, up to a minute.
    pub back_off: Millis,
}

impl Default for Care {
    fn default() -> Self {
        Self {
            interval: Millis(1_000),
            starting_interval: Millis(20),
            successes: 1,
            failures: 3,
            stop: Millis::from_secs(30),
            start: Millis::from_secs(60),
            back_off: Millis(500),
        }
    }
}
