//! What the demo showed: every deployment with its receipt, what was killed, what the users counted, and which
//! promises were not kept.

use crate::exit::Exit;
use crate::load::Tally;
use crate::progress::document;
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use everup_core::receipt::Verdict;
use everup_core::record::Record;
use serde::Serialize;
use serde_json::Value;

/// What the demo showed.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The deployments, each with every field of its receipt.
    pub deployments: Vec<Value>,
    /// The instance that was killed.
    pub instance_killed: Option<InstanceKilled>,
    /// The coordinator that was killed.
    pub coordinator_killed: Option<CoordinatorKilled>,
    /// What the users counted, from the first second to the last.
    pub users: Option<Tally>,
    /// The promises that were not kept.
    pub broken: Vec<String>,
}

/// An instance that was killed.
#[derive(Debug, Serialize)]
pub struct InstanceKilled {
    /// Which.
    pub instance: InstanceId,
    /// Requests that were inside it and failed with it.
    pub lost: u64,
    /// Until all instances were in service again.
    pub back_ms: u64,
}

/// A coordinator that was killed in the middle of a deployment.
#[derive(Debug, Serialize)]
pub struct CoordinatorKilled {
    /// Which.
    pub instance: InstanceId,
    /// Who finished it.
    pub successor: Option<InstanceId>,
}

impl Report {
    /// Adds a deployment that should have ended in `expected`, without a failed request.
    pub fn deployment(&mut self, record: &Record, expected: State) {
        let to = &record.to;
        if record.state != expected {
            self.broken(format!("release {to} ended {}, not {expected}: {}", record.state, record.because));
        }
        match record.receipt.as_ref().map(|receipt| receipt.verdict) {
            Some(Verdict::Kept) => {}
            Some(Verdict::Broken) => self.broken(format!("requests failed while release {to} was deployed")),
            Some(Verdict::NotMeasured) => self.broken(format!("the receipt of release {to} has a hole")),
            None => self.broken(format!("release {to} has no receipt")),
        }
        self.deployments.push(document::of(record));
    }

    /// Adds a promise that was not kept.
    pub fn broken(&mut self, promise: String) {
        self.broken.push(promise);
    }

    /// What the process says.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.broken.is_empty() { Exit::Done } else { Exit::PromiseBroken }
    }
}
