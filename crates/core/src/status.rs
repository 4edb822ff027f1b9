//! What anybody may know of an environment now: the answer of `/v1/status`, and what `everup status` draws.

use crate::head::Head;
use crate::ids::{Environment, InstanceId, Zone};
use crate::instance::{Phase, Problem};
use crate::record::Record;
use crate::release::ReleaseRef;
use serde::{Deserialize, Serialize};

/// An environment, as one agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Rises with each change, within one run of the agent that answers.
    pub seq: u64,
    /// The agent that answers.
    pub instance: InstanceId,
    /// Of which environment.
    pub environment: Environment,
    /// Who coordinates, as this agent last read; a status is live when it is the answering agent itself.
    pub coordinator: Option<InstanceId>,
    /// Head, as it was last read.
    pub head: Option<Head>,
    /// The deployment that runs, or the last one that this agent has seen.
    pub record: Option<Record>,
    /// How many instances the fleet's engine wants.
    pub desired: u32,
    /// The instances, sorted by id.
    pub instances: Vec<Line>,
    /// Why the agent cannot see all of it (the store does not answer, say).
    pub trouble: Option<String>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Who.
    pub id: InstanceId,
    /// Where.
    pub zone: Zone,
    /// How its agent can be reached.
    pub address: String,
    /// Where it is in its procedure; nothing if it was not heard.
    pub phase: Option<Phase>,
    /// What it runs.
    pub release: Option<ReleaseRef>,
    /// Whether the balancer sends to it, its gate passes and its check passed.
    pub in_service: bool,
    /// What it waits for.
    pub waiting: Option<String>,
    /// What is wrong with it.
    pub problem: Option<Problem>,
}
