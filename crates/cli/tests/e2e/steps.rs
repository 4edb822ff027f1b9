//! What happens in each step of a deployment, of both kinds: everybody is killed in turn (kill -9), and instances come
//! and go, while the step is under way and cannot end.
//!
//! The app waits in each step for the test's word, so what happens in a step happens in it. One fleet lives
//! through all steps, in one deployment after the other.

use crate::harness::{Ended, Fleet, Program, Setup, Shop, Users, freeze, signal, until};
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use everup_core::instance::Phase;
use everup_host::proc::Identity;
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Keeper,
    Balancer,
    Coordinator,
    /// The agent of the instance that is in the step.
    Agent,
    /// The minder of its app.
    Minder,
    /// Its app.
    App,
    /// The proxy before its app.
    Proxy,
}

/// A step that an instance is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Staging,
    Draining,
    Stopping,
    Migrating,
    Starting,
}
use Step::{Draining, Migrating, Staging, Starting, Stopping};

/// What the fleet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Rolling,
    AllAtOnce,
}
use Way::{AllAtOnce, Rolling};

impl Way {
    const fn word(self) -> &'static str {
        match self {
            Rolling => "rolling",
            AllAtOnce => "all-at-once",
        }
    }
}

impl Who {
    /// Whether users' requests are inside.
    const fn has_requests(self) -> bool {
        matches!(self, Self::Balancer | Self::Minder | Self::App | Self::Proxy)
    }

    const fn gate(self) -> &'static str {
        if matches!(self, Self::Proxy) { "proxy" } else { "slot" }
    }
}

/// Between the look at the users and the kill some more requests may have come.
const LATE: u64 = 5;

impl Step {
    const ALL: [Self; 5] = [Staging, Draining, Stopping, Migrating, Starting];

    const fn name(self) -> &'static str {
        match self {
            Staging => "staging",
            Draining => "draining",
            Stopping => "stopping",
            Migrating => "migrating",
            Starting => "starting",
        }
    }

    /// What the record says meanwhile.
    const fn state(self, way: Way) -> State {
        match (self, way) {
            (Staging, _) => State::Staging,
            (_, Rolling) => State::Rolling,
            (Draining, AllAtOnce) => State::Holding,
            (Stopping, AllAtOnce) => State::Sealing,
            (Migrating, AllAtOnce) => State::Migrating,
            (Starting, AllAtOnce) => State::Starting,
        }
    }
}

/// A fleet that lives on, and its users.
struct Life {
    fleet: Fleet,
    users: Users,
    way: Way,
    instances: u32,
    /// The last that was deployed.
    version: u32,
    /// What the fleet is to serve.
    serving: u32,
    /// So many requests were inside what was killed, at most.
    inside: u64,
}

impl Life {
    fn begin(gate: &'static str, way: Way, instances: u32) -> Self {
        let setup = Setup { instances, gate, deploy: "drain = \"20s\"", ..Setup::default() };
        let shop = Shop::new(&setup);
        for step in Step::ALL {
            shop.write(&format!("go-{}", step.name()), "");
        }
        for version in 1..=6_u32 {
            shop.publish(&version.to_string(), &release(way, version));
        }
        let fleet = shop.up();
        fleet.deploy(&["1"]).succeeded_somehow();
        let users = fleet.users();
        Self { fleet, users, way, instances, version: 1, serving: 1, inside: 0 }
    }

    /// Has the fleet become as large as it is to be; done when whoever comes knows what to do.
    fn scale(&self) {
        let before = self.fleet.seats();
        self.fleet.everup(&["scale", &self.instances.to_string()]).done();
        if before.len() > self.instances as usize {
            return;
        }
        until("the newcomer to know what to do", || {
            let status = self.fleet.status();
            let newcomer = status.instances.into_iter().find(|line| !before.contains_key(&line.id))?;
            newcomer.phase.filter(|phase| *phase != Phase::Announced)
        });
    }

    /// Whether an app of `version` was ever started on the instance.
    fn has_started(&self, version: u32, id: &InstanceId) -> bool {
        let started = fs::read_to_string(self.fleet.path().join("started")).unwrap();
        started.lines().any(|line| line == format!("{version} on {id}"))
    }

    /// The next deployment, in a step of which somebody dies.
    fn dies(&mut self, who: Who, step: Step) -> Ended {
        let (ended, last) = self.meanwhile(step, |life, victim| life.kill(who, victim));
        assert!(
            who.has_requests() || last.is_none_or(|answer| answer.starts_with("HTTP/1.1 200")),
            "the last request of the old app was not answered"
        );
        ended
    }

    /// The next deployment, in a step of which something happens; the step goes on after it. Also says how the last
    /// request of the old app was answered, if the step is about that.
    fn meanwhile(
        &mut self,
        step: Step,
        happens: impl FnOnce(&mut Self, &InstanceId),
    ) -> (Ended, Option<String>) {
        self.version += 1;
        self.serving = self.version;
        self.block(step);
        let last = (step == Draining).then(|| self.ask_last());
        let stopped = (step == Staging).then(|| self.stop_an_agent());
        let words = [&self.version.to_string(), "--strategy", self.way.word()];
        let running = self.fleet.begin(&words);
        running.reached(step.state(self.way));
        let victim = stopped.as_ref().map_or_else(|| self.in_step(step), |(id, _)| id.clone());
        assert_eq!(running.record().unwrap().state, step.state(self.way), "{step:?}");
        let id = running.orphan();
        happens(self, &victim);
        if let Some((_, agent)) = stopped.filter(|(_, agent)| agent.lives()) {
            signal(agent.pid, Signal::CONT);
        }
        self.unblock(step);
        (self.fleet.ended(&id), last.map(|last| last.join().unwrap()))
    }

    /// The release is not ready everywhere while an agent sleeps.
    fn stop_an_agent(&self) -> (InstanceId, Identity) {
        let id = self.fleet.seats().into_keys().next_back().unwrap();
        let agent = Identity::of(self.fleet.agent(&id)).unwrap();
        freeze(agent.pid);
        (id, agent)
    }

    fn kill(&mut self, who: Who, victim: &InstanceId) {
        if who.has_requests() {
            self.inside += self.users.waiting() + LATE;
        }
        let fleet = &mut self.fleet;
        match who {
            Who::Keeper => fleet.replace_keeper_now(),
            Who::Balancer => fleet.kill_balancer(),
            Who::Coordinator => fleet.kill_agent(&fleet.coordinator()),
            Who::Agent => fleet.kill_agent(victim),
            Who::Minder => fleet.kill_minder(victim),
            Who::App => fleet.kill_app(victim),
            Who::Proxy => fleet.kill_proxy(victim),
        }
    }

    fn block(&self, step: Step) {
        let _ = fs::remove_file(self.fleet.path().join(format!("at-{}", step.name())));
        fs::remove_file(self.go(step)).unwrap();
    }

    fn unblock(&self, step: Step) {
        fs::write(self.go(step), "").unwrap();
    }

    fn go(&self, step: Step) -> std::path::PathBuf {
        self.fleet.path().join(format!("go-{}", step.name()))
    }

    /// A request that the old app ends when it is told to.
    fn ask_last(&self) -> JoinHandle<String> {
        let address = self.fleet.address;
        let asked = std::thread::spawn(move || {
            let ask = || -> std::io::Result<String> {
                let mut stream = TcpStream::connect(address)?;
                write!(stream, "GET /last HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                Ok(answer)
            };
            ask().unwrap_or_else(|error| error.to_string())
        });
        self.at(Draining);
        asked
    }

    /// Waits until an instance is in `step`, and says which.
    fn in_step(&self, step: Step) -> InstanceId {
        let id = self.at(step);
        if step == Draining && self.way == Rolling {
            self.leaves(&id);
        }
        id
    }

    /// Waits until the app of somebody says that it is in `step`.
    fn at(&self, step: Step) -> InstanceId {
        let told = self.fleet.path().join(format!("at-{}", step.name()));
        until(step.name(), || {
            let text = fs::read_to_string(&told).ok()?;
            text.lines().next()?.parse().ok()
        })
    }

    /// Waits until it is the turn of the instance that has the last request.
    fn leaves(&self, id: &InstanceId) {
        until("the instance with the last request to leave", || {
            let status = self.fleet.status();
            status
                .instances
                .iter()
                .any(|line| line.id == *id && line.phase == Some(Phase::Leaving))
                .then_some(())
        });
    }

    /// Everybody serves what is to be served.
    fn all_serve(&self) {
        self.fleet.all_serve(self.instances as usize, &self.serving.to_string());
    }

    /// How often each migration ran.
    fn ran(&self) -> Vec<String> {
        let text = fs::read_to_string(self.fleet.path().join("ran")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn release(way: Way, version: u32) -> Program {
    let program = Program::patient();
    if way == Rolling || version == 1 {
        return program;
    }
    let wait = "echo $EVERUP_INSTANCE >> \"$SHOP/at-migrating\"; until [ -e \"$SHOP/go-migrating\" ]; do sleep 0.02; done";
    program.migrating(&format!("m{version}"), &format!("echo {version} >> \"$SHOP/ran\"; {wait}"))
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
    let inside = life.inside;
    life.users.served_but(inside);
}

/// The fleet becomes larger, or smaller, in each of `steps`: whoever comes takes the release that is right then, and
/// nobody notices.
fn scales_in_each(way: Way, from: u32, by: i32, steps: &[Step]) {
    let mut life = Life::begin("slot", way, from);
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
