//! A deployment's record: what was decided, before it was sent. Written by the coordinator alone.

use crate::deployment::State;
use crate::head::{Request, TakeBack};
use crate::ids::{
    DeploymentId, Environment, Fence, HoldId, InstanceId, MigrationId, Rev, Term, WriteId, Zone,
};
use crate::instance::{Outcome, Problem, Run};
use crate::order::{Order, Task};
use crate::policy::Policy;
use crate::receipt::{Receipt, SchemaChange, SchemaOutcome};
use crate::release::{Fetched, Migration, ReleaseRef};
use crate::time::{Millis, Wall};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The form of [`Record`] that this version writes.
pub const RECORD_FORM: u32 = 1;

/// The most lines of its own story that a record keeps.
pub const LONGEST_STORY: usize = 200;

/// So many may vanish on their way, and the roll goes on: machines die, also while they are updated. Of the next one a
/// person has to say whether it is the release's doing.
pub const MOST_VANISHED: usize = 1;

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The form of this document.
    pub form: u32,
    /// Marks the write.
    pub write: WriteId,
    /// The coordinator's term when it was written.
    pub term: Term,
    /// Raised by each write.
    pub rev: Rev,
    /// Its id.
    pub id: DeploymentId,
    /// Of which environment.
    pub environment: Environment,
    /// The release before, if there was one.
    pub from: Option<ReleaseRef>,
    /// The release to move to.
    pub to: ReleaseRef,
    /// How.
    pub policy: Policy,
    /// Who asked.
    pub by: String,
    /// When they asked.
    pub at: Wall,
    /// Where it is.
    pub state: State,
    /// Why it is there, as a sentence that a person can act on.
    pub because: String,
    /// What it waits for now; a few sentences.
    #[serde(default)]
    pub waiting: Vec<String>,
    /// Every instance that it has to do with.
    pub instances: BTreeMap<InstanceId, Entry>,
    /// The hold, from `holding` on.
    pub hold: Option<HoldId>,
    /// The migration that the new release brings, if it was not applied before.
    pub migration: Option<Migration>,
    /// The migration that it brings, if it was: it is skipped.
    #[serde(default)]
    pub applied_before: Option<MigrationId>,
    /// Whether that migration was applied before, and is taken back, and how.
    #[serde(default)]
    pub take_back: Option<TakeBack>,
    /// Its runs, oldest first. The last one decides.
    #[serde(default)]
    pub runs: Vec<RunEntry>,
    /// Who asked for its end, if somebody did.
    #[serde(default)]
    pub aborted_by: Option<String>,
    /// Words of operators that it has taken up.
    #[serde(default)]
    pub heard: BTreeSet<WriteId>,
    /// Time that counts towards its bound, as far as coordinators measured it.
    pub elapsed: Millis,
    /// The value of `elapsed` when it was found that only instances that do not answer are left.
    #[serde(default)]
    pub stuck_since: Option<Millis>,
    /// The value of `elapsed` when the whole fleet was last seen to be ill, old release and new.
    #[serde(default)]
    pub shared_illness_at: Option<Millis>,
    /// The value of `elapsed` by which it is over, where that is another than its bound: the way back has a bound of its
    /// own, and so has what follows a migration, which has none.
    #[serde(default)]
    pub until: Option<Millis>,
    /// Whether the new release was proven by a first batch.
    pub proven: bool,
    /// Whether newcomers take the new release although nobody has proven it, because nobody was left to.
    #[serde(default)]
    pub offered: bool,
    /// Time in each state so far, with the time at which it was entered.
    pub phases: Vec<PhaseEntry>,
    /// The fewest instances that were in service at once.
    pub lowest_in_service: Option<u32>,
    /// What happened, for people; the oldest lines go first.
    pub story: Vec<Line>,
    /// What was measured; written at the end.
    pub receipt: Option<Receipt>,
}

impl Record {
    /// The record with which a deployment begins.
    #[must_use]
    pub fn first(
        environment: &Environment,
        id: &DeploymentId,
        term: Term,
        request: &Request,
        write: WriteId,
    ) -> Self {
        Self {
            form: RECORD_FORM,
            write,
            term,
            rev: Rev(1),
            id: id.clone(),
            environment: environment.clone(),
            from: request.from.clone(),
            to: request.to.clone(),
            policy: request.policy.clone(),
            by: request.by.clone(),
            at: request.at,
            state: State::Pending,
            because: "it was asked for".to_owned(),
            waiting: Vec::new(),
            instances: BTreeMap::new(),
            hold: None,
            migration: request.migration.clone(),
            applied_before: request.applied_before.clone(),
            take_back: request.take_back,
            runs: Vec::new(),
            aborted_by: None,
            heard: BTreeSet::new(),
            elapsed: Millis::ZERO,
            stuck_since: None,
            shared_illness_at: None,
            until: None,
            proven: false,
            offered: false,
            phases: vec![PhaseEntry { state: State::Pending, at: request.at }],
            lowest_in_service: None,
            story: Vec::new(),
            receipt: None,
        }
    }

    /// The fence that grants of this very revision carry.
    #[must_use]
    pub const fn fence(&self) -> Fence {
        Fence { term: self.term, rev: self.rev }
    }

    /// The order that `id` was granted last.
    #[must_use]
    pub fn order(&self, id: &InstanceId, holder: &InstanceId) -> Option<Order> {
        let grant = self.instances.get(id)?.granted.as_ref()?;
        Some(Order {
            to: id.clone(),
            holder: holder.clone(),
            fence: grant.fence,
            deployment: self.id.clone(),
            task: grant.task.clone(),
        })
    }

    /// The run that decides: the last one.
    #[must_use]
    pub fn run(&self) -> Option<&RunEntry> {
        self.runs.last()
    }

    /// The counted time by which it is over: its bound, or that of the state that it is in. Only a migration, and a person
    /// who is asked, have no limit.
    #[must_use]
    pub fn until(&self) -> Millis {
        self.until.unwrap_or(self.policy.bound)
    }

    /// Whether the database is another one since this deployment: the new release's migration is known to be applied, or the
    /// last one's to be taken back.
    #[must_use]
    pub fn migrated(&self) -> bool {
        let restored = self.take_back == Some(TakeBack::Restored);
        let started = || self.phases.iter().any(|phase| phase.state == State::Starting);
        if restored { started() } else { self.run_succeeded() }
    }

    /// What became of the migration of the release, or of its undo.
    #[must_use]
    pub fn schema_change(&self) -> Option<SchemaChange> {
        if let Some(id) = self.applied_before.clone() {
            return Some(SchemaChange { id, outcome: SchemaOutcome::Skipped });
        }
        let id = self.migration.as_ref()?.id.clone();
        let outcome = match self.take_back {
            _ if !self.migrated() => SchemaOutcome::NotDone,
            None => SchemaOutcome::Applied,
            Some(TakeBack::Undo) => SchemaOutcome::Undone,
            Some(TakeBack::Restored) => SchemaOutcome::Restored,
        };
        Some(SchemaChange { id, outcome })
    }

    fn run_succeeded(&self) -> bool {
        self.run().is_some_and(|run| matches!(run.outcome, Some(Outcome::Exited { code: 0, .. })))
    }

    /// Whether a roll has got so far that newcomers take the new release.
    #[must_use]
    pub const fn is_for_newcomers(&self) -> bool {
        self.proven || self.offered
    }

    /// Who ended on the way to the new release without a word of the fleet before, since an operator let it go on last.
    #[must_use]
    pub fn vanished(&self) -> Vec<&InstanceId> {
        self.instances.iter().filter(|(_, entry)| entry.vanished).map(|(id, _)| id).collect()
    }

    /// Whether it stands still until a person has decided something that the person does not know of yet.
    #[must_use]
    pub fn asks(&self) -> bool {
        match self.state {
            State::NeedsOperator => true,
            State::Paused => self.vanished().len() > MOST_VANISHED,
            _ => false,
        }
    }

    /// Adds a past fact to the story.
    pub fn tell(&mut self, at: Wall, what: impl Into<String>) {
        if self.story.len() >= LONGEST_STORY {
            self.story.remove(0);
        }
        self.story.push(Line { at, what: what.into() });
    }
}

/// When a state was entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseEntry {
    /// Which.
    pub state: State,
    /// When, by the coordinator's clock.
    pub at: Wall,
}

/// One line of the story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When, by the coordinator's clock.
    pub at: Wall,
    /// A past fact.
    pub what: String,
}

/// What the record says of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is.
    pub zone: Zone,
    /// What it ran when it was first seen.
    pub before: Option<ReleaseRef>,
    /// Whether it was out of service before it was touched: then it is neither failure nor proof. Not if it has been in
    /// service since the deployment began.
    pub ill_before: bool,
    /// Whether its app had not answered yet when it was first seen: then nobody saw it well, and that it is ill says
    /// nothing of the others. What fails on it is a failure. Not if it has been in service since.
    #[serde(default)]
    pub starting_before: bool,
    /// Whether it has been in service since the deployment began, before it was touched: should it fall ill then, it says
    /// something of the others, also where it failed at what came before.
    #[serde(default)]
    pub was_well: bool,
    /// The last thing that it was granted, and at which revision.
    pub granted: Option<Grant>,
    /// How far it is.
    pub progress: Progress,
    /// Whether an update to the new release was granted at any time: a rollback touches these alone.
    pub touched: bool,
    /// The deployment's counted time when it was first told to go back. The release to go back to may be the one to move
    /// to, so that does not say it.
    #[serde(default)]
    pub recalled: Option<Millis>,
    /// It failed, which was tolerated, and was told to move once more when all others had.
    #[serde(default)]
    pub retried: bool,
    /// Whether it served long enough on the new release to count as proof.
    #[serde(default)]
    pub steady: bool,
    /// What is wrong with it.
    pub problem: Option<Problem>,
    /// When it was first seen where it was last told to go.
    #[serde(default)]
    pub arrival: Option<Arrival>,
    /// The deployment's counted time when its running app was first seen to fail its checks.
    #[serde(default)]
    pub ill_since: Option<Millis>,
    /// What making the release ready cost.
    #[serde(default)]
    pub fetched: Option<Fetched>,
    /// Why it moves without overlap although the policy wants it.
    #[serde(default)]
    pub cramped: Option<String>,
    /// It has objected to being taken for out of service.
    #[serde(default)]
    pub objected: bool,
    /// It ended while it moved, and the fleet's engine had not ended it. Until an operator lets the roll go on.
    #[serde(default)]
    pub vanished: bool,
}

/// An instance's arrival in service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// When.
    pub at: Wall,
    /// Since its grant, in the deployment's counted time.
    pub took: Millis,
}

/// What was granted to an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// At which fence; the order carries the same.
    pub fence: Fence,
    /// The deployment's counted time then.
    pub at: Millis,
    /// What.
    pub task: Task,
}

/// How far an instance is in a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// Nothing was asked of it yet.
    Untouched,
    /// The release is on its disk.
    Staged,
    /// It is being updated.
    Updating,
    /// It is in service on the new release.
    Done,
    /// It is being taken back.
    GoingBack,
    /// It is in service on the old release again.
    Back,
    /// It did not get there.
    Failed,
    /// The fleet says that it ended.
    Gone,
}

/// One run of the migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntry {
    /// Who runs it.
    pub runner: InstanceId,
    /// What.
    pub run: Run,
    /// The fence of the grant.
    pub fence: Fence,
    /// How it ended, once known.
    pub outcome: Option<Outcome>,
}

/// What an operator says to a running deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Names it, so that it is heard once.
    pub id: WriteId,
    /// To which deployment.
    pub deployment: DeploymentId,
    /// What.
    pub what: Say,
    /// Who said it.
    pub by: String,
    /// When.
    pub at: Wall,
}

/// The words that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Say {
    /// Finish what was granted; grant nothing more.
    Pause,
    /// Go on.
    Resume,
    /// Go back.
    Abort,
    /// The migration whose outcome is not known was applied.
    MigrationApplied,
    /// It was not.
    MigrationNotApplied,
    /// Run it again.
    MigrationRunAgain,
    /// The undo whose outcome is not known was done: the database is as before its migration.
    UndoApplied,
    /// It was not: the database is as the migration left it.
    UndoNotApplied,
    /// Run the undo again.
    UndoRunAgain,
}

impl Say {
    /// Whether it answers what became of an undo; nothing if it answers neither that nor what became of a migration.
    #[must_use]
    pub const fn of_an_undo(self) -> Option<bool> {
        match self {
            Self::MigrationApplied | Self::MigrationNotApplied | Self::MigrationRunAgain => Some(false),
            Self::UndoApplied | Self::UndoNotApplied | Self::UndoRunAgain => Some(true),
            Self::Pause | Self::Resume | Self::Abort => None,
        }
    }
}

/// Where a deployment's record is.
#[must_use]
pub fn record_key(environment: &Environment, id: &DeploymentId) -> String {
    format!("{environment}/deployments/{id}.json")
}

/// Where the announcements are.
#[must_use]
pub fn instances_prefix(environment: &Environment) -> String {
    format!("{environment}/instances/")
}

/// Where an instance announces itself.
#[must_use]
pub fn instance_key(environment: &Environment, id: &InstanceId) -> String {
    format!("{environment}/instances/{id}.json")
}
