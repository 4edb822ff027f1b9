//! Rules 8 and 9, and the promise to the users.

use crate::fault::Fault;
use crate::trace::{Event, Failure, What};
use crate::world::World;
use crate::world::app::App;
use crate::world::releases::{Conduct, number};
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use everup_core::record::{Progress, Record};

/// A health check is so old at most when something relies on it.
const CHECKED: u64 = 10_000;

/// Who enters the balancer has an app that has been up.
pub(super) fn joins_when_up(world: &World, event: &Event) -> Result<(), String> {
    let (What::Joined, Some(no)) = (&event.what, event.host) else { return Ok(()) };
    let host = world.host_no(no);
    let was_up = host.apps.values().any(|app| app.up_at.is_some_and(|at| at <= event.at));
    // One that has just woken knows what it knew when it fell asleep.
    let nap = world.law.slept.get(&no).filter(|(_, until)| until + CHECKED >= event.at);
    let since = event.at.saturating_sub(CHECKED);
    let since = nap.map_or(since, |(from, _)| since.min(*from));
    let died = world.law.hurt.iter().any(|(at, hurt)| *hurt == no && *at >= since);
    if was_up || died { Ok(()) } else { Err(format!("i{no} entered the balancer without an app that is up")) }
}

/// A failure that all share is not a release's fault: while the database is away a good release is not rolled back.
/// Only asked where no other fault could be the reason, and while an instance still runs the old release: without one
/// nobody can tell a bad release from a database that is away.
pub(super) fn shared_failure(world: &World, event: &Event) -> Result<(), String> {
    use Fault::{
        AppDies, AppIll, BadRelease, DiskRot, GateLost, HostLost, ScaleIn, SlowStart, SlowStop, StageFails,
        ZoneLost,
    };
    let What::Record { id, state: State::RollingBack, because, .. } = &event.what else { return Ok(()) };
    let before = world.law.record_before.as_ref();
    let turned = before.is_some_and(|before| matches!(before.state, State::Rolling | State::Paused));
    let other = [
        AppDies, AppIll, BadRelease, DiskRot, GateLost, HostLost, ScaleIn, SlowStart, SlowStop, StageFails,
        ZoneLost,
    ];
    if !turned || other.iter().any(|fault| world.setting.rate(*fault) > 0) {
        return Ok(());
    }
    let record = world.objects.records.values().find(|record| record.id.as_str() == id);
    let good = record.is_some_and(|record| {
        world.releases.get(number(&record.to)).is_some_and(|release| release.conduct == Conduct::Good)
            && record.aborted_by.is_none()
            && record.instances.iter().any(|(id, entry)| {
                !entry.touched
                    && entry.progress != Progress::Gone
                    && tells_of_the_old_one(world, id, record, event)
            })
    });
    let lately = world.law.database_away.is_some_and(|at| at + CHECKED >= event.at);
    if good && lately {
        return Err(format!("{id} rolls back a good release while the database is away: {because}"));
    }
    Ok(())
}

/// Whether an instance runs another release than the new one, and not only since a moment: one that still starts is no
/// evidence.
fn tells_of_the_old_one(world: &World, id: &InstanceId, record: &Record, event: &Event) -> bool {
    let new = number(&record.to);
    let is_up = |app: &App| app.no() != new && app.up_at.is_some_and(|at| at + CHECKED <= event.at);
    world.hosts.get(id).is_some_and(|host| host.apps.values().any(is_up))
}

/// With these an agent may not be there to shut the gate before an app that died, or not be heard.
const KEPT_FROM_SHUTTING: [Fault; 6] = [
    Fault::AgentCrash,
    Fault::AgentPause,
    Fault::GateFails,
    Fault::GateLost,
    Fault::JournalFails,
    Fault::Reboot,
];

/// No request fails because of us: an app is emptied before it is stopped, a gate opens only into an app that is up,
/// and nothing is cut that a drain's time allows.
pub(super) fn no_request_fails(world: &World, event: &Event) -> Result<(), String> {
    let What::Failed(number, why) = &event.what else { return Ok(()) };
    let ours = match why {
        Failure::StoppedUnder | Failure::NoApp | Failure::NotUp | Failure::Cut | Failure::PassedTooLate => {
            true
        }
        Failure::LongDead => KEPT_FROM_SHUTTING.iter().all(|fault| world.setting.rate(*fault) == 0),
        Failure::WaitedTooLong | Failure::HoldFull | Failure::NoTarget => world.setting.is_calm(),
        Failure::HostLost | Failure::AppDied | Failure::DeadApp | Failure::AppIll | Failure::GateLost => {
            false
        }
    };
    if ours { Err(format!("request {number} failed: {why:?}")) } else { Ok(()) }
}
