//! What is said over `run/keeper.sock`: one JSON document a line, one answer a question.

use super::ledger::Who;
use everup_core::fleet::Members;
use everup_core::ids::InstanceId;
use everup_core::time::Wall;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest question, in bytes.
pub(super) const LONGEST: usize = 4_096;

/// A question to the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum Ask {
    /// Who is in the fleet; answered when it is newer than `since`, or after some seconds.
    Members {
        /// What the asker has.
        since: u64,
    },
    /// So many instances, please.
    Resize {
        /// How many.
        to: u32,
    },
    /// Do not end this instance by scaling in, or do.
    Protect {
        /// Which.
        id: InstanceId,
        /// Whether.
        on: bool,
    },
    /// End this instance; it is replaced.
    Terminate {
        /// Which.
        id: InstanceId,
        /// Without giving it time.
        at_once: bool,
    },
    /// End everything; the connection is closed when nothing is left.
    Down {
        /// Without giving it time, and whatever is protected.
        at_once: bool,
    },
    /// What the keeper knows.
    Info,
}

/// What the keeper answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The fleet.
    Fleet(Fleet),
    /// Done, or begun.
    Done,
    /// What the keeper knows.
    Info(Info),
    /// Not done, and why.
    Refused(String),
}

/// The fleet as the keeper tells it; also the content of `run/fleet.json`, for when the keeper is away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// The form of this document.
    pub form: u32,
    /// Who is in it; `balanced` is the balancer's to say and always false here.
    pub members: Members,
}

/// What the keeper knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Its process.
    pub pid: u32,
    /// When it began.
    pub since: Wall,
    /// Where the service listens.
    pub service: String,
    /// The fleet.
    pub fleet: Fleet,
    /// The processes that it keeps, by role ("the balancer", "the agent of i1").
    pub processes: BTreeMap<String, u32>,
    /// The instances that are not ended by scaling in.
    pub protected: Vec<InstanceId>,
}

impl Info {
    /// The process that `who` is, if it runs.
    #[must_use]
    pub fn process(&self, who: &Who) -> Option<u32> {
        self.processes.get(&who.to_string()).copied()
    }
}
