//! What head has to say before a record is written, and after the last one.

use crate::deployment::State;
use crate::head::Head;
use crate::policy::Strategy;
use crate::record::{Progress, Record};

/// Head as it must be *before* `next` is written, if it is not yet: forbidden releases and applied migrations before
/// anything may start after them, the release of newcomers before the fleet moves the other way.
///
/// Two objects cannot be written at once. Each of these may be true a moment too early without harm: between
/// sealing and starting nothing starts by itself, and newcomers are moved by the deployment anyway.
#[must_use]
pub fn head_before(head: &Head, next: &Record) -> Option<Head> {
    let mut wanted = head.clone();
    match next.state {
        State::Rolling if next.is_for_newcomers() => wanted.newcomers = Some(next.to.clone()),
        State::RollingBack => wanted.newcomers.clone_from(&next.from),
        State::Starting => start(&mut wanted, next),
        _ => {}
    }
    (wanted != *head).then_some(wanted)
}

fn start(head: &mut Head, next: &Record) {
    head.newcomers = Some(next.to.clone());
    if !next.migrated() {
        return;
    }
    let Some(migration) = next.migration.as_ref().map(|migration| &migration.id) else { return };
    match next.take_back {
        None => head.apply(migration, &next.id, next.from.as_ref(), &next.to),
        Some(_) => head.undo(migration, next.from.as_ref(), &next.to),
    }
}

/// Head once the final record is written: no deployment, nobody leads, and what was proven is known.
#[must_use]
pub fn head_after(head: &Head, record: &Record) -> Head {
    let mut after = head.clone();
    after.current = None;
    after.lease = None;
    after.words.clear();
    after.unproven = match record.state {
        State::SucceededUnproven => true,
        _ => head.unproven && nobody_moved(record),
    };
    match record.state {
        State::Succeeded => {
            after.newcomers = Some(record.to.clone());
            after.proven = Some(record.to.clone());
            after.deployed.insert(record.to.version.clone());
        }
        State::SucceededUnproven => {
            after.newcomers = Some(record.to.clone());
            after.deployed.insert(record.to.version.clone());
        }
        // After an empty fleet took a release, that is not the last one that was proven.
        State::Failed | State::Aborted if nobody_moved(record) => {}
        State::RolledBack | State::Aborted => after.newcomers.clone_from(&record.from),
        State::Failed if stays_on_the_new_one(record) => {
            after.newcomers = Some(record.to.clone());
            after.proven = Some(record.to.clone());
            after.deployed.insert(record.to.version.clone());
        }
        State::Failed => after.newcomers.clone_from(&record.from),
        _ => {}
    }
    // Also what was given up: it was made for the database as it is now, and must not come back after the next change.
    for release in record.from.iter().chain([&record.to]).filter(|release| head.allows(release)) {
        after.deployed.insert(release.version.clone());
    }
    after
}

/// Whether it ended before anybody was told to move: newcomers take what they took before.
fn nobody_moved(record: &Record) -> bool {
    let early = |state| matches!(state, State::Pending | State::Staging) || state == record.state;
    record.phases.iter().all(|phase| early(phase.state))
}

/// Whether a deployment that failed leaves the environment to its new release: whoever boots, or did not come up, joins those
/// that are there, and the next deployment's way back leads to it.
///
/// So it is after a migration, and where most serve it. Where it did not go back it is so in a roll that got so far that
/// newcomers take it, and all at once wherever anybody serves it: the old apps are gone, and the two never serve side by side.
fn stays_on_the_new_one(record: &Record) -> bool {
    let count =
        |is: &dyn Fn(Progress) -> bool| record.instances.values().filter(|entry| is(entry.progress)).count();
    let (moved, here) = (count(&|p| p == Progress::Done), count(&|p| p != Progress::Gone));
    let went_back = record.phases.iter().any(|phase| phase.state == State::RollingBack);
    let settled = match record.policy.strategy {
        Strategy::Rolling => record.is_for_newcomers(),
        Strategy::AllAtOnce => moved > 0,
    };
    record.migrated() || (settled && !went_back) || moved * 2 > here
}
