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
    /// How often each command began.
    pub(crate) begun: BTreeMap<Change, u32>,
    /// How often the operator said "run it again".
    pub(crate) asked_again: BTreeMap<Change, u32>,
    /// How often an operator looked, and said that it was not applied.
    pub(crate) looked: BTreeMap<Change, u32>,
    /// How often it ended with the database as it was before, and said so.
    pub(crate) failed_clean: BTreeMap<Change, u32>,
    /// How often it was done.
    pub(crate) done: BTreeMap<Change, u32>,
}

/// A migration, and whether it is its undo.
pub(crate) type Change = (MigrationId, bool);

impl Database {
    /// Whether the change to `schema`, or back from it, is there.
    pub(crate) const fn has(&self, schema: u16, undo: bool) -> bool {
        (self.schema >= schema) != undo
    }

    /// The change is there, if it was not.
    pub(crate) fn change(&mut self, schema: u16, change: Change) {
        if !self.has(schema, change.1) {
            self.schema = if change.1 { schema - 1 } else { schema };
            *self.done.entry(change).or_default() += 1;
        }
    }
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
