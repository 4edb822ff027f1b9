//! What happens in each step of a deployment, of both kinds: everybody is killed in turn (kill -9), and instances come
//! and go, while the step is under way and cannot end.

use crate::harness::{Ended, Fleet, Setup, freeze, signal, until};
use crate::life::{AllAtOnce, Draining, Life, Migrating, Rolling, Staging, Starting, Step, Stopping, Way};
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use rustix::process::Signal;

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Keeper,
    Balancer,
    Coordinator,
    /// The coordinator too, but it only sleeps until another one goes on, and wakes in the middle of the step.
    Sleeper,
    /// The agent of the instance that is in the step.
    Agent,
    /// The minder of its app.
    Minder,
    /// Its app.
    App,
    /// The proxy before its app.
    Proxy,
}

impl Who {
    /// Whether users' requests are inside.
    const fn has_requests(self) -> bool {
        matches!(self, Self::Balancer | Self::Minder | Self::App | Self::Proxy)
    }

    fn gate(self) -> &'static str {
        if matches!(self, Self::Proxy) { "proxy" } else { Setup::default().gate }
    }
}

/// Between the look at the users and the kill some more requests may have come.
const LATE: u64 = 5;

impl Life {
    /// The next deployment, in a step of which somebody dies.
    fn dies(&mut self, who: Who, step: Step) -> Ended {
        let (ended, last) = self.meanwhile(step, |life, victim| life.kill(who, victim));
        assert!(
            who.has_requests() || last.is_none_or(|answer| answer.starts_with("HTTP/1.1 200")),
            "the last request of the old app was not answered"
        );
        ended
    }

    fn kill(&mut self, who: Who, victim: &InstanceId) {
        self.inside += match who {
            // What is held is not inside the app.
            Who::App | Who::Minder if self.way == AllAtOnce => LATE,
            _ if who.has_requests() => self.users.waiting() + LATE,
            _ => 0,
        };
        let fleet = &mut self.fleet;
        match who {
            Who::Keeper => fleet.replace_keeper_now(),
            Who::Balancer => fleet.kill_balancer(),
            Who::Coordinator => fleet.kill_agent(&fleet.coordinator()),
            Who::Sleeper => sleeps(fleet),
            Who::Agent => fleet.kill_agent(victim),
            Who::Minder => fleet.kill_minder(victim),
            Who::App => fleet.kill_app(victim),
            Who::Proxy => fleet.kill_proxy(victim),
        }
    }
}

/// It is asleep until the others have noticed, which takes its lease and more, and another one has begun to decide.
fn sleeps(fleet: &Fleet) {
    let asleep = fleet.coordinator();
    let agent = fleet.agent(&asleep);
    freeze(agent);
    let head = fleet.head().unwrap();
    let id = head.current.unwrap().id;
    until("another coordinator to go on", || {
        // It may have been stopped before it told anybody that it leads; who is asked looks by itself.
        fleet.everup(&["status"]);
        (fleet.record(id.as_str())?.term > head.term).then_some(())
    });
    signal(agent, Signal::CONT);
}

/// How a deployment has to end in a step of which somebody died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Succeeds,
    /// The new app did not come up.
    GoesBack,
    /// A hold fell together before anything was stopped; or all was idle by then, and what died was to be stopped.
    Either,
    /// There was no way back any more, and the one whose app did not come up is named.
    IsMixed,
}

fn outcome(who: Who, way: Way, step: Step) -> Outcome {
    let is_app = matches!(who, Who::Minder | Who::App);
    match (way, step) {
        (AllAtOnce, Draining) if who.has_requests() => Outcome::Either,
        (AllAtOnce, Starting) if is_app => Outcome::IsMixed,
        (Rolling, Starting) if is_app => Outcome::GoesBack,
        _ => Outcome::Succeeds,
    }
}

/// Somebody dies in each of `steps`, each time in the next deployment. Nobody but those who were inside notices, and
/// each migration that was begun ran once.
fn dies_in_each(who: Who, way: Way, steps: &[Step]) {
    let mut life = Life::begin(who.gate(), way, 3);
    let mut migrated = Vec::new();
    for step in steps {
        let before = life.serving;
        let ended = life.dies(who, *step);
        match outcome(who, way, *step) {
            Outcome::Succeeds => drop(ended.succeeded_somehow()),
            Outcome::Either if ended.record.state == State::Succeeded => drop(ended.succeeded_somehow()),
            Outcome::GoesBack | Outcome::Either => {
                ended.rolled_back();
                life.serving = before;
            }
            Outcome::IsMixed => assert_eq!((ended.record.state, ended.code), (State::Failed, 4)),
        }
        if life.serving != before && way == AllAtOnce {
            migrated.push(life.version.to_string());
        }
        life.all_serve();
    }
    assert_eq!(life.ran(), migrated);
    if who == Who::Sleeper {
        // Whatever it still wanted when it woke: nobody started anything twice.
        assert_eq!(life.started_twice(), Vec::<String>::new());
    }
    let inside = life.inside;
    life.users.served_but(inside);
}

/// The fleet becomes larger, or smaller, in each of `steps`: whoever comes takes the release that is right then, and
/// nobody notices.
fn scales_in_each(way: Way, from: u32, by: i32, steps: &[Step]) {
    let mut life = Life::begin(Setup::default().gate, way, from);
    for step in steps {
        let (old, before) = (life.serving, life.fleet.seats());
        life.instances = life.instances.checked_add_signed(by).unwrap();
        let (ended, last) = life.meanwhile(*step, |life, _| life.scale());
        ended.succeeded_somehow();
        assert!(last.is_none_or(|answer| answer.starts_with("HTTP/1.1 200")));
        life.all_serve();
        if way == AllAtOnce && matches!(step, Stopping | Migrating | Starting) {
            // From the first seal on the old release starts nowhere.
            let mut newcomers = life.fleet.seats().into_keys().filter(|id| !before.contains_key(id));
            assert_eq!(newcomers.find(|id| life.has_started(old, id)), None, "{step:?}");
        }
    }
    life.users.all_served();
}

/// The steps of a rolling deployment.
const ROLLING: [Step; 4] = [Staging, Draining, Stopping, Starting];
/// The steps of the other kind in which an app runs.
const WITH_AN_APP: [Step; 4] = [Staging, Draining, Stopping, Starting];

#[test]
fn the_keeper_dies_in_each_step_of_all_at_once() {
    dies_in_each(Who::Keeper, AllAtOnce, &Step::ALL);
}

#[test]
fn the_keeper_dies_in_each_step_of_a_roll() {
    dies_in_each(Who::Keeper, Rolling, &ROLLING);
}

#[test]
fn the_coordinator_dies_in_each_step_of_all_at_once() {
    dies_in_each(Who::Coordinator, AllAtOnce, &Step::ALL);
}

#[test]
fn the_coordinator_dies_in_each_step_of_a_roll() {
    dies_in_each(Who::Coordinator, Rolling, &ROLLING);
}

/// C18.
#[test]
fn the_coordinator_sleeps_in_each_step_of_all_at_once() {
    dies_in_each(Who::Sleeper, AllAtOnce, &Step::ALL);
}

#[test]
fn the_coordinator_sleeps_in_each_step_of_a_roll() {
    dies_in_each(Who::Sleeper, Rolling, &ROLLING);
}

#[test]
fn an_agent_dies_in_each_step_of_all_at_once() {
    dies_in_each(Who::Agent, AllAtOnce, &Step::ALL);
}

#[test]
fn an_agent_dies_in_each_step_of_a_roll() {
    dies_in_each(Who::Agent, Rolling, &ROLLING);
}

#[test]
fn the_balancer_dies_in_each_step_of_all_at_once() {
    dies_in_each(Who::Balancer, AllAtOnce, &Step::ALL);
}

#[test]
fn the_balancer_dies_in_each_step_of_a_roll() {
    dies_in_each(Who::Balancer, Rolling, &ROLLING);
}

#[test]
fn an_app_dies_in_each_step_of_all_at_once() {
    dies_in_each(Who::App, AllAtOnce, &WITH_AN_APP);
}

#[test]
fn an_app_dies_in_each_step_of_a_roll() {
    dies_in_each(Who::App, Rolling, &ROLLING);
}

#[test]
fn a_minder_dies_in_each_step_of_all_at_once() {
    dies_in_each(Who::Minder, AllAtOnce, &WITH_AN_APP);
}

#[test]
fn a_minder_dies_in_each_step_of_a_roll() {
    dies_in_each(Who::Minder, Rolling, &ROLLING);
}

#[test]
fn a_proxy_dies_in_each_step_of_all_at_once() {
    dies_in_each(Who::Proxy, AllAtOnce, &Step::ALL);
}

#[test]
fn a_proxy_dies_in_each_step_of_a_roll() {
    dies_in_each(Who::Proxy, Rolling, &ROLLING);
}

#[test]
fn instances_come_in_each_step_of_all_at_once() {
    scales_in_each(AllAtOnce, 2, 1, &Step::ALL);
}

#[test]
fn instances_come_in_each_step_of_a_roll() {
    scales_in_each(Rolling, 2, 1, &ROLLING);
}

#[test]
fn instances_go_in_each_step_of_all_at_once() {
    scales_in_each(AllAtOnce, 7, -1, &Step::ALL);
}

#[test]
fn instances_go_in_each_step_of_a_roll() {
    scales_in_each(Rolling, 6, -1, &ROLLING);
}
