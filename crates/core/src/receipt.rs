//! What was measured of a deployment, kept in its record, printed by the CLI and drawn on the page.

use crate::ids::{InstanceId, MigrationId};
use crate::release::Fetched;
use crate::time::{Millis, Wall};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A span of wall time on one machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its first moment.
    pub from: Wall,
    /// Its last.
    pub to: Wall,
}

/// Requests by outcome, counted at the end of the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// All that ended in the window.
    pub total: u64,
    /// Of those, ended by a status that the app did not send, a reset, a cut or a time-out.
    pub failed: u64,
    /// Of the failed, those of which nobody can say whether the app acted on them.
    pub outcome_unknown: u64,
    /// WebSockets and streams ended at the drain's deadline, by design; not failed.
    pub ended_by_design: u64,
    /// Clients that left while their request was held: our failure, and in `failed` too.
    pub left_while_held: u64,
    /// Refused with 503 because a hold was full or too long; in `failed` too.
    pub refused: u64,
}

/// Requests that waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// How many.
    pub count: u64,
    /// The longest wait.
    pub longest_ms: u64,
}

/// A percentile of the time from a request's arrival to the end of its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentile {
    /// In the minute before the deployment, or what there was of it.
    pub before: Option<u64>,
    /// From its start to its end.
    pub during: Option<u64>,
    /// From the arrival of the last instance to the end: the last part of `during`. Nothing if no request was seen then.
    #[serde(default)]
    pub after: Option<u64>,
}

/// What one source saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What it counted.
    pub requests: Requests,
    /// The longest time without a good answer between two requests (prober), or without any (gates).
    pub longest_gap_ms: u64,
    /// Milliseconds at the 50th percentile.
    pub p50_ms: Percentile,
    /// Milliseconds at the 99th percentile.
    pub p99_ms: Percentile,
    /// What waited.
    pub held: Held,
    /// Requests that came although the balancer had said that none would.
    pub late: u64,
    /// Spans that it did not see. Any makes the verdict "not measured".
    pub missing: Vec<Window>,
}

impl Source {
    /// With what the same source saw `later`, from the arrival of the last instance on, as "after".
    #[must_use]
    pub const fn ending_as(mut self, later: &Self) -> Self {
        self.p50_ms.after = later.p50_ms.during;
        self.p99_ms.after = later.p99_ms.during;
        self
    }
}

/// Every source, by name: `gates`, `prober`. They are never summed.
pub type Sources = BTreeMap<String, Source>;

/// Whether the promise held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every source is whole and none saw a failed request.
    Kept,
    /// A source saw a failed request.
    Broken,
    /// A source has a hole, or saw no request at all.
    NotMeasured,
}

/// A migration, and what a deployment made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaChange {
    /// Which.
    pub id: MigrationId,
    /// What became of it.
    pub outcome: SchemaOutcome,
}

/// What became of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchemaOutcome {
    /// It was run, and applied.
    Applied,
    /// An earlier deployment had applied it: it was not run.
    Skipped,
    /// Its undo was run.
    Undone,
    /// An operator said that the database is as it was before it.
    Restored,
    /// The deployment ended without it: not applied, or not taken back.
    NotDone,
}

/// What a deployment did to the users' requests. The same document everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whether the promise held.
    pub verdict: Verdict,
    /// As the gates counted them.
    pub requests: Requests,
    /// What waited at the gates.
    pub held: Held,
    /// As the prober saw it.
    pub longest_gap_ms: u64,
    /// As the gates measured it.
    #[serde(default)]
    pub p50_ms: Percentile,
    /// As the gates measured it.
    pub p99_ms: Percentile,
    /// The fewest instances that were in service at once; nothing if it ended before that was seen.
    pub lowest_in_service: Option<u32>,
    /// From the operator's request to the end.
    pub duration_ms: u64,
    /// Time in each state, in the order in which they were entered.
    pub phases: Vec<(String, Millis)>,
    /// From its last grant to its arrival in service, for each instance that arrived.
    #[serde(default)]
    pub instances_ms: BTreeMap<InstanceId, Millis>,
    /// What became of the database, where the release brings a migration.
    #[serde(default)]
    pub migration: Option<SchemaChange>,
    /// What making the release ready cost, over all instances.
    pub bytes: Option<Fetched>,
    /// Each source's own figures.
    pub sources: Sources,
}

impl Receipt {
    /// The verdict that `sources` allow. An empty sample, or a hole, is never a pass.
    #[must_use]
    pub fn verdict(sources: &Sources) -> Verdict {
        if sources.values().any(|s| s.requests.failed > 0) {
            Verdict::Broken
        } else if sources.is_empty()
            || sources.values().any(|s| s.requests.total == 0 || !s.missing.is_empty())
        {
            Verdict::NotMeasured
        } else {
            Verdict::Kept
        }
    }
}
