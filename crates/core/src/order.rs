//! What a coordinator tells an instance to do.

use crate::gate::HoldLimits;
use crate::ids::{DeploymentId, Fence, HoldId, InstanceId};
use crate::instance::{Run, View};
use crate::policy::Policy;
use crate::release::ReleaseRef;
use crate::time::Millis;
use serde::{Deserialize, Serialize};

/// One order. It was in the record before it was sent, and an instance gets at most one a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Whom it is for; compared with oneself, since an address may have been given to another.
    pub to: InstanceId,
    /// Who is the coordinator, so that the instance knows whom to poke.
    pub holder: InstanceId,
    /// The record's term and the revision that decided it.
    pub fence: Fence,
    /// Which deployment.
    pub deployment: DeploymentId,
    /// What to do.
    pub task: Task,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "task")]
pub enum Task {
    /// Make `release` ready beside the running one; verify that `fallback` is still complete.
    Stage {
        /// What to fetch.
        release: ReleaseRef,
        /// What a rollback would need.
        fallback: Option<ReleaseRef>,
    },
    /// The whole update: leave the balancer, drain, stop, switch, start, check, rejoin. The way back is the same.
    Update {
        /// What to run.
        release: ReleaseRef,
        /// With these limits.
        limits: Limits,
    },
    /// Come back into service, if the app was not stopped yet: capacity fell elsewhere.
    TakeBack,
    /// Begin a soft hold, or renew it.
    Hold {
        /// Its id.
        hold: HoldId,
        /// It lapses when not renewed for so long.
        lapse: Millis,
        /// What may wait.
        limits: HoldLimits,
    },
    /// Turn the living hold into a seal, and stop the app.
    Seal {
        /// The hold; a newcomer without an app needs none.
        hold: HoldId,
    },
    /// Run this migration, once.
    Migrate {
        /// Which.
        run: Run,
    },
    /// From held or sealed: run `release`, and when it is healthy let the waiting requests go.
    Start {
        /// What to run.
        release: ReleaseRef,
        /// With these limits.
        limits: Limits,
    },
}

/// How long each part of an update may take, and how it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Start the new release beside the old one.
    pub overlap: bool,
    /// Requests in flight get so long.
    pub drain: Millis,
    /// A gate behind a foreign balancer waits until nothing arrived for so long.
    pub quiet: Millis,
    /// From the process's start to its first passed check.
    pub start: Millis,
    /// From TERM to KILL.
    pub stop: Millis,
    /// With overlap, the old app stays so long after the switch, so that an early death costs a switch back.
    pub linger: Millis,
    /// Out of the balancer for the update (not with overlap, and not where it is the only one: then its gate
    /// holds instead).
    pub leave: bool,
    /// So many others must be in the balancer when it leaves; it looks once more itself.
    pub min: u32,
    /// It is taken for out of service, so its leave costs no capacity; if it serves after all, it must object.
    #[serde(default)]
    pub spare: bool,
    /// What may wait at its gate meanwhile.
    pub hold: HoldLimits,
    /// After it was let in, it must serve for so long before it counts as proven; a death or a failed check in that
    /// time is a failure of the release.
    pub prove: Millis,
}

impl Limits {
    /// Those of `policy` for an instance that moves alone: it leaves, nobody else has to serve, nothing is proven.
    #[must_use]
    pub const fn of(policy: &Policy) -> Self {
        Self {
            overlap: false,
            drain: policy.drain,
            quiet: policy.quiet,
            start: policy.start,
            stop: policy.stop,
            linger: policy.linger,
            leave: true,
            min: 0,
            spare: false,
            hold: policy.hold,
            prove: Millis::ZERO,
        }
    }
}

/// An instance's answer to a greeting or an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Whether it was obeyed, now or before.
    pub obeyed: Obeyed,
    /// What it says of itself.
    pub view: View,
}

/// What became of a greeting or an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obeyed {
    /// It is stored, and being carried out.
    Yes,
    /// It has been before; nothing changed.
    Already,
    /// A higher fence was seen.
    Older(Fence),
    /// It cannot be done in its present state (a seal without a living hold, say).
    Not(String),
}
