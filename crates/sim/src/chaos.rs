//! Faults that come by themselves, each kind on a stream of its own.

use crate::fault::Fault;
use crate::moment::{Moment, leader};
use crate::rng::Rng;
use crate::trace::{Death, What};
use crate::world::{Sim, World, agent, app, fleet, gate};
use everup_core::deployment::State;
use everup_core::ids::InstanceId;

/// The kinds that come by themselves; the others strike single calls.
const BY_THEMSELVES: [Fault; 17] = [
    Fault::AgentCrash,
    Fault::AgentPause,
    Fault::Partition,
    Fault::StoreCutOff,
    Fault::StoreAway,
    Fault::AppDies,
    Fault::AppIll,
    Fault::HostLost,
    Fault::Reboot,
    Fault::ZoneLost,
    Fault::ScaleOut,
    Fault::ScaleIn,
    Fault::DatabaseAway,
    Fault::StageFails,
    Fault::DiskRot,
    Fault::GateLost,
    Fault::ClockJumps,
];

/// So often a fault that is aimed looks whether its moment has come.
const AIM: u64 = 20;

/// Starts a task for each kind that this world has.
pub(crate) fn begin(sim: &Sim) {
    for fault in BY_THEMSELVES {
        let mean = u64::from(sim.setting.rate(fault));
        if mean > 0 {
            sim.spawn(strike_now_and_then(sim.clone(), fault, mean * 1_000));
        }
    }
}

async fn strike_now_and_then(sim: Sim, fault: Fault, mean: u64) {
    let mut rng = Rng::of(sim.setting.seed, &format!("chaos {fault:?}"));
    loop {
        sim.sleep(rng.between(200, 2 * mean)).await;
        take_aim(&sim).await;
        if sim.world().calm {
            return;
        }
        strike(&sim, fault, &mut rng).await;
    }
}

/// Waits for the moment that the world's faults are meant for.
async fn take_aim(sim: &Sim) {
    let Some(state) = sim.setting.aimed_at else { return };
    let there = |world: &World| world.current().is_some_and(|record| record.state == state);
    while !sim.world().calm && !there(&sim.world()) {
        sim.sleep(AIM).await;
    }
}

async fn strike(sim: &Sim, fault: Fault, rng: &mut Rng) {
    let Some(id) = victim(sim, fault, rng) else { return };
    let no = sim.world().host(&id).no;
    match fault {
        Fault::AgentCrash => arm_crash(sim, &id, rng),
        Fault::AgentPause => pause(sim, &id, rng).await,
        Fault::Partition => partition(sim, &id, rng).await,
        Fault::StoreCutOff => {
            sim.world().inject(Some(no), fault);
            for_a_while(sim, rng, |world, on| {
                if on {
                    world.cut_off.insert(no);
                } else {
                    world.cut_off.remove(&no);
                }
            })
            .await;
        }
        Fault::StoreAway => {
            sim.world().inject(None, fault);
            for_a_while(sim, rng, |world, on| world.store_away = on).await;
        }
        Fault::DatabaseAway => {
            sim.world().inject(None, fault);
            for_a_while(sim, rng, World::take_database).await;
        }
        Fault::ZoneLost => lose_zone(sim, rng).await,
        _ => strike_host(sim, fault, &id, rng),
    }
}

/// Those that are done with at once.
fn strike_host(sim: &Sim, fault: Fault, id: &InstanceId, rng: &mut Rng) {
    let mut world = sim.world();
    let now = world.now();
    let host = world.host(id);
    let no = host.no;
    let lasts = rng.between(500, 30_000);
    match fault {
        Fault::AppIll => host.ill_until = now + lasts,
        Fault::StageFails => host.staging_fails_until = now + lasts,
        Fault::DiskRot => drop(host.disk.pop_first()),
        Fault::ClockJumps => host.clock_off = rng.between(0, 1_200_000) as i64 - 600_000,
        Fault::GateLost => {
            drop(world);
            return gate::lose(sim, id);
        }
        Fault::AppDies => {
            let start = host.apps.values().next().map(|app| app.start().clone());
            world.inject(Some(no), fault);
            drop(world);
            if let Some(start) = start {
                app::end(sim, id, &start, Death::Own);
            }
            return;
        }
        Fault::HostLost => {
            world.inject(Some(no), fault);
            drop(world);
            return fleet::lose(sim, id, rng.between(500, 40_000));
        }
        Fault::Reboot => {
            world.inject(Some(no), fault);
            drop(world);
            return fleet::reboot(sim, id, rng.between(2_000, 40_000));
        }
        Fault::ScaleOut | Fault::ScaleIn => {
            let step = rng.between(1, 3) as u32;
            let desired = world.fleet.desired;
            let to = if fault == Fault::ScaleOut { desired + step } else { desired.saturating_sub(step) };
            let to = to.clamp(u32::from(!sim.setting.none), 20);
            world.law.scaled = Some(to);
            world.want(to);
        }
        _ => return,
    }
    world.inject(Some(no), fault);
}

/// A host that lives; for an agent's crash more often than not the coordinator's.
fn victim(sim: &Sim, fault: Fault, rng: &mut Rng) -> Option<InstanceId> {
    let world = sim.world();
    let leads = world.objects.head.as_ref().and_then(|head| head.lease.as_ref());
    let fond = matches!(
        fault,
        Fault::AgentCrash | Fault::AgentPause | Fault::Partition | Fault::HostLost | Fault::Reboot
    );
    if fond
        && rng.chance(400)
        && let Some(lease) = leads.filter(|lease| world.hosts.get(&lease.holder).is_some_and(|h| h.alive))
    {
        return Some(lease.holder.clone());
    }
    let runner = world.current().filter(|record| record.state == State::Migrating);
    let runner = runner.and_then(|record| record.run()).map(|run| &run.runner);
    if matches!(fault, Fault::HostLost | Fault::Reboot)
        && let Some(runner) = runner.filter(|id| world.hosts.get(*id).is_some_and(|host| host.alive))
        && rng.chance(500)
    {
        return Some(runner.clone());
    }
    let alive: Vec<InstanceId> =
        world.hosts.values().filter(|host| host.alive).map(|host| host.id.clone()).collect();
    rng.pick(&alive)
}

/// The agent is killed at one of its next awaits, wherever that is.
fn arm_crash(sim: &Sim, id: &InstanceId, rng: &mut Rng) {
    let mut world = sim.world();
    let Some(group) = world.host(id).agent.as_ref().map(|agent| agent.group) else { return };
    let polls = rng.between(1, 400) as u32;
    let back_in = rng.between(100, 12_000);
    world.armed.insert(group, (id.clone(), polls, back_in));
}

/// Called after each poll of an agent's task: the armed crash comes.
pub(crate) fn polled(sim: &Sim, group: crate::executor::Group) {
    let due = {
        let mut world = sim.world();
        let Some((_, polls, _)) = world.armed.get_mut(&group) else { return };
        *polls -= 1;
        if *polls > 0 {
            return;
        }
        world.armed.remove(&group)
    };
    let Some((id, _, back_in)) = due else { return };
    let same = sim.world().host(&id).agent.as_ref().is_some_and(|agent| agent.group == group);
    if same && !sim.world().calm {
        let no = sim.world().host(&id).no;
        sim.world().inject(Some(no), Fault::AgentCrash);
        agent::crash_and_restart(sim, &id, back_in);
    }
}

/// An agent does not run for a while.
pub(crate) async fn pause(sim: &Sim, id: &InstanceId, rng: &mut Rng) {
    let lasts = if rng.chance(300) { rng.between(20_000, 90_000) } else { rng.between(500, 20_000) };
    let group = {
        let mut world = sim.world();
        let no = world.host(id).no;
        let Some(group) = world.host(id).agent.as_ref().map(|agent| agent.group) else { return };
        world.inject(Some(no), Fault::AgentPause);
        world.paused.insert(group);
        group
    };
    sim.executor.pause(group);
    sim.sleep(lasts).await;
    resume(sim, group);
}

fn resume(sim: &Sim, group: crate::executor::Group) {
    if sim.world().paused.remove(&group) {
        sim.world().happened(Some((group.0 / 10_000) as u16), What::AgentResumed);
        sim.executor.resume(group);
    }
}

async fn partition(sim: &Sim, id: &InstanceId, rng: &mut Rng) {
    let lasts = rng.between(500, 30_000);
    let pairs: Vec<(u16, u16)> = {
        let mut world = sim.world();
        let no = world.host(id).no;
        let whole = rng.chance(500);
        let others: Vec<u16> = world.hosts.values().filter(|h| h.no != no).map(|h| h.no).collect();
        let outward = rng.chance(500);
        let chosen = others.into_iter().filter(|_| whole || rng.chance(400));
        let pairs: Vec<_> = chosen.map(|other| if outward { (no, other) } else { (other, no) }).collect();
        world.inject(Some(no), Fault::Partition);
        world.cut.extend(pairs.iter().copied());
        let leads = leader(&world);
        let is_cut = pairs.iter().any(|(from, to)| leads == Some(*from) || leads == Some(*to));
        if is_cut && world.current().is_some_and(|record| record.state == State::Sealing) {
            world.moments.note(Moment::CutOffWhileSealing);
        }
        pairs
    };
    sim.sleep(lasts).await;
    for pair in pairs {
        sim.world().cut.remove(&pair);
    }
}

async fn for_a_while(sim: &Sim, rng: &mut Rng, switch: impl Fn(&mut World, bool)) {
    switch(&mut sim.world(), true);
    sim.sleep(rng.between(500, 35_000)).await;
    switch(&mut sim.world(), false);
}

async fn lose_zone(sim: &Sim, rng: &mut Rng) {
    if sim.setting.zones < 2 {
        return;
    }
    let any = rng.below(u64::from(sim.setting.zones)) as u8;
    let leads = leader(&sim.world()).filter(|_| rng.chance(400));
    let zone = leads.map_or(any, |no| sim.world().host_no(no).zone);
    let told_in = rng.between(2_000, 40_000);
    let inside: Vec<InstanceId> = {
        let mut world = sim.world();
        world.inject(None, Fault::ZoneLost);
        world.fleet.zones_away.insert(zone);
        world.hosts.values().filter(|h| h.alive && h.zone == zone).map(|h| h.id.clone()).collect()
    };
    for id in inside {
        fleet::lose(sim, &id, told_in);
    }
    sim.sleep(rng.between(5_000, 60_000)).await;
    sim.world().fleet.zones_away.remove(&zone);
}

/// The faults are over, and what they left behind is put right.
pub(crate) fn end(sim: &Sim) {
    let paused = {
        let mut world = sim.world();
        world.calm = true;
        world.happened(None, What::Calm);
        world.cut.clear();
        world.cut_off.clear();
        world.store_away = false;
        world.take_database(false);
        world.fleet.zones_away.clear();
        let now = world.now();
        if world.fleet.desired == 0 {
            world.law.scaled = Some(sim.setting.instances);
            world.want(sim.setting.instances);
        }
        for host in world.hosts.values_mut() {
            host.ill_until = host.ill_until.min(now);
            host.staging_fails_until = 0;
            host.journal_fails_until = 0;
            host.clock_off = 0;
        }
        world.paused.clone()
    };
    for group in paused {
        resume(sim, group);
    }
}
