//! Starting a deployment, and saying something to the one that runs: swaps of head, refused before anything changes.

use super::{Agent, HeadObject};
use crate::bugs::{Bug, planted};
use crate::mailbox::{Board, Refused};
use crate::object::{Object, Swapped, fresh_mark, read, swap};
use everup_core::deployment::State;
use everup_core::head::{Current, Head, Lease, Request, TakeBack, head_key};
use everup_core::ids::{DeploymentId, WriteId};
use everup_core::policy::{Size, Strategy};
use everup_core::record::{Record, Say, Word, record_key};
use everup_core::release::{Command, Migration, OnFailure, ReleaseRef};
use everup_core::seams::{Chance, Clock, Peers, Seams, Stage, StoreError};
use everup_core::time::Wall;
use everup_core::words;

/// Words that wait for the coordinator; more are refused.
const MOST_WORDS: usize = 16;

/// What became of a request for a deployment.
pub(super) enum Begun {
    /// It runs.
    Runs(Box<HeadObject>),
    /// The same request began it before, and it is over.
    Over(DeploymentId),
}

impl<S: Seams, B: Board> Agent<'_, S, B> {
    /// Starts the deployment that was asked for, with this agent as its coordinator; not once whoever asked has `left`
    /// without an answer, and only while it is `still` due on the head that is changed. While the store was away another
    /// deployment may have come and gone.
    pub(super) async fn begin(
        &mut self,
        request: &Request,
        left: impl Fn() -> bool,
        still: impl Fn(&Head) -> bool,
    ) -> Result<Begun, Refused> {
        let key = head_key(&self.who.environment);
        let mut tried = Vec::new();
        loop {
            let head = read::<Head>(self.seams, &key).await.map_err(away)?;
            if let Some(begun) = self.begun(head.as_ref(), &tried).await.map_err(away)? {
                return Ok(begun);
            }
            if let Some(head) = &head
                && let Some(before) = same(&head.value, request)?
            {
                let runs = head.value.current.as_ref().is_some_and(|current| current.id == before);
                return Ok(if runs { Begun::Runs(Box::new(head.clone())) } else { Begun::Over(before) });
            }
            let (etag, old) = match head {
                Some(Object { value, etag }) => (Some(etag), value),
                None => (None, Head::first(fresh_mark(self.seams.chance()))),
            };
            self.refuse_if_busy(&old).await?;
            if !still(&old) {
                return Err(Refused::Not("it is not due any more: somebody else was first".to_owned()));
            }
            let request = self.complete(&old, request).await?;
            if left() {
                return Err(Refused::Not("whoever asked did not wait for it; nothing has begun".to_owned()));
            }
            let next = self.started(old, request);
            tried.extend(next.current.as_ref().map(|current| current.id.clone()));
            match swap(self.seams, &key, etag.as_ref(), next).await.map_err(away)? {
                Swapped::Done(head) => return Ok(Begun::Runs(Box::new(head))),
                // Somebody else changed head: look again, and be refused if it was a deployment of theirs.
                Swapped::Rival(_) => {}
            }
        }
    }

    /// What was tried before may be stored although head is somebody else's by now: a word that was said to it is enough.
    async fn begun(
        &self,
        head: Option<&HeadObject>,
        tried: &[DeploymentId],
    ) -> Result<Option<Begun>, StoreError> {
        let runs = |id: &DeploymentId| {
            head.filter(|head| head.value.current.as_ref().is_some_and(|current| current.id == *id))
        };
        for id in tried {
            if let Some(head) = runs(id) {
                return Ok(Some(Begun::Runs(Box::new(head.clone()))));
            }
            if read::<Record>(self.seams, &record_key(&self.who.environment, id)).await?.is_some() {
                return Ok(Some(Begun::Over(id.clone())));
            }
        }
        Ok(None)
    }

    async fn refuse_if_busy(&self, head: &Head) -> Result<(), Refused> {
        let Some(current) = head.current.clone() else { return Ok(()) };
        let key = record_key(&self.who.environment, &current.id);
        let record = read::<Record>(self.seams, &key).await.ok().flatten();
        let phase = record.map_or(State::Pending, |record| record.value.state);
        Err(Refused::Busy { current: Box::new(current), phase })
    }

    /// Fills in what only head and the manifest know, and refuses what cannot be.
    async fn complete(&self, head: &Head, request: &Request) -> Result<Request, Refused> {
        if request.policy.batch == Size::Count(0) {
            return Err(Refused::Not(
                "a batch of 0 would never move anybody: it has to be 1 or more".to_owned(),
            ));
        }
        let mut request = request.clone();
        request.from.clone_from(&head.proven);
        request.at = self.seams.clock().wall();
        if let Some(how) = request.take_back {
            request.migration = Some(self.to_take_back(head, &request, how).await?);
            request.policy.strategy = Strategy::AllAtOnce;
            return Ok(request);
        }
        request.migration = match self.migration_of(&request.to).await {
            Ok(Some(brought)) if is_applied(head, &brought) => {
                request.applied_before = Some(brought.id);
                None
            }
            Ok(brought) => brought,
            // What is forbidden is told as that, whatever became of its archive.
            Err(_) if !head.allows(&request.to) => None,
            Err(refused) => return Err(refused),
        };
        let brought = request.migration.as_ref().map(|migration| &migration.id);
        if !head.may_deploy(&request.to, brought) {
            return Err(Refused::Not(forbidden(head, &request)));
        }
        match (&request.migration, request.policy.strategy) {
            (Some(migration), Strategy::Rolling) if head.proven.is_some() => Err(Refused::Not(format!(
                "release {} brings migration {}, which is not applied: a rolling deployment would run both releases on one database. Deploy it with --strategy all-at-once",
                request.to, migration.id
            ))),
            (Some(_), Strategy::Rolling) => {
                // Nothing runs yet, so nothing can run beside it: the migration needs its place all the same.
                request.policy.strategy = Strategy::AllAtOnce;
                Ok(request)
            }
            _ => Ok(request),
        }
    }

    async fn migration_of(&self, release: &ReleaseRef) -> Result<Option<Migration>, Refused> {
        let manifest = self.seams.stage().manifest(release).await;
        let manifest = manifest.map_err(|problem| Refused::Not(format!("release {release}: {problem}")))?;
        Ok(manifest.migration)
    }

    /// The migration that has to be taken back for the release that is wanted: the last one, and only that.
    async fn to_take_back(
        &self,
        head: &Head,
        request: &Request,
        how: TakeBack,
    ) -> Result<Migration, Refused> {
        let Some(change) = head.changes.last() else {
            return Err(Refused::Not("no migration was applied here that could be taken back".to_owned()));
        };
        if !change.forbade.contains(&request.to.version) {
            return Err(Refused::Not(format!(
                "migration {} was the last one, and before it were {}: release {} is none of them",
                change.migration,
                words::list(&change.forbade, 5),
                request.to
            )));
        }
        let own = self.migration_of(&request.to).await?;
        if let Some(own) = own.filter(|own| own.id == change.migration || !head.applied.contains_key(&own.id))
        {
            return Err(Refused::Not(format!(
                "release {} brings migration {} itself, and so was not made for the database before {}",
                request.to, own.id, change.migration
            )));
        }
        let by_hand = Migration {
            id: change.migration.clone(),
            command: Command(String::new()),
            undo: None,
            on_failure: OnFailure::default(),
        };
        if how == TakeBack::Restored {
            return Ok(by_hand);
        }
        let Some(from) = &request.from else {
            return Err(Refused::Not("no release was ever proven here whose undo could be run".to_owned()));
        };
        let brought = self.migration_of(from).await?.filter(|migration| migration.id == change.migration);
        let undo = brought.and_then(|migration| Some((migration.undo?, migration.on_failure)));
        match undo {
            Some((command, on_failure)) => Ok(Migration { command, on_failure, ..by_hand }),
            None => Err(Refused::Not(format!(
                "release {from} brings no undo of migration {}: restore the database by hand, and say so with --schema-restored, or deploy a newer release",
                change.migration
            ))),
        }
    }

    fn started(&self, mut head: Head, request: Request) -> Head {
        let id = new_id(request.at, self.seams.chance().next());
        head.term = head.term.next();
        head.lease = Some(Lease { holder: self.who.id.clone(), beat: 1 });
        head.remember(&request, &id);
        head.current = Some(Current { id, request });
        head.words.clear();
        head
    }

    /// Leaves an operator's word in head, where its coordinator finds it, whoever that is by then. One that was left before,
    /// by a call whose answer was lost, is not left again: the same question may have been asked once more meanwhile.
    pub(super) async fn say(
        &self,
        say: Say,
        by: String,
        to: Option<DeploymentId>,
        id: Option<WriteId>,
    ) -> Result<Word, Refused> {
        let key = head_key(&self.who.environment);
        let id = id.unwrap_or_else(|| fresh_mark(self.seams.chance()));
        loop {
            let head = read::<Head>(self.seams, &key).await.map_err(away)?.ok_or(Refused::NothingRuns)?;
            let current = head.value.current.as_ref().ok_or(Refused::NothingRuns)?;
            if to.as_ref().is_some_and(|to| *to != current.id) {
                return Err(Refused::Not(format!("deployment {} is the one that runs", current.id)));
            }
            let record = self.record_of(&current.id).await?;
            let word = Word {
                id: id.clone(),
                deployment: current.id.clone(),
                what: say,
                by: by.clone(),
                at: self.seams.clock().wall(),
            };
            let is_heard = record.as_ref().is_some_and(|record| record.heard.contains(&id));
            if is_heard || head.value.words.iter().any(|word| word.id == id) {
                return Ok(word);
            }
            refuse_what_is_too_late(&current.id, record.as_ref(), say)?;
            let holder = head.value.lease.as_ref().map(|lease| lease.holder.clone());
            let mut next = head.value.clone();
            if next.words.len() >= MOST_WORDS {
                return Err(Refused::Not("too many words wait for the coordinator already".to_owned()));
            }
            next.words.push(word.clone());
            if let Swapped::Done(_) = swap(self.seams, &key, Some(&head.etag), next).await.map_err(away)? {
                if let Some(holder) = holder {
                    // It looks at head with its next beat anyway.
                    let _ = self.seams.peers().poke(&holder).await;
                }
                return Ok(word);
            }
        }
    }

    async fn record_of(&self, id: &DeploymentId) -> Result<Option<Record>, Refused> {
        let found = read::<Record>(self.seams, &record_key(&self.who.environment, id)).await.map_err(away)?;
        Ok(found.map(|record| record.value))
    }
}

fn refuse_what_is_too_late(id: &DeploymentId, record: Option<&Record>, say: Say) -> Result<(), Refused> {
    let Some(state) = record.map(|record| record.state) else { return Ok(()) };
    let fits = match say {
        Say::Abort => state.may_abort(),
        Say::Pause => state == State::Rolling,
        Say::Resume => state == State::Paused,
        _ => {
            let undo = record.is_some_and(|record| record.take_back.is_some());
            state == State::NeedsOperator && say.of_an_undo() == Some(undo)
        }
    };
    if fits {
        Ok(())
    } else {
        Err(Refused::Not(format!("deployment {id} is {state}: {}", why_not(say, state))))
    }
}

const fn why_not(say: Say, state: State) -> &'static str {
    match (say, state) {
        (Say::Abort, State::RollingBack) => "it goes back already",
        (Say::Abort, state) if state.is_final() => "it is over",
        (Say::Abort, _) => "after a migration was granted there is only forward",
        (Say::Pause, State::Paused) => "it is paused already; `everup resume` lets it go on",
        (Say::Pause, _) => "only a rolling deployment can be paused",
        (Say::Resume, State::NeedsOperator) => {
            "it asks how its migration, or the undo of one, ended: `everup resume --migration=applied`, `not-applied` or `run-again`; `--undo=` of an undo"
        }
        (Say::Resume, _) => "it is not paused",
        (Say::MigrationApplied | Say::MigrationNotApplied | Say::MigrationRunAgain, State::NeedsOperator) => {
            "it asks about the undo of a migration: `everup resume --undo=applied`, `not-applied` or `run-again`"
        }
        (Say::UndoApplied | Say::UndoNotApplied | Say::UndoRunAgain, State::NeedsOperator) => {
            "it asks about a migration, and not about an undo: `everup resume --migration=applied`, `not-applied` or `run-again`"
        }
        _ => "it asks nothing about a migration",
    }
}

/// The deployment that this very request has begun before.
pub(super) fn same(head: &Head, request: &Request) -> Result<Option<DeploymentId>, Refused> {
    match head.asked_before(request) {
        Some(before) if before.to != request.to => Err(Refused::Not(format!(
            "the idempotency key {:?} began deployment {} to {}: another request needs another key",
            before.key, before.deployment, before.to
        ))),
        before => Ok(before.map(|before| before.deployment.clone())),
    }
}

fn is_applied(head: &Head, migration: &Migration) -> bool {
    head.applied.contains_key(&migration.id) && !planted(Bug::MigrateAgain)
}

fn forbidden(head: &Head, request: &Request) -> String {
    let last = head.changes.last().filter(|change| change.forbade.contains(&request.to.version));
    let ways = last.map_or_else(String::new, |change| {
        format!(
            ", or take migration {} back: with --undo, if it brings one, or with --schema-restored once you have restored the database",
            change.migration
        )
    });
    format!(
        "release {} may not run any more: a migration has changed the database since. Deploy a release that was made for the database as it is now{ways}",
        request.to
    )
}

#[expect(clippy::needless_pass_by_value, reason = "used as it is in map_err")]
fn away(error: StoreError) -> Refused {
    Refused::Store(error.to_string())
}

/// Sorts by time, and two that are made in the same millisecond differ.
fn new_id(at: Wall, random: u64) -> DeploymentId {
    DeploymentId::new(format!("d{:011x}-{:06x}", at.0, random & 0xff_ffff))
        .expect("hex digits are a valid id")
}
