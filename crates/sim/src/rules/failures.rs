//! Rule 6: what failed stops a roll; and rule 8: what the group ended does not.

use super::planned_at;
use crate::trace::{Event, HostNo, What};
use crate::world::World;
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use everup_core::order::Task;
use everup_core::policy::Strategy;
use everup_core::record::{Entry, Progress, Record};
use everup_core::release::ReleaseRef;

/// With more failed instances than `max_failures` nobody else is granted the new release, and the roll goes back in
/// that very write. One that was ill before is no failure, nor is one that the group ends.
pub(super) fn a_failure_stops_the_roll(world: &World, event: &Event) -> Result<(), String> {
    let What::Record { id, .. } = &event.what else { return Ok(()) };
    let Some(now) = world.objects.records.values().find(|record| record.id.as_str() == id) else {
        return Ok(());
    };
    let before = world.law.record_before.as_ref().filter(|before| before.id == now.id);
    let Some(before) = before.filter(|_| now.policy.strategy == Strategy::Rolling) else { return Ok(()) };
    let failed = failed(world, now);
    if failed.len() <= now.policy.max_failures as usize {
        return Ok(());
    }
    if let Some(who) = granted_anew(before, now) {
        return Err(format!("{failed:?} failed, and {who} is granted {} all the same", now.to));
    }
    if rolls_on(before, now) {
        return Err(format!("{failed:?} failed, and {id} is {} still", now.state));
    }
    Ok(())
}

/// A second instance that vanished on its way stops the roll: nobody else is told to move until an operator has said so.
pub(super) fn the_vanished_stop_the_roll(world: &World, event: &Event) -> Result<(), String> {
    let What::Record { id, .. } = &event.what else { return Ok(()) };
    let (Some(now), Some(before)) = (world.record(id), &world.law.record_before) else { return Ok(()) };
    let vanished = now.vanished();
    if let Some(who) = vanished.iter().find(|who| world.fleet.ended.contains(**who)) {
        return Err(format!("the group ended {who}, and it is said to have vanished"));
    }
    if before.id != now.id || now.state != State::Rolling || vanished.len() < 2 {
        return Ok(());
    }
    match granted_anew(before, now) {
        Some(who) => {
            Err(format!("{vanished:?} vanished on their way, and {who} is told to move all the same"))
        }
        None => Ok(()),
    }
}

fn failed<'a>(world: &World, record: &'a Record) -> Vec<&'a InstanceId> {
    let stays = |id: &InstanceId| world.fleet.members.get(id).is_some_and(|member| !member.terminating);
    let fell = |entry: &Entry| entry.progress == Progress::Failed && !entry.ill_before;
    record.instances.iter().filter(|(id, entry)| fell(entry) && stays(id)).map(|(id, _)| id).collect()
}

/// Who is told for the first time to move to the new release; a successor grants again what was granted before.
pub(super) fn granted_anew<'a>(before: &Record, now: &'a Record) -> Option<&'a InstanceId> {
    if now.state == State::RollingBack && now.from.as_ref() == Some(&now.to) {
        return None;
    }
    let anew = |(id, entry): &(&InstanceId, &Entry)| {
        let fresh = entry.granted.as_ref().is_some_and(|grant| grant.fence == now.fence());
        fresh && moves_to(entry, &now.to) && !before.instances.get(*id).is_some_and(|e| moves_to(e, &now.to))
    };
    now.instances.iter().find(anew).map(|(id, _)| id)
}

fn moves_to(entry: &Entry, to: &ReleaseRef) -> bool {
    let task = entry.granted.as_ref().map(|grant| &grant.task);
    matches!(task, Some(Task::Update { release, .. }) if release == to)
}

/// Whether the planner saw a roll with too many failures and let it be. It may while all that were not touched are ill
/// too, which the record says, and which the rules of a shared failure look into; and a successor's first write only
/// stamps its term.
fn rolls_on(before: &Record, now: &Record) -> bool {
    let rolls = before.state == State::Rolling && now.state == State::Rolling;
    rolls && before.term == now.term && now.shared_illness_at.is_none()
}

/// One that the group ended in mid-roll is no failure of the release: neither does a roll go back, nor a deployment end in
/// `staging`, with no more failures than it tolerates among those of whom its coordinator did not know that they are ended.
/// Also a tolerated failure counts where nobody serves the release. An operator's word, its bound, and a minimum that nobody can keep are other reasons.
pub(super) fn the_ended_are_no_failure(world: &World, event: &Event) -> Result<(), String> {
    let (What::Record { id, because, .. }, Some(by)) = (&event.what, event.host) else { return Ok(()) };
    let (Some(now), Some(before)) = (world.record(id), &world.law.record_before) else { return Ok(()) };
    let turns = match (before.state, now.state) {
        (State::Rolling, State::RollingBack) => before.stuck_since.is_none(),
        (State::Staging, State::Failed) => true,
        _ => false,
    };
    let asked = now.aborted_by.is_some() || now.elapsed > before.until();
    if before.id != now.id || !turns || asked {
        return Ok(());
    }
    let Some(planned) = planned_at(world, before, now, by, event.at) else { return Ok(()) };
    let tolerated = match now.policy.strategy {
        Strategy::Rolling => now.policy.max_failures as usize,
        Strategy::AllAtOnce => 0,
    };
    let failed = failed_and_not_ended(world, now, by, planned);
    // Of what it heard in that very millisecond nobody knows whether it was before.
    let is_ended = |id: &InstanceId| world.law.told.has_ended(by, id, planned + 1);
    let serves = |(id, entry): (&InstanceId, &Entry)| entry.progress == Progress::Done && !is_ended(id);
    let anybody_serves = now.instances.iter().any(serves);
    let comes = |progress| matches!(progress, Progress::Untouched | Progress::Staged | Progress::Updating);
    let anybody_comes = before.instances.iter().any(|(id, entry)| {
        comes(entry.progress) && now.instances[id].progress == entry.progress && !is_ended(id)
    });
    if failed.len() > tolerated || (!failed.is_empty() && !anybody_serves && !anybody_comes) {
        return Ok(());
    }
    Err(format!(
        "{id} is {} although only {failed:?} failed of those that were not ended: {because}",
        now.state
    ))
}

fn failed_and_not_ended<'a>(
    world: &World,
    record: &'a Record,
    by: HostNo,
    planned: u64,
) -> Vec<&'a InstanceId> {
    let fell = |entry: &Entry| entry.progress == Progress::Failed && !entry.ill_before;
    let all = record.instances.iter().filter(|(_, entry)| fell(entry)).map(|(id, _)| id);
    all.filter(|id| !world.law.told.has_ended(by, id, planned)).collect()
}
