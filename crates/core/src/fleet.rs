//! The fleet as its engine and its load balancer describe it, and as a coordinator sees it.

use crate::ids::{InstanceId, Zone};
use crate::instance::View;
use crate::time::{Millis, Mono};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Who is in the fleet, as its engine says. An instance that it does not list is *not seen*; only one that it
/// lists as ended is *gone*.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// Rises with each change.
    pub seq: u64,
    /// How many the engine wants.
    pub desired: u32,
    /// The instances that exist.
    pub members: BTreeMap<InstanceId, Member>,
    /// Instances that are known to have ended.
    pub gone: BTreeSet<InstanceId>,
    /// Those of them that the engine ended, or was told to end; the others vanished.
    #[serde(default)]
    pub ended: BTreeSet<InstanceId>,
    /// Whether the engine knows every instance that ever was (it made their ids itself): then one that it does not
    /// list has ended.
    #[serde(default)]
    pub complete: bool,
}

/// One instance, as the engine and the balancer know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where it is.
    pub zone: Zone,
    /// How its agent can be reached, `host:port`.
    pub address: String,
    /// Whether the balancer sends to it.
    pub balanced: bool,
    /// Whether the engine is about to end it, or is ending it.
    pub terminating: bool,
}

/// One instance, as the coordinator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What the engine says; `None` for one that only announced itself.
    pub member: Option<Member>,
    /// What it said of itself last.
    pub view: Option<View>,
    /// When it was last heard, by the coordinator's own clock.
    pub heard: Option<Mono>,
    /// When it was first heard that it had stored the fence that its view tells, by the same clock: what was ordered with
    /// that fence has its time from then on.
    pub obeyed: Option<Mono>,
    /// Whether it stored this coordinator's term. Until then it counts as out of service *and* able to act.
    pub greeted: bool,
    /// What its silence or refusal says, as a sentence.
    pub trouble: Option<String>,
}

/// All that a coordinator knows of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// When this was put together.
    pub now: Mono,
    /// How many the engine wants.
    pub desired: u32,
    /// By instance.
    pub seen: BTreeMap<InstanceId, Seen>,
    /// Instances that the engine says have ended.
    pub gone: BTreeSet<InstanceId>,
    /// Those of them that the engine ended ([`Members::ended`]).
    pub ended: BTreeSet<InstanceId>,
    /// Whether an instance that the engine does not list has ended ([`Members::complete`]).
    pub complete: bool,
    /// Who had announced itself when the store was listed after what newcomers read was written: that the fleet is being
    /// sealed, or that they take another release. `None` before.
    pub announced: Option<BTreeSet<InstanceId>>,
    /// How long an instance may be silent before it counts as out of service.
    pub silence: Millis,
}

impl Seen {
    /// In service: the balancer sends to it, its gate passes, and its check passed within two intervals.
    #[must_use]
    pub fn in_service(&self, now: Mono, silence: Millis) -> bool {
        let balanced = self.member.as_ref().is_some_and(|m| m.balanced && !m.terminating);
        let heard = self.heard.is_some_and(|at| now.since(at) <= silence);
        balanced && heard && self.greeted && self.view.as_ref().is_some_and(View::passes)
    }
}

impl Observation {
    /// Whether the fleet (not silence) says that `id` has ended.
    #[must_use]
    pub fn is_gone(&self, id: &InstanceId) -> bool {
        let listed = self.seen.get(id).is_some_and(|seen| seen.member.is_some());
        self.gone.contains(id) || (self.complete && !listed)
    }

    /// The instances that are in service.
    #[must_use]
    pub fn in_service(&self) -> BTreeSet<InstanceId> {
        let serves = |seen: &Seen| seen.in_service(self.now, self.silence);
        self.seen.iter().filter(|(_, seen)| serves(seen)).map(|(id, _)| id.clone()).collect()
    }
}
