//! Rules 3, 6 and 8: which release runs where.

use super::state;
use crate::trace::{Event, What};
use crate::world::releases::{number, version};
use crate::world::{World, environment};
use everup_core::deployment::State;
use everup_core::order::Task;
use everup_core::plan::head_after;
use everup_core::policy::Strategy;
use everup_core::record::instance_key;

/// A boot may have read head so long ago: staging, retries and stalls lie between.
const BOOT: u64 = 120_000;

/// No instance runs or starts a release that head forbids.
pub(super) fn nothing_forbidden(world: &World, event: &Event) -> Result<(), String> {
    let Some(head) = &world.objects.head else { return Ok(()) };
    match &event.what {
        What::AppStarted(no, _) if head.forbidden.contains(&version(*no)) => {
            Err(format!("release {no} was started, which head forbids"))
        }
        What::Head { .. } => {
            for host in world.hosts.values().filter(|host| host.alive) {
                if let Some(app) = host.apps.values().find(|app| head.forbidden.contains(&version(app.no())))
                {
                    return Err(format!("i{} runs release {} when head forbids it", host.no, app.no()));
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The truth behind rule 3: no app runs while a migration does, and none on a schema that is not its own.
pub(super) fn schema_fits(world: &World, event: &Event) -> Result<(), String> {
    let database = &world.database;
    match &event.what {
        What::AppStarted(no, _) => {
            let needs = world.releases.get(*no).map_or(0, |release| release.schema);
            if let Some(running) = database.running.values().next() {
                return Err(format!("release {no} was started while the migration to schema {running} runs"));
            }
            if needs != database.schema {
                return Err(format!(
                    "release {no} needs schema {needs}, the database has {}",
                    database.schema
                ));
            }
            Ok(())
        }
        What::RunBegan(schema, ..) => {
            let lives = |host: &&crate::world::host::Host| host.alive && !host.apps.is_empty();
            match world.hosts.values().find(lives) {
                Some(host) => {
                    Err(format!("the migration to schema {schema} began while i{} runs an app", host.no))
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// A rolling deployment's way back touches only what the deployment touched.
pub(super) fn only_touched_go_back(world: &World, event: &Event) -> Result<(), String> {
    let What::Record { id, state: State::RollingBack, .. } = &event.what else { return Ok(()) };
    let record = world.objects.records.values().find(|record| record.id.as_str() == id);
    let Some(record) = record.filter(|record| record.policy.strategy == Strategy::Rolling) else {
        return Ok(());
    };
    let Some(from) = &record.from else { return Ok(()) };
    for (who, entry) in &record.instances {
        let goes_back = entry.granted.as_ref().is_some_and(|grant| {
            grant.fence == record.fence()
                && matches!(&grant.task, Task::Update { release, .. } if release == from)
        });
        // A successor grants again what was granted before.
        let known = world.law.record_before.as_ref().and_then(|before| before.instances.get(who));
        let again = known
            .and_then(|known| known.granted.as_ref())
            .is_some_and(|grant| matches!(&grant.task, Task::Update { release, .. } if release == from));
        let host = world.hosts.get(who).filter(|host| host.alive);
        let untouched = host.is_some_and(|host| {
            world.answers(host) && world.answers_with(host) == Some(number(from)) && !entry.touched
        });
        if goes_back && !again && untouched && *from != record.to {
            return Err(format!("{who} is told to go back to {from}, which it never left"));
        }
    }
    Ok(())
}

/// A newcomer puts `instances/<id>.json` before it starts anything.
pub(super) fn newcomers_announce(world: &World, event: &Event) -> Result<(), String> {
    let (What::AppStarted(..), Some(no)) = (&event.what, event.host) else { return Ok(()) };
    let id = &world.host_no(no).id;
    let key = instance_key(&environment(), id);
    if world.objects.list(&key).is_empty() {
        return Err(format!("{id} started an app and never announced itself"));
    }
    Ok(())
}

/// A newcomer takes what head says: a release that newcomers were to take when it may have looked, the one that head is
/// about to say after a record that is final, or the one that it was ordered to run.
pub(super) fn newcomers_take_what_head_says(world: &World, event: &Event) -> Result<(), String> {
    let (What::AppStarted(no, _), Some(host)) = (&event.what, event.host) else { return Ok(()) };
    let host = world.host_no(host);
    let first = host.graves.is_empty() && host.apps.len() == 1;
    let ordered = host.journal.as_ref().is_some_and(|memory| memory.order.is_some());
    // While it is pending who had read head before goes on.
    let waits = |state: State| state.newcomers_wait() && state != State::Pending;
    if !first || ordered || state(world).is_some_and(waits) {
        return Ok(());
    }
    let since = event.at.saturating_sub(BOOT);
    let known = &world.objects.newcomers;
    let from = known.partition_point(|(at, _)| *at <= since).saturating_sub(1);
    if known[from..].iter().any(|(_, newcomers)| newcomers == no) || about_to_say(world) == Some(*no) {
        return Ok(());
    }
    Err(format!("it started release {no}; head says {:?}", known.last()))
}

/// The release for newcomers once head is written after the last record of a deployment, which is there already.
fn about_to_say(world: &World) -> Option<u16> {
    let record = world.current().filter(|record| record.state.is_final())?;
    head_after(world.objects.head.as_ref()?, record).newcomers.as_ref().map(number)
}
