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
    /// What was taken back of that, and forbade the versions that need it; the last one can be applied again.
    #[serde(default)]
    pub taken_back: Vec<Change>,
    /// Words of operators that the coordinator has not yet taken up, at most one of a kind.
    #[serde(default)]
    pub words: Vec<Word>,
    /// The last requests that had a key, oldest first: one that is sent again gets the same deployment, though that
    /// may be over.
    #[serde(default)]
    pub asked: Vec<Asked>,
}

/// A breaking change of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What made it.
    pub migration: MigrationId,
    /// The versions that were made for the database before it; where it was taken back, for the one after it.
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
    /// The migration that the release brings, if it was applied by an earlier deployment: it is skipped.
    #[serde(default)]
    pub applied_before: Option<MigrationId>,
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
            taken_back: Vec::new(),
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
        let next = self.taken_back.last().filter(|change| Some(&change.migration) == migration);
        self.allows(release) || next.is_some_and(|change| change.forbade.contains(&release.version))
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
        match self.taken_back.pop_if(|change| change.migration == *migration) {
            Some(again) => self.forbidden.retain(|version| !again.forbade.contains(version)),
            // What was made for another branch of the database's history stays forbidden.
            None => self.taken_back.clear(),
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
        self.taken_back.push(Change { migration: migration.clone(), forbade: needs });
        self.deployed.insert(to.version.clone());
    }
}

/// Where `head.json` of an environment is.
#[must_use]
pub fn head_key(environment: &crate::ids::Environment) -> String {
    format!("{environment}/head.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Digest;

    fn release(version: &str) -> ReleaseRef {
        let digest = Digest::new("0".repeat(64)).expect("64 digits of hex");
        ReleaseRef { version: version.parse().expect("a version"), manifest: digest }
    }

    fn migration(name: &str) -> MigrationId {
        MigrationId::new(name).expect("a name")
    }

    fn forbidden(head: &Head) -> String {
        head.forbidden.iter().map(Version::as_str).collect::<Vec<_>>().join(" ")
    }

    /// 1, then 2 with migration m1, then 3 with m2.
    fn after_two() -> Head {
        let mut head = Head::first(WriteId::new("first").expect("a name"));
        head.deployed.insert(release("1").version);
        for (from, to, name) in [("1", "2", "m1"), ("2", "3", "m2")] {
            let id = DeploymentId::new(format!("d{to}")).expect("a name");
            head.apply(&migration(name), &id, Some(&release(from)), &release(to));
            head.deployed.insert(release(to).version);
        }
        assert_eq!(forbidden(&head), "1 2");
        head
    }

    fn taken_back_twice() -> Head {
        let mut head = after_two();
        head.undo(&migration("m2"), Some(&release("3")), &release("2"));
        assert_eq!(forbidden(&head), "1 3");
        head.undo(&migration("m1"), Some(&release("2")), &release("1"));
        assert_eq!(forbidden(&head), "2 3");
        head
    }

    #[test]
    fn said_again_nothing_changes() {
        let mut head = after_two();
        head.apply(
            &migration("m2"),
            &DeploymentId::new("d3").expect("a name"),
            Some(&release("2")),
            &release("3"),
        );
        assert_eq!(head, after_two());
        let mut head = taken_back_twice();
        head.undo(&migration("m1"), Some(&release("2")), &release("1"));
        assert_eq!(head, taken_back_twice());
    }

    #[test]
    fn what_was_taken_back_is_applied_again_in_its_order() {
        let mut head = taken_back_twice();
        assert!(!head.may_deploy(&release("3"), Some(&migration("m2"))), "m2 needs m1");
        assert!(head.may_deploy(&release("2"), Some(&migration("m1"))));
        let again = DeploymentId::new("d4").expect("a name");
        head.apply(&migration("m1"), &again, Some(&release("1")), &release("2"));
        assert_eq!(forbidden(&head), "1 3");
        assert!(head.may_deploy(&release("3"), Some(&migration("m2"))));
        head.deployed.insert(release("2").version);
        let again = DeploymentId::new("d5").expect("a name");
        head.apply(&migration("m2"), &again, Some(&release("2")), &release("3"));
        assert_eq!(forbidden(&head), "1 2");
    }

    #[test]
    fn another_branch_makes_it_final() {
        let mut head = taken_back_twice();
        let other = DeploymentId::new("d6").expect("a name");
        head.apply(&migration("other"), &other, Some(&release("1")), &release("4"));
        assert!(!head.may_deploy(&release("2"), Some(&migration("m1"))));
        assert_eq!(forbidden(&head), "1 2 3");
    }
}
