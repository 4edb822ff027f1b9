//! `head.json`: who leads, what is wanted, what must never run again. One object an environment, changed by swaps.

use crate::ids::{DeploymentId, InstanceId, MigrationId, Term, Version, WriteId};
use crate::policy::Policy;
use crate::record::Word;
use crate::release::{Migration, ReleaseRef};
use crate::time::Wall;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The form of [`Head`] that this version writes.
pub const HEAD_FORM: u32 = 1;

/// Who leads, what is wanted, what must never run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The form of this document; readers refuse one they do not know.
    pub form: u32,
    /// Marks the write.
    pub write: WriteId,
    /// Raised by each taking of the lease and each start of a deployment.
    pub term: Term,
    /// Who coordinates.
    pub lease: Option<Lease>,
    /// The deployment that runs; it may not have a record yet.
    pub current: Option<Current>,
    /// The release that newcomers take.
    pub newcomers: Option<ReleaseRef>,
    /// The last release that a fleet proved.
    pub proven: Option<ReleaseRef>,
    /// Whether newcomers take a release that was deployed to an empty fleet: the first that serves it proves it, and where
    /// it does not serve, the fleet falls back to the one that is proven.
    #[serde(default)]
    pub unproven: bool,
    /// Releases that must not start: the schema has moved on.
    #[serde(default)]
    pub forbidden: BTreeSet<Version>,
    /// Migrations that were applied, each with the deployment that did.
    #[serde(default)]
    pub applied: BTreeMap<MigrationId, DeploymentId>,
    /// Versions that were deployed since the last breaking migration: the next one forbids them.
    #[serde(default)]
    pub deployed: BTreeSet<Version>,
    /// What migrations have forbidden, oldest first: the last one can be taken back.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// Versions that are forbidden because the migration that they need was taken back, until it is applied again.
    #[serde(default)]
    pub taken_back: BTreeMap<MigrationId, BTreeSet<Version>>,
    /// Words of operators that the coordinator has not yet taken up, at most one of a kind.
    #[serde(default)]
    pub words: Vec<Word>,
    /// The last requests that had a key, oldest first: one that is sent again gets the same deployment, though that
    /// may be over.
    #[serde(default)]
    pub asked: Vec<Asked>,
}

/// A breaking change of the database that is in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What made it.
    pub migration: MigrationId,
    /// The versions that were made for the database before it.
    pub forbade: BTreeSet<Version>,
}

/// How the last migration is taken back by a deployment that leads to a release from before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakeBack {
    /// By its own `undo`, which is run once, as a migration is.
    Undo,
    /// An operator says that the database is as it was before: nothing is run.
    Restored,
}

/// A request that began a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its idempotency key.
    pub key: String,
    /// What it began.
    pub deployment: DeploymentId,
    /// To which release.
    pub to: ReleaseRef,
}

/// So many requests are remembered: whoever repeats one does so within minutes, and head is read every second.
const MOST_ASKED: usize = 16;

/// Who coordinates. It expires only in the eyes of a watcher who has seen `beat` unchanged for long enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The instance whose agent coordinates.
    pub holder: InstanceId,
    /// Raised by each renewal.
    pub beat: u64,
}

/// The deployment that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// Its id, and its record's name.
    pub id: DeploymentId,
    /// What was asked for: the record begins from it.
    pub request: Request,
}

/// What an operator asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The release to move to.
    pub to: ReleaseRef,
    /// How.
    pub policy: Policy,
    /// Who asked.
    pub by: String,
    /// When, by the clock of the machine that was asked.
    pub at: Wall,
    /// The first deployment of an environment, or the operator's word, has nothing to go back to.
    pub from: Option<ReleaseRef>,
    /// The migration that the release brings, if it is not applied yet; pinned here, from its manifest.
    pub migration: Option<Migration>,
    /// Whether it leads to before that migration, which was applied, and how.
    #[serde(default)]
    pub take_back: Option<TakeBack>,
    /// The same request sent twice is one deployment.
    pub idempotency: Option<String>,
}

impl Head {
    /// The head of an environment in which nothing ever happened.
    #[must_use]
    pub fn first(write: WriteId) -> Self {
        Self {
            form: HEAD_FORM,
            write,
            term: Term(0),
            lease: None,
            current: None,
            newcomers: None,
            proven: None,
            unproven: false,
            forbidden: BTreeSet::new(),
            applied: BTreeMap::new(),
            deployed: BTreeSet::new(),
            changes: Vec::new(),
            taken_back: BTreeMap::new(),
            words: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// The request with the same key, if there was one.
    #[must_use]
    pub fn asked_before(&self, request: &Request) -> Option<&Asked> {
        let key = request.idempotency.as_ref()?;
        self.asked.iter().find(|asked| asked.key == *key)
    }

    /// Remembers that `request` began `deployment`.
    pub fn remember(&mut self, request: &Request, deployment: &DeploymentId) {
        let Some(key) = request.idempotency.clone() else { return };
        self.asked.push(Asked { key, deployment: deployment.clone(), to: request.to.clone() });
        let surplus = self.asked.len().saturating_sub(MOST_ASKED);
        self.asked.drain(..surplus);
    }

    /// The release that newcomers take unproven, while no deployment runs that decides about it.
    #[must_use]
    pub fn on_trial(&self) -> Option<&ReleaseRef> {
        self.newcomers.as_ref().filter(|_| self.unproven && self.current.is_none())
    }

    /// Head once an instance has served what newcomers take for long enough.
    #[must_use]
    pub fn with_trial_passed(&self) -> Self {
        let mut after = self.clone();
        after.proven.clone_from(&after.newcomers);
        after.unproven = false;
        after
    }

    /// What the fleet falls back to if the release on trial does not serve.
    #[must_use]
    pub fn instead_of_trial(&self) -> Option<&ReleaseRef> {
        let trial = self.on_trial()?;
        self.proven.as_ref().filter(|proven| *proven != trial && self.allows(proven))
    }

    /// Whether `release` may run (rule 3).
    #[must_use]
    pub fn allows(&self, release: &ReleaseRef) -> bool {
        !self.forbidden.contains(&release.version)
    }

    /// Whether a deployment may lead to `release`, which brings `migration` with it: one that was taken back is applied anew.
    #[must_use]
    pub fn may_deploy(&self, release: &ReleaseRef, migration: Option<&MigrationId>) -> bool {
        let needs = migration.and_then(|migration| self.taken_back.get(migration));
        self.allows(release) || needs.is_some_and(|versions| versions.contains(&release.version))
    }

    /// `migration` was applied by `deployment`, which led from `from` to `to`: what was made for the database before it
    /// must not run any more. Said again, it changes nothing.
    pub(crate) fn apply(
        &mut self,
        migration: &MigrationId,
        deployment: &DeploymentId,
        from: Option<&ReleaseRef>,
        to: &ReleaseRef,
    ) {
        if self.applied.get(migration) == Some(deployment) {
            return;
        }
        self.applied.insert(migration.clone(), deployment.clone());
        // What was made for another branch of the database's history stays forbidden.
        if let Some(again) = std::mem::take(&mut self.taken_back).remove(migration) {
            self.forbidden.retain(|version| !again.contains(version));
        }
        let mut forbade = std::mem::take(&mut self.deployed);
        forbade.extend(from.map(|from| from.version.clone()));
        forbade.remove(&to.version);
        forbade.retain(|version| self.forbidden.insert(version.clone()));
        self.changes.push(Change { migration: migration.clone(), forbade });
    }

    /// The last migration was taken back by a deployment that led from `from` to `to`: what it had forbidden may run again,
    /// what needs it may not. Said again, it changes nothing.
    pub(crate) fn undo(&mut self, migration: &MigrationId, from: Option<&ReleaseRef>, to: &ReleaseRef) {
        let Some(change) = self.changes.pop_if(|change| change.migration == *migration) else { return };
        self.applied.remove(migration);
        self.forbidden.retain(|version| !change.forbade.contains(version));
        let mut needs = std::mem::replace(&mut self.deployed, change.forbade);
        needs.extend(from.map(|from| from.version.clone()));
        needs.remove(&to.version);
        self.forbidden.extend(needs.iter().cloned());
        self.taken_back.insert(migration.clone(), needs);
        self.deployed.insert(to.version.clone());
    }
}

/// Where `head.json` of an environment is.
#[must_use]
pub fn head_key(environment: &crate::ids::Environment) -> String {
    format!("{environment}/head.json")
}
