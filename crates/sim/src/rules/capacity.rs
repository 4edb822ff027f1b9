//! Rule 1.

use crate::trace::{Event, HostNo, What};
use crate::world::World;
use crate::world::host::Host;
use everup_core::deployment::State;
use everup_core::gate::Passing;
use everup_core::order::Task;
use everup_core::plan::min_in_service;
use everup_core::policy::{Policy, Strategy};
use everup_core::record::Record;

/// A coordinator hears of a death, a loss or a scale-in within so long: long polls, leases and stale lists.
const NEWS: u64 = 30_000;
/// An app that has recovered is seen to have within so long, as an instance checks it.
const CHECK: u64 = 3_000;

/// Never fewer than `min_in_service` in service because of us, in a roll as in a rollback. Asked whenever the engine
/// takes an instance that serves out of service. What a fault took less than [`NEWS`] before the order was granted
/// counts as still there: nobody could know.
pub(super) fn minimum(world: &World, event: &Event) -> Result<(), String> {
    let Some(no) = event.host else { return Ok(()) };
    let Some(record) = world.current().filter(|record| moves_by_batches(record)) else { return Ok(()) };
    if !takes_out(world, event, no) {
        return Ok(());
    }
    let serving = world.in_service();
    let left: Vec<HostNo> = serving.into_iter().filter(|other| *other != no).collect();
    let since = granted_at(world, record, no).unwrap_or(event.at).min(event.at).saturating_sub(NEWS);
    let mut excused: Vec<HostNo> =
        world.law.hurt.iter().filter(|(at, _)| *at >= since).map(|(_, host)| *host).collect();
    excused.sort_unstable();
    excused.dedup();
    excused.retain(|host| *host != no && !left.contains(host));
    let desired = wanted_since(world, since);
    // Without room for a second app there is no overlap, and where one was the reason for a minimum there is none.
    let overlap = record.policy.overlap && !world.host_no(no).cramped;
    let min = min_in_service(&Policy { overlap, ..record.policy.clone() }, desired) as usize;
    if left.len() + excused.len() < min {
        return Err(format!(
            "i{no} was taken out and leaves {left:?} in service (a fault took {excused:?} lately), fewer than {min}"
        ));
    }
    Ok(())
}

/// Both releases run on no more instances at once than `max_overlap` says.
pub(super) fn overlap(world: &World, event: &Event) -> Result<(), String> {
    let What::AppStarted(..) = &event.what else { return Ok(()) };
    let Some(record) = world.current().filter(|record| moves_by_batches(record)) else { return Ok(()) };
    let Some(most) = record.policy.max_overlap.filter(|_| record.policy.overlap) else { return Ok(()) };
    let both: Vec<HostNo> =
        world.hosts.values().filter(|host| host.alive && host.apps.len() > 1).map(|host| host.no).collect();
    let present = world.fleet.members.values().filter(|member| !member.terminating).count();
    let most = most.of(present as u32).max(1) as usize;
    if event.host.is_some_and(|no| both.contains(&no)) && both.len() > most {
        return Err(format!("both releases run on {both:?}, and max_overlap is {most}"));
    }
    Ok(())
}

fn moves_by_batches(record: &Record) -> bool {
    record.policy.strategy == Strategy::Rolling
        && matches!(record.state, State::Rolling | State::Paused | State::RollingBack)
}

/// Whether this event took host `no` out of service, and nothing else had before.
fn takes_out(world: &World, event: &Event, no: HostNo) -> bool {
    let host = world.host_no(no);
    let member = world.fleet.members.get(&host.id);
    let ends = member.is_none_or(|member| member.terminating);
    let balanced = member.is_some_and(|member| member.balanced);
    let up = host.gate.machine.upstream().and_then(|up| host.app(&up.start));
    let open = matches!(host.gate.passing(), Passing::Open | Passing::Draining);
    let healthy = up.is_some_and(|app| world.is_healthy(host, app));
    let out = match &event.what {
        What::Left => open && healthy,
        What::Gate(Passing::Held | Passing::Shut | Passing::Sealed) => balanced && healthy,
        What::AppStopping(_, start) => {
            let this = up.filter(|app| app.start().as_str() == start.as_str());
            let was_up = this.is_some_and(|app| app.up_at.is_some_and(|at| at <= event.at));
            balanced && open && was_up && !world.database.away && host.ill_until <= event.at
        }
        _ => false,
    };
    out && !ends && well(world, event.at, host)
}

/// Whether it has passed a check since it was ill: until then it counts as out, and may be taken first.
fn well(world: &World, now: u64, host: &Host) -> bool {
    let away = world.law.database_away.is_some_and(|at| at + CHECK > now);
    host.ill_until + CHECK <= now && !away
}

/// When the update that `no` carries out was granted.
fn granted_at(world: &World, record: &Record, no: HostNo) -> Option<u64> {
    let id = &world.host_no(no).id;
    let grant = record.instances.get(id)?.granted.as_ref()?;
    matches!(grant.task, Task::Update { .. }).then_some(())?;
    world.objects.grants.get(&(record.id.clone(), id.clone(), grant.fence)).map(|(at, _)| *at)
}

/// The fewest that were wanted since `since`: a list may be old.
fn wanted_since(world: &World, since: u64) -> u32 {
    let wanted = &world.fleet.wanted;
    let first = wanted.partition_point(|(at, _)| *at <= since).saturating_sub(1);
    wanted[first..].iter().map(|(_, desired)| *desired).min().unwrap_or(world.fleet.desired)
}
