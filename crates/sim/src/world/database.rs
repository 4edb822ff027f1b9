//! The application's database: the truth about migrations, which no document of ours can change.

use everup_core::ids::{DeploymentId, MigrationId};
use everup_core::instance::{Outcome, Run};
use std::collections::BTreeMap;

/// The database.
#[derive(Debug, Default)]
pub(crate) struct Database {
    /// The schema that it has.
    pub(crate) schema: u16,
    /// Whether no app reaches it.
    pub(crate) away: bool,
    /// Migrations whose commands run now.
    pub(crate) running: BTreeMap<RunKey, u16>,
    /// How often each migration's command began.
    pub(crate) begun: BTreeMap<MigrationId, u32>,
    /// How often the operator said "run it again".
    pub(crate) asked_again: BTreeMap<MigrationId, u32>,
    /// How often an operator looked, and said that it was not applied.
    pub(crate) looked: BTreeMap<MigrationId, u32>,
    /// How often it ended with the database as it was before, and said so.
    pub(crate) undone: BTreeMap<MigrationId, u32>,
}

/// What tells one run from another.
pub(crate) type RunKey = (DeploymentId, MigrationId, u32, bool);

/// The key of `run`.
pub(crate) fn key(run: &Run) -> RunKey {
    (run.deployment.clone(), run.migration.clone(), run.attempt, run.undo)
}

/// What a minder wrote of a run onto its host's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// It must never begin.
    Barred,
    /// It began.
    Begun,
    /// It ended.
    Ended(Outcome),
}
