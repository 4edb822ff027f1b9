//! Rule 9: a failure that all share is not a release's fault.

use super::failures::granted_anew;
use super::planned_at;
use crate::fault::Fault;
use crate::moment::Moment;
use crate::trace::{Event, HostNo, What};
use crate::world::World;
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use everup_core::policy::Strategy;
use everup_core::record::{Entry, Progress, Record};
use everup_core::status::Status;

/// Who has not been heard for so long says nothing of the others.
const SILENCE: u64 = 12_000;
/// Where nothing keeps anybody from knowing it, a database that is away is known to everybody after so long: three checks
/// that fail, 2 s apart, and a message.
const KNOWN: u64 = 10_000;

/// Nobody is moved, and nothing is rolled back, by a coordinator that knows that all who still run the old release are ill
/// as well, while the database is away for all. An operator's word, and the deployment's bound, count all the same.
pub(super) fn nobody_is_moved_for_it(world: &World, event: &Event) -> Result<(), String> {
    let (What::Record { id, because, .. }, Some(by)) = (&event.what, event.host) else { return Ok(()) };
    let (Some(now), Some(before)) = (world.record(id), &world.law.record_before) else { return Ok(()) };
    let rolls = before.id == now.id && before.state == State::Rolling && before.term == now.term;
    let Some(planned) = planned_at(world, before, now, by, event.at).filter(|_| rolls) else { return Ok(()) };
    let Some(all) = all_are_ill(world, before, now, by, planned) else { return Ok(()) };
    let asked = now.aborted_by.is_some() || now.elapsed > before.until();
    if now.state == State::RollingBack && !asked {
        return Err(format!(
            "{id} rolls back while the database is away and i{by} knows that {all:?} are ill: {because}"
        ));
    }
    match granted_anew(before, now).filter(|_| now.state == State::Rolling) {
        Some(who) => Err(format!(
            "{who} is told to move while the database is away and i{by} knows that {all:?} are ill"
        )),
        None => Ok(()),
    }
}

/// The roll says why nothing moves, wherever its coordinator shows it. What it has only just written is shown before it was
/// thought through.
pub(super) fn the_roll_says_why(world: &mut World, by: HostNo, status: &Status) -> Result<(), String> {
    let Some(record) = &status.record else { return Ok(()) };
    let same = world.law.told.show(by, record.rev);
    let leads = status.coordinator.as_ref() == Some(&status.instance) && status.trouble.is_none();
    if !same || !leads || record.state != State::Rolling {
        return Ok(());
    }
    let Some(all) = all_are_ill(world, record, record, by, world.now()) else { return Ok(()) };
    world.moments.note(Moment::RollWaitedForDatabase);
    if record.waiting.iter().any(|why| why.starts_with("the fleet to recover: ")) {
        return Ok(());
    }
    Err(format!(
        "i{by} knows that {all:?} are ill, the database is away, and {} waits for {:?}",
        record.id, record.waiting
    ))
}

/// All who still run the old release, if they are ill because the database is away, and the coordinator `by` knew it before
/// `planned`. Nobody if the deployment came to mend a fleet that was ill before, or has no old release.
fn all_are_ill(
    world: &World,
    before: &Record,
    now: &Record,
    by: HostNo,
    planned: u64,
) -> Option<Vec<InstanceId>> {
    let since = world.law.away_since.filter(|since| *since < planned)?;
    if now.policy.strategy != Strategy::Rolling || now.from.is_none() {
        return None;
    }
    let untouched = |(id, entry): &(&InstanceId, &Entry)| {
        let was = before.instances.get(*id).is_none_or(|was| !was.touched);
        (was || !entry.touched) && entry.progress != Progress::Gone
    };
    let all: Vec<(&InstanceId, &Entry)> = now.instances.iter().filter(untouched).collect();
    let told = &world.law.told;
    let knows = |id: &InstanceId| told.is_ill(by, id, planned) || must_be_known(world, id, since, planned);
    let fell = |(id, entry): &&(&InstanceId, &Entry)| {
        let was = before.instances.get(*id).unwrap_or(entry);
        let was_well = !was.ill_before && !was.starting_before && was.before.is_some();
        was_well && told.hears(by, id, planned, SILENCE)
    };
    // Whom the fleet ends is no witness, and nobody waits for it to heal. But that may not be known yet, or not any more:
    // a list may be old.
    let known_to_end = |id: &InstanceId| told.has_ended(by, id, planned);
    let ends = |id: &InstanceId| {
        known_to_end(id) || world.fleet.members.get(id).is_some_and(|member| member.terminating)
    };
    let shared = all.iter().any(|one| fell(&one) && !ends(one.0))
        && all.iter().all(|(id, _)| knows(id) || known_to_end(id));
    shared.then(|| all.into_iter().map(|(id, _)| id.clone()).collect())
}

/// Whether everybody has to know that the app of `id` is ill: nothing else happens in this world, and it has been up since
/// before the database went.
fn must_be_known(world: &World, id: &InstanceId, since: u64, at: u64) -> bool {
    let harmless =
        |fault: &Fault| matches!(fault, Fault::DatabaseAway | Fault::BadRelease | Fault::BadMigration);
    let up = |host: &crate::world::host::Host| {
        host.alive
            && host.apps.values().all(|app| app.up_at.is_some_and(|up| up < since))
            && !host.apps.is_empty()
    };
    since + KNOWN <= at && world.setting.faults.keys().all(harmless) && world.hosts.get(id).is_some_and(up)
}

/// Nobody is emptied, and no app replaced, while the database is away, unless it carries out an order: of which the rules
/// above ask whether it could be given.
pub(super) fn nobody_is_emptied_for_it(world: &World, event: &Event) -> Result<(), String> {
    let (Some(since), Some(no)) = (world.law.away_since, event.host) else { return Ok(()) };
    let host = world.host_no(no);
    let up = host.gate.machine.upstream().and_then(|up| host.app(&up.start));
    let Some(up) = up.filter(|app| app.up_at.is_some_and(|at| at < since)) else { return Ok(()) };
    let out = match &event.what {
        What::Left => true,
        What::AppStopping(_, start) => up.start().as_str() == start,
        _ => false,
    };
    let ends = world.fleet.members.get(&host.id).is_none_or(|member| member.terminating);
    let open = host
        .journal
        .as_ref()
        .is_some_and(|memory| memory.order.as_ref().is_some_and(|order| memory.done < order.fence));
    if out && !ends && !open {
        return Err(format!("i{no} was emptied while the database is away, and nobody had ordered it"));
    }
    Ok(())
}
