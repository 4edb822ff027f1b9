//! The end of a world: once the faults stop, what runs has to end, and the fleet has to come together on one release.

use crate::chaos;
use crate::operators;
use crate::rng::Rng;
use crate::rules::Broken;
use crate::world::releases::{Conduct, number};
use crate::world::{Sim, World};
use everup_core::deployment::State;
use everup_core::gate::Passing;
use everup_core::record::Record;

/// After the faults, what runs may take so long beyond its bound: the way back has no bound of its own but this.
const BEYOND: u64 = 400_000;
/// So long a fleet may take to come together by itself.
const TOGETHER: u64 = 120_000;
/// So often an operator may help a fleet that a failed deployment left behind.
const HELP: u32 = 3;

/// Waits for the end of trouble, and says whether all came out well.
pub(crate) async fn judge(sim: Sim) {
    sim.sleep(sim.setting.trouble).await;
    chaos::end(&sim);
    let verdict = end_well(&sim).await;
    let mut world = sim.world();
    if let Err(how) = verdict
        && world.broken.is_none()
    {
        world.broken = Some(Broken { rule: "7: once the faults stop, the fleet ends on one release", how });
    }
    world.over = true;
}

async fn end_well(sim: &Sim) -> Result<(), String> {
    what_runs_ends(sim).await?;
    let mut rng = Rng::of(sim.setting.seed, "help");
    for attempt in 0..=HELP {
        let apart = match comes_together(sim).await {
            Ok(()) => return users_go_home(sim).await,
            Err(apart) => apart,
        };
        if attempt == HELP || !may_help(&sim.world()) {
            return Err(apart);
        }
        let why = why_apart(&sim.world(), &apart);
        sim.world().helped.push(why);
        let fix = publish_a_fix(sim);
        operators::press(sim, &mut rng, &operators::plain(sim, fix)).await;
        what_runs_ends(sim).await?;
    }
    Ok(())
}

/// A release that is good, on the schema that the database has.
fn publish_a_fix(sim: &Sim) -> u16 {
    let mut world = sim.world();
    let schema = world.database.schema;
    world.releases.publish(schema, Conduct::Good).no
}

/// Only a deployment that failed, and says so, may leave a fleet that is not whole, and those that take back only what
/// they touched leave it so; or a release that went bad after it was believed.
fn may_help(world: &World) -> bool {
    let newcomers = world.objects.head.as_ref().and_then(|head| head.newcomers.as_ref());
    let bad = newcomers.is_none_or(|release| world.releases.of(release).conduct != Conduct::Good);
    let made_whole = |record: &&&Record| matches!(record.state, State::Succeeded | State::SucceededUnproven);
    let deployments = deployments(world);
    let mut since = deployments.iter().rev().take_while(|record| !made_whole(record));
    bad || deployments.is_empty() || since.any(|record| record.state == State::Failed)
}

/// The oldest first: ids are made of clocks that jump.
fn deployments(world: &World) -> Vec<&Record> {
    let mut all: Vec<&Record> = world.objects.records.values().collect();
    all.sort_by_key(|record| record.term);
    all
}

/// How the last deployment ended, and what was apart, without the names.
fn why_apart(world: &World, apart: &str) -> String {
    let last = deployments(world).pop();
    let ended = last.map_or_else(|| "never deployed".to_owned(), |last| format!("after it {}", last.state));
    let kind = apart.split_once(' ').map_or(apart, |(_, rest)| rest);
    let kind: String = kind.chars().filter(|c| !c.is_ascii_digit()).collect();
    format!("{ended}: an instance {kind}")
}

async fn what_runs_ends(sim: &Sim) -> Result<(), String> {
    let bound = sim.world().current().map_or(400_000, |record| record.policy.bound.0);
    let deadline = sim.now() + bound + BEYOND;
    loop {
        // A deployment that was asked for a moment ago has no record yet.
        sim.sleep(1_000).await;
        let running = running(&sim.world());
        let Some(what) = running else { return Ok(()) };
        if sim.now() > deadline {
            return Err(format!("{what}, although the faults are over since {} s", (bound + BEYOND) / 1_000));
        }
    }
}

/// What runs, as a sentence.
fn running(world: &World) -> Option<String> {
    let current = world.objects.head.as_ref()?.current.as_ref()?;
    match world.objects.records.get(&current.id) {
        None => Some(format!("{} has no record", current.id)),
        Some(record) if record.state.is_final() => {
            Some(format!("{} is over, and head still names it", current.id))
        }
        Some(record) => Some(format!(
            "{} is {} ({}); it waits for {:?}",
            current.id, record.state, record.because, record.waiting
        )),
    }
}

async fn comes_together(sim: &Sim) -> Result<(), String> {
    let deadline = sim.now() + TOGETHER;
    loop {
        let apart = match apart(&sim.world()) {
            None => return Ok(()),
            Some(apart) => apart,
        };
        if sim.now() > deadline {
            return Err(apart);
        }
        sim.sleep(500).await;
    }
}

/// What keeps the fleet from being whole: every instance that is wanted serves the one release that newcomers take.
fn apart(world: &World) -> Option<String> {
    let Some(head) = &world.objects.head else { return Some("there is no head".to_owned()) };
    let Some(wanted) = head.newcomers.as_ref().map(number) else {
        return Some("head names no release for newcomers".to_owned());
    };
    let living = world.fleet.members.values().filter(|member| !member.terminating).count();
    if living != world.fleet.desired as usize {
        return Some(format!("{living} instances, {} wanted", world.fleet.desired));
    }
    if let Some(id) = world.fleet.protected.first() {
        return Some(format!("{id} is still protected from scale-in"));
    }
    world.fleet.members.iter().find_map(|(id, member)| {
        let host = &world.hosts[id];
        let with = world.answers_with(host);
        if !member.balanced {
            Some(format!("{id} is not in the balancer (gate {:?}, app {with:?})", host.gate.passing()))
        } else if !world.answers(host) || host.gate.passing() != Passing::Open {
            Some(format!("{id} does not answer (gate {:?}, app {with:?})", host.gate.passing()))
        } else if with != Some(wanted) {
            Some(format!("{id} serves {with:?}, newcomers take {wanted}"))
        } else if host.apps.len() > 1 {
            Some(format!("{id} runs {} apps", host.apps.len()))
        } else {
            None
        }
    })
}

/// Every request has one outcome.
async fn users_go_home(sim: &Sim) -> Result<(), String> {
    sim.world().closing = true;
    sim.sleep(sim.setting.longest_request + 30_000).await;
    let requests = sim.world().requests;
    if requests.begun == requests.served + requests.failed {
        Ok(())
    } else {
        Err(format!("requests without an outcome: {requests:?}"))
    }
}
