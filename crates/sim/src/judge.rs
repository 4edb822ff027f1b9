//! The end of a world: once the faults stop, what runs has to end, and the fleet has to come together on one release.

use crate::chaos;
use crate::operators;
use crate::rng::Rng;
use crate::rules::Broken;
use crate::world::host::Host;
use crate::world::releases::{Conduct, number};
use crate::world::{Sim, World, fleet};
use everup_core::deployment::State;
use everup_core::gate::Passing;
use everup_core::ids::InstanceId;
use everup_core::policy::Strategy;
use everup_core::record::{Progress, Record};

/// So long a machine that came back is watched: it announces itself, asks head, stages and starts.
const REVENANT: u64 = 20_000;
/// How often what runs is looked at.
const LOOK: u64 = 1_000;
/// Nobody counts the time in which nobody coordinates. The coordinator may have been lost in the last moment of the faults:
/// its lease is seen to expire (10 s), and each deputy lets those before it go first, a second each, 19 of 20 instances.
const TAKEOVER: u64 = 30_000;
/// So long a fleet may take to come together by itself, once no deployment runs: the slowest start of a world takes 90 s,
/// and what is still starting is looked at all the time. The others need less: an app that died again and again is started
/// after a minute at the latest, who waits for head looks every 45 s, who was sealed every 5 s.
const TOGETHER: u64 = 95_000;
/// An agent that has nothing to do looks at head every 90 s at the latest, and repairs what mirrors it with its second look.
const MIRROR: u64 = 200_000;

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

/// A person may help once, where the design wants one ([`who_needs_a_person`]), with a release that is good: then all has
/// to be well.
async fn end_well(sim: &Sim) -> Result<(), String> {
    what_runs_ends(sim).await?;
    let Err(apart) = comes_together_by_itself(sim).await? else { return a_week_later(sim).await };
    let Some(why) = who_needs_a_person(&sim.world(), &apart) else { return Err(apart.how) };
    sim.world().helped.push(why.to_owned());
    let fix = publish_a_fix(sim);
    let mut rng = Rng::of(sim.setting.seed, "help");
    operators::press(sim, &mut rng, &operators::plain(sim, fix)).await;
    what_runs_ends(sim).await?;
    comes_together(sim).await.map_err(|apart| apart.how)?;
    a_week_later(sim).await
}

/// A release that an empty fleet took is on trial until a newcomer comes, which may be only now: then the fleet falls back by
/// a deployment of its own, and has its time once more after that.
async fn comes_together_by_itself(sim: &Sim) -> Result<Result<(), Apart>, String> {
    let known = sim.world().objects.records.len();
    let together = comes_together(sim).await;
    let began = running(&sim.world()).is_some() || sim.world().objects.records.len() > known;
    if together.is_ok() || !began {
        return Ok(together);
    }
    what_runs_ends(sim).await?;
    Ok(comes_together(sim).await)
}

/// All is over; then a machine boots that had been lost in the time of trouble. The rules look on.
async fn a_week_later(sim: &Sim) -> Result<(), String> {
    if fleet::boot_again(sim).is_some() {
        sim.sleep(REVENANT).await;
    }
    users_go_home(sim).await?;
    the_mirror_follows(sim).await
}

/// Whatever became of who led last, `version.properties` says in the end what newcomers take.
async fn the_mirror_follows(sim: &Sim) -> Result<(), String> {
    let deadline = sim.now() + MIRROR;
    loop {
        let (takes, says) = {
            let world = sim.world();
            let takes = world.objects.head.as_ref().and_then(|head| head.newcomers.as_ref().map(number));
            (takes, world.objects.mirror.map(|mirror| mirror.takes))
        };
        if takes == says {
            return Ok(());
        }
        if sim.now() > deadline {
            return Err(format!("newcomers take {takes:?}, and version.properties says {says:?}"));
        }
        sim.sleep(LOOK).await;
    }
}

/// A release that is good, on the schema that the database has.
fn publish_a_fix(sim: &Sim) -> u16 {
    let mut world = sim.world();
    let schema = world.database.schema;
    world.releases.publish(schema, Conduct::Good).no
}

/// Where the design wants a person, and why; nothing where the fleet had to come together by itself. The report counts them
/// by these sentences: most often there is only forward, and the release is bad, or no release was ever believed, so that
/// there was no way back; seldom one went bad after it was believed, or an instance did not answer until its deployment was
/// over, and was named.
fn who_needs_a_person(world: &World, apart: &Apart) -> Option<&'static str> {
    let deployments = deployments(world);
    let Some(proven) = world.objects.head.as_ref().and_then(|head| head.proven.as_ref()) else {
        return Some("the environment never had a release that was believed");
    };
    let is_bad = world.releases.of(proven).conduct != Conduct::Good;
    let mut brought = deployments.iter().filter(|record| record.to == *proven);
    if is_bad && brought.clone().any(|record| record.migrated()) {
        return Some("a migration was applied, and its release is bad: there is only forward");
    }
    if is_bad && brought.any(|record| believed(record)) {
        return Some("the release went bad after it was believed");
    }
    if deployments.last().is_some_and(|last| last.state == State::Failed && last.from.is_none()) {
        return Some("the environment never had a release that was believed");
    }
    let who = apart.who.as_ref()?;
    let names =
        |because: &str| because.split(|c: char| !c.is_alphanumeric()).any(|word| word == who.as_str());
    let mut since = deployments.iter().rev().take_while(|record| record.state != State::Succeeded);
    // Of many the first are named: "i1, i2, i3 and 4 more".
    let is_one_of = |record: &Record| {
        let words: Vec<&str> = record.because.split([' ', ';', ':', ',']).collect();
        let and_more =
            words.windows(3).any(|at| at[0] == "and" && at[1].parse::<u32>().is_ok() && at[2] == "more");
        let is_left = match record.instances.get(who) {
            Some(entry) => !matches!(entry.progress, Progress::Done | Progress::Back),
            // Who was never met is one of those that did not answer.
            None => record.because.contains("did not answer"),
        };
        and_more && is_left
    };
    let is_named =
        since.any(|record| record.state == State::Failed && (names(&record.because) || is_one_of(record)));
    (!is_bad && is_named).then_some("a deployment failed, and named who is not where it should be")
}

/// Whether it passed its deployment, or its trial, before it went bad; or the deployment failed, did not go back, and an
/// instance had served the release for as long as was wanted as proof (all at once: at all); or most did. Asked of the record
/// alone, and not of the planner, which decides by it what the fleet is left to.
fn believed(record: &Record) -> bool {
    let count =
        |is: &dyn Fn(Progress) -> bool| record.instances.values().filter(|entry| is(entry.progress)).count();
    let (there, all) = (count(&|p| p == Progress::Done), count(&|p| p != Progress::Gone));
    let went_back = record.phases.iter().any(|phase| phase.state == State::RollingBack);
    let enough = match record.policy.strategy {
        Strategy::Rolling => record.proven,
        Strategy::AllAtOnce => there > 0,
    };
    matches!(record.state, State::Succeeded | State::SucceededUnproven)
        || (record.state == State::Failed && ((enough && !went_back) || there * 2 > all))
}

/// The oldest first: ids are made of clocks that jump.
fn deployments(world: &World) -> Vec<&Record> {
    let mut all: Vec<&Record> = world.objects.records.values().collect();
    all.sort_by_key(|record| record.term);
    all
}

/// What runs when the faults stop ends within what is left of its own bound, counted from its beginning: neither the end
/// of the faults nor a new coordinator gives it more. The way back has a bound of its own, which the record says. Only a
/// migration, and a person who is asked, have no limit.
async fn what_runs_ends(sim: &Sim) -> Result<(), String> {
    let mut counted = sim.world().current().map_or(0, |record| record.elapsed.0);
    loop {
        // A deployment that was asked for a moment ago has no record yet.
        sim.sleep(LOOK).await;
        let world = sim.world();
        let Some(what) = running(&world) else { return Ok(()) };
        // Where no agent runs, nobody can end it.
        let somebody = world.hosts.values().any(|host| host.alive && host.agent.is_some());
        if somebody && world.current().is_none_or(|record| has_limit(record.state)) {
            counted += LOOK;
        }
        let until = until(&world);
        if counted > until + TAKEOVER {
            let (counted, until) = (counted / 1_000, until / 1_000);
            return Err(format!(
                "{what}, {counted} s after its beginning; it had to be over after {until} s"
            ));
        }
    }
}

const fn has_limit(state: State) -> bool {
    state.counts_time() && !matches!(state, State::Migrating)
}

/// When what runs has to be over, in its own counted time.
fn until(world: &World) -> u64 {
    let asked = world.objects.head.as_ref().and_then(|head| head.current.as_ref());
    let bound = asked.map_or(0, |current| current.request.policy.bound.0);
    world.current().map_or(bound, |record| record.until().0)
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

/// What keeps a fleet from being whole.
struct Apart {
    /// Which instance, if it is one.
    who: Option<InstanceId>,
    /// How, as a sentence.
    how: String,
}

async fn comes_together(sim: &Sim) -> Result<(), Apart> {
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
fn apart(world: &World) -> Option<Apart> {
    let all = |how: String| Some(Apart { who: None, how });
    let Some(head) = &world.objects.head else { return all("there is no head".to_owned()) };
    let Some(wanted) = head.newcomers.as_ref().map(number) else {
        return all("head names no release for newcomers".to_owned());
    };
    let living = world.fleet.members.values().filter(|member| !member.terminating).count();
    if living != world.fleet.desired as usize {
        return all(format!("{living} instances, {} wanted", world.fleet.desired));
    }
    if let Some(id) = world.fleet.protected.first() {
        return all(format!("{id} is still protected from scale-in"));
    }
    world.fleet.members.iter().find_map(|(id, member)| {
        let how = is_apart(world, &world.hosts[id], member.balanced, wanted)?;
        Some(Apart { who: Some(id.clone()), how: format!("{id} {how}") })
    })
}

fn is_apart(world: &World, host: &Host, balanced: bool, wanted: u16) -> Option<String> {
    let with = world.answers_with(host);
    let passing = host.gate.passing();
    if !balanced {
        Some(format!("is not in the balancer (gate {passing:?}, app {with:?})"))
    } else if !world.answers(host) || passing != Passing::Open {
        Some(format!("does not answer (gate {passing:?}, app {with:?})"))
    } else if with != Some(wanted) {
        Some(format!("serves {with:?}, newcomers take {wanted}"))
    } else if host.apps.len() > 1 {
        Some(format!("runs {} apps", host.apps.len()))
    } else {
        None
    }
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
