//! What happens in each step of a deployment, of both kinds and with overlap: everybody is killed in turn (kill -9), and instances come
//! and go, while the step is under way and cannot end.

use crate::harness::{Ended, Setup, Step, until};
use crate::life::{AllAtOnce, Draining, Life, Migrating, Rolling, Staging, Starting, Stopping, Way};
use crate::who::Who;
use everup_core::deployment::State;
use everup_core::instance::Phase;

impl Life {
    /// The next deployment, in a step of which somebody dies.
    fn dies(&mut self, who: Who, step: Step) -> Ended {
        let (ended, last) = self.meanwhile(step, |life, victim| life.kill(who, victim));
        assert!(
            self.inside > 0 || last.is_none_or(|answer| answer.starts_with("HTTP/1.1 200")),
            "the last request of the old app was not answered"
        );
        ended
    }
}

impl Life {
    /// Has the fleet become as large as it is to be; done when whoever comes knows what to do, and whoever goes is told so.
    fn scale(&self) {
        let before = self.fleet.seats();
        self.fleet.everup(&["scale", &self.instances.to_string()]).done();
        if before.len() > self.instances as usize {
            return until("somebody to go", || {
                let now = self.fleet.seats();
                let goes = |id| now.get(id).is_none_or(|seat| seat.terminating);
                before.keys().any(goes).then_some(())
            });
        }
        until("the newcomer to know what to do", || {
            let status = self.fleet.status();
            let newcomer = status.instances.into_iter().find(|line| !before.contains_key(&line.id))?;
            newcomer.phase.filter(|phase| *phase != Phase::Announced)
        });
    }
}

/// How a deployment has to end in a step of which somebody died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Succeeds,
    /// The new app did not come up.
    GoesBack,
    /// What died was needed no more, or was.
    Either,
    /// There was no way back any more, and the one whose app did not come up is named.
    IsMixed,
}

fn outcome(who: Who, way: Way, step: Step) -> Outcome {
    let is_app = matches!(who, Who::Minder | Who::App);
    match (way, step) {
        // With overlap the new app serves by then: it is proven or not, and the old one is still there or not.
        (Rolling, Draining | Stopping) if who == Who::Other => Outcome::Either,
        // A hold fell together before anything was stopped; or all was idle by then, and what died was to be stopped.
        // So it is where an agent sleeps for as long as its hold lasts.
        (AllAtOnce, Draining) if who.has_requests() || who == Who::Sleeper => Outcome::Either,
        (AllAtOnce, Starting) if is_app => Outcome::IsMixed,
        (Rolling, Starting) if is_app => Outcome::GoesBack,
        _ => Outcome::Succeeds,
    }
}

/// The same to the only instance that there is: who waits has nobody else to go to.
fn dies_alone(who: Who, way: Way, steps: &[Step]) {
    lives_on(Life::begin(who.gate(), way, 1), who, steps);
}

/// Somebody dies in each of `steps`, each time in the next deployment. Nobody but those who were inside notices, and
/// each migration that was begun ran once.
fn dies_in_each(who: Who, way: Way, steps: &[Step]) {
    lives_on(Life::begin(who.gate(), way, 3), who, steps);
}

/// The same in a roll that starts the new apps beside the old ones.
fn dies_beside(who: Who) {
    lives_on(Life::with_overlap(who.gate(), 2), who, &[Starting, Draining, Stopping]);
}

fn lives_on(mut life: Life, who: Who, steps: &[Step]) {
    let way = life.way;
    let (mut migrated, mut went_back_to) = (Vec::new(), Vec::new());
    for step in steps {
        let before = life.serving;
        let ended = life.dies(who, *step);
        let record = ended.record.clone();
        match outcome(who, way, *step) {
            Outcome::Succeeds => drop(ended.succeeded_somehow()),
            Outcome::Either if ended.record.state == State::Succeeded => drop(ended.succeeded_somehow()),
            Outcome::GoesBack | Outcome::Either => {
                ended.rolled_back();
                life.serving = before;
                went_back_to.push(format!("{before} on "));
            }
            Outcome::IsMixed => assert_eq!((ended.record.state, ended.code), (State::Failed, 4)),
        }
        if life.serving != before && way == AllAtOnce {
            migrated.push(life.version.to_string());
        }
        life.all_serve();
        life.judge(who, &record);
    }
    assert_eq!(life.ran(), migrated);
    if who == Who::Sleeper {
        // Whatever it still wanted when it woke: nobody started anything twice, but for what they went back to.
        let mut twice = life.started_twice();
        twice.retain(|start| !went_back_to.iter().any(|back| start.starts_with(back)));
        assert_eq!(twice, Vec::<String>::new());
    }
    life.ends();
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
            let has_started = |id: &_| life.fleet.starts(&old.to_string(), id) > 0;
            assert_eq!(newcomers.find(has_started), None, "{step:?}");
        }
    }
    life.ends();
}

/// The steps of a rolling deployment.
const ROLLING: [Step; 4] = [Staging, Draining, Stopping, Starting];
/// Those in which the only instance's agent can be asked for a deployment.
const ALONE: [Step; 3] = [Draining, Stopping, Starting];
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
fn the_only_app_dies_in_each_step_of_all_at_once() {
    dies_alone(Who::App, AllAtOnce, &ALONE);
}

#[test]
fn the_only_app_dies_in_each_step_of_a_roll() {
    dies_alone(Who::App, Rolling, &ALONE);
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
fn the_keeper_dies_in_each_step_beside() {
    dies_beside(Who::Keeper);
}

#[test]
fn the_coordinator_dies_in_each_step_beside() {
    dies_beside(Who::Coordinator);
}

#[test]
fn the_coordinator_sleeps_in_each_step_beside() {
    dies_beside(Who::Sleeper);
}

#[test]
fn an_agent_dies_in_each_step_beside() {
    dies_beside(Who::Agent);
}

#[test]
fn the_balancer_dies_in_each_step_beside() {
    dies_beside(Who::Balancer);
}

#[test]
fn an_app_dies_in_each_step_beside() {
    dies_beside(Who::App);
}

#[test]
fn the_app_beside_dies_in_each_step() {
    dies_beside(Who::Other);
}

#[test]
fn a_minder_dies_in_each_step_beside() {
    dies_beside(Who::Minder);
}

#[test]
fn a_proxy_dies_in_each_step_beside() {
    dies_beside(Who::Proxy);
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
