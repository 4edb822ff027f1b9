//! Rule 6: what failed stops a roll.

use crate::trace::{Event, What};
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

fn failed<'a>(world: &World, record: &'a Record) -> Vec<&'a InstanceId> {
    let stays = |id: &InstanceId| world.fleet.members.get(id).is_some_and(|member| !member.terminating);
    let fell = |entry: &Entry| entry.progress == Progress::Failed && !entry.ill_before;
    record.instances.iter().filter(|(id, entry)| fell(entry) && stays(id)).map(|(id, _)| id).collect()
}

/// Who is told for the first time to move to the new release; a successor grants again what was granted before.
fn granted_anew<'a>(before: &Record, now: &'a Record) -> Option<&'a InstanceId> {
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
