//! One world from its first moment to its last.

use crate::executor::Step;
use crate::fault::Fault;
use crate::moment::Moment;
use crate::rules::Broken;
use crate::setting::Setting;
use crate::world::releases::{Conduct, pinned, version};
use crate::world::{Sim, agent, environment, fleet};
use crate::{chaos, judge, operators, users};
use everup_core::deployment::State;
use everup_core::head::{Head, head_key};
use everup_core::ids::{Term, WriteId};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A world that polls so often does not get anywhere.
const MOST_POLLS: u64 = 8_000_000;
/// No world lasts longer, in virtual milliseconds.
const LONGEST: u64 = 4 * 3_600_000;

/// What became of a world.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Events that happened in it.
    pub events: u64,
    /// Polls of its tasks.
    pub polls: u64,
    /// A hash of all events.
    pub hash: u64,
    /// How long it lasted, in virtual milliseconds.
    pub lasted: u64,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Transitions of deployments.
    pub transitions: BTreeMap<(State, State), u64>,
    /// Requests: served, failed.
    pub requests: (u64, u64),
    /// The moments that accidents are made of.
    pub(crate) moments: BTreeMap<Moment, u64>,
    /// Why an operator had to help after the faults, if one had to.
    pub helped: Vec<String>,
    /// The rule that was broken, if one was.
    pub broken: Option<Broken>,
    /// The last events, if a rule was broken.
    pub story: Vec<String>,
}

/// Runs the world of `seed`.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    run_setting(Setting::draw(seed))
}

/// The same, with its story also where nothing is broken.
#[must_use]
pub fn tell(seed: u64) -> Outcome {
    play(Setting::draw(seed), true)
}

/// Runs the world that `setting` describes.
pub(crate) fn run_setting(setting: Setting) -> Outcome {
    play(setting, false)
}

fn play(setting: Setting, tells: bool) -> Outcome {
    let sim = Sim::new(setting);
    let seed = sim.setting.seed;
    if catch_unwind(AssertUnwindSafe(|| live(&sim))).is_err() {
        return panicked(seed);
    }
    let mut outcome = outcome(&sim);
    if tells {
        outcome.story = sim.world().trace.story();
    }
    wind_up(&sim);
    outcome
}

/// Runs it to its end.
fn live(sim: &Sim) {
    begin(sim);
    while sim.world().broken.is_none() && !sim.world().over {
        match sim.executor.step() {
            Step::Polled(group) => chaos::polled(sim, group),
            Step::Advanced if sim.now() < LONGEST => {}
            Step::Advanced => give_up(sim, "it lasts too long"),
            Step::Over => give_up(sim, "nothing can happen any more"),
        }
        if sim.executor.polls() > MOST_POLLS {
            give_up(sim, "it polls without end");
        }
    }
}

/// A panic is a failure of its own; the state behind it cannot be trusted any more.
fn panicked(seed: u64) -> Outcome {
    let broken = Broken { rule: "nothing panics", how: "see the message above".to_owned() };
    Outcome {
        seed,
        events: 0,
        polls: 0,
        hash: 0,
        lasted: 0,
        faults: BTreeMap::new(),
        transitions: BTreeMap::new(),
        requests: (0, 0),
        moments: BTreeMap::new(),
        helped: Vec::new(),
        broken: Some(broken),
        story: Vec::new(),
    }
}

fn begin(sim: &Sim) {
    first_release(sim);
    for _ in 0..sim.setting.instances {
        fleet::launch(sim);
    }
    sim.spawn(fleet::engine(sim.clone()));
    sim.spawn(users::come(sim.clone()));
    sim.spawn(operators::deploy(sim.clone()));
    sim.spawn(operators::answer(sim.clone()));
    if sim.setting.none {
        sim.spawn(operators::deploy_to_nobody(sim.clone()));
    }
    if sim.setting.meddling {
        sim.spawn(operators::meddle(sim.clone()));
    }
    chaos::begin(sim);
    sim.spawn(judge::judge(sim.clone()));
}

/// The environment as it was when the world begins: release 1 everywhere, or nothing at all.
fn first_release(sim: &Sim) {
    let mut world = sim.world();
    world.releases.publish(0, Conduct::Good);
    if sim.setting.empty {
        return;
    }
    let mut head = Head::first(WriteId::new("first").expect("it is a good name"));
    head.term = Term(1);
    head.newcomers = Some(pinned(1));
    head.proven = Some(pinned(1));
    head.deployed.insert(version(1));
    let body = serde_json::to_vec(&head).expect("head is plain data");
    world.put(None, &head_key(&environment()), None, &body);
}

fn give_up(sim: &Sim, how: &str) {
    let mut world = sim.world();
    if world.broken.is_none() {
        world.broken = Some(Broken { rule: "7: everything ends", how: how.to_owned() });
    }
}

fn outcome(sim: &Sim) -> Outcome {
    let world = sim.world();
    let broken = world.broken.clone();
    Outcome {
        seed: sim.setting.seed,
        events: world.trace.count(),
        polls: sim.executor.polls(),
        hash: world.trace.hash(),
        lasted: sim.now(),
        faults: world.faults.iter().map(|(fault, n): (&Fault, &u64)| (format!("{fault:?}"), *n)).collect(),
        transitions: world.transitions.clone(),
        requests: (u64::from(world.requests.served), u64::from(world.requests.failed)),
        moments: world.moments.seen(),
        helped: world.helped.clone(),
        story: if broken.is_some() { world.trace.story() } else { Vec::new() },
        broken,
    }
}

/// Tasks hold the world, and the world's executor holds them: they are let go here, or no world would ever be freed.
fn wind_up(sim: &Sim) {
    let hosts: Vec<_> = sim.world().hosts.keys().cloned().collect();
    for id in hosts {
        agent::crash(sim, &id);
    }
    sim.executor.kill(crate::executor::WORLD);
}
