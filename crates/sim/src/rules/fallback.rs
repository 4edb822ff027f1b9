//! Rule 6: the way back is there before anybody needs it, and who does not get where it should be is named.

use super::failures::granted_anew;
use crate::trace::{Event, What};
use crate::world::World;
use crate::world::host::Host;
use crate::world::releases::number;
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use everup_core::order::Task;
use everup_core::plan::head_after;
use everup_core::record::{Progress, Record};
use everup_core::release::ReleaseRef;

/// What an instance runs is known after so long: its boot, its order and its answer are on their way meanwhile.
const NEWS: u64 = 30_000;

/// Where a deployment goes, from where, and how, is settled when it begins.
pub(super) fn the_wish_stays(world: &World, event: &Event) -> Result<(), String> {
    let What::Record { id, .. } = &event.what else { return Ok(()) };
    let (Some(now), Some(before)) = (world.record(id), &world.law.record_before) else { return Ok(()) };
    let wish = |record: &Record| (record.from.clone(), record.to.clone(), record.policy.clone());
    if before.id == now.id && wish(before) != wish(now) {
        return Err(format!("{id} went from {:?} to {:?}", wish(before), wish(now)));
    }
    Ok(())
}

/// Nobody is touched who has not, complete on its disk, the release that a rollback would need: when a deployment leaves
/// `staging`, whoever made ready has it and the new one, and so has whoever is told to move. A disk that lost one by a fault
/// is not asked.
pub(super) fn the_way_back_is_there(world: &World, event: &Event) -> Result<(), String> {
    let What::Record { id, .. } = &event.what else { return Ok(()) };
    let (Some(now), Some(before)) = (world.record(id), &world.law.record_before) else { return Ok(()) };
    let leaves = before.state == State::Staging && matches!(now.state, State::Rolling | State::Holding);
    let moves = now.state == State::Rolling && before.state == State::Rolling && before.term == now.term;
    if before.id != now.id || !(leaves || moves) {
        return Ok(());
    }
    let Some(from) = &now.from else { return Ok(()) };
    let staged = now.instances.iter().filter(|(_, entry)| leaves && entry.progress == Progress::Staged);
    // A newcomer has nothing to lose: it runs nothing yet, or has taken the new release by itself.
    let runs_another = |who: &&InstanceId| {
        let runs = world.hosts.get(*who).and_then(|host| world.answers_with(host));
        runs.is_some_and(|no| no != number(&now.to))
    };
    let told = granted_anew(before, now).filter(|_| moves).filter(runs_another);
    let told = told.filter(|who| was_told_to_make_ready(world, now, who));
    for who in staged.map(|(who, _)| who).chain(told) {
        let Some(host) = world.hosts.get(who).filter(|host| host.alive) else { continue };
        let lacks = |release: &&ReleaseRef| !host.disk.contains(*release);
        let needed = [Some(from), Some(&now.to).filter(|_| leaves)];
        if let Some(lost) = needed.into_iter().flatten().find(lacks)
            && !world.law.rotten.contains(&host.no)
        {
            return Err(format!("{id} is {}, {who} takes part, and {lost} is not on its disk", now.state));
        }
    }
    Ok(())
}

/// Who comes, or answers, only when the others are ready is not told to make ready any more: it makes ready as it moves. What
/// it runs is what a rollback needs, but for one that came to a fleet that was empty when it was last deployed to.
fn was_told_to_make_ready(world: &World, record: &Record, who: &InstanceId) -> bool {
    let grants = world.objects.grants.iter();
    let mut its = grants.filter(|((deployment, id, _), _)| *deployment == record.id && id == who);
    its.any(|(_, (_, task))| matches!(task, Task::Stage { .. }))
}

/// At the end of a failed deployment every instance that does not run the release that the fleet is meant to run is named.
pub(super) fn who_is_elsewhere_is_named(world: &World, event: &Event) -> Result<(), String> {
    let What::Record { id, state: State::Failed, because, .. } = &event.what else { return Ok(()) };
    let (Some(now), Some(before)) = (world.record(id), &world.law.record_before) else { return Ok(()) };
    if before.id != now.id || before.state == State::Failed {
        return Ok(());
    }
    let Some(right) = world.objects.head.as_ref().and_then(|head| head_after(head, now).newcomers) else {
        return Ok(());
    };
    let elsewhere: Vec<&InstanceId> = world
        .hosts
        .values()
        .filter(|host| is_elsewhere(world, now, host, &right, event.at))
        .map(|host| &host.id)
        .collect();
    let named =
        |who: &InstanceId| because.split(|c: char| !c.is_alphanumeric()).any(|word| word == who.as_str());
    // Of many the first are named in the sentence, the others in their entries.
    let there = if now.from.as_ref() == Some(&right) { Progress::Back } else { Progress::Done };
    let listed = |who: &InstanceId| {
        because.contains(" more") && now.instances.get(who).is_some_and(|entry| entry.progress != there)
    };
    match elsewhere.iter().find(|who| !named(who) && !listed(who)) {
        Some(who) => Err(format!("{id} failed, {who} is not on {right}, and is not named: {because}")),
        None => Ok(()),
    }
}

/// Whether it took part, and runs another release than `right`, or nothing, and not only since a moment.
fn is_elsewhere(world: &World, record: &Record, host: &Host, right: &ReleaseRef, now: u64) -> bool {
    let member = world.fleet.members.get(&host.id);
    let stays = host.alive && member.is_some_and(|member| !member.terminating);
    let touched = record.instances.get(&host.id).is_some_and(|entry| entry.touched);
    let lately = world.law.hurt.iter().any(|(at, no)| *no == host.no && at + NEWS > now);
    stays && touched && !lately && world.answers_with(host) != Some(number(right))
}
