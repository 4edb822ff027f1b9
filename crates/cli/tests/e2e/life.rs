//! A fleet that lives through one deployment after the other, each of which the test stops in a step.
//!
//! The app waits in each step for the test's word, so what happens in a step happens in it, and the step cannot end.

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

/// A step that an instance is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Staging,
    Draining,
    Stopping,
    Migrating,
    Starting,
}
pub(crate) use Step::{Draining, Migrating, Staging, Starting, Stopping};

/// What the fleet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Rolling,
    AllAtOnce,
}
pub(crate) use Way::{AllAtOnce, Rolling};

impl Way {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Rolling => "rolling",
            AllAtOnce => "all-at-once",
        }
    }
}

impl Step {
    pub(crate) const ALL: [Self; 5] = [Staging, Draining, Stopping, Migrating, Starting];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Staging => "staging",
            Draining => "draining",
            Stopping => "stopping",
            Migrating => "migrating",
            Starting => "starting",
        }
    }

    /// What the record says meanwhile.
    pub(crate) const fn state(self, way: Way) -> State {
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
pub(crate) struct Life {
    pub(crate) fleet: Fleet,
    pub(crate) users: Users,
    pub(crate) way: Way,
    pub(crate) instances: u32,
    /// The last that was deployed.
    pub(crate) version: u32,
    /// What the fleet is to serve.
    pub(crate) serving: u32,
    /// So many requests were inside what was killed, at most.
    pub(crate) inside: u64,
}

impl Life {
    pub(crate) fn begin(gate: &'static str, way: Way, instances: u32) -> Self {
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
    pub(crate) fn scale(&self) {
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
    pub(crate) fn has_started(&self, version: u32, id: &InstanceId) -> bool {
        let started = fs::read_to_string(self.fleet.path().join("started")).unwrap();
        started.lines().any(|line| line == format!("{version} on {id}"))
    }

    /// "2 on i1", of every app that was started there more than once.
    pub(crate) fn started_twice(&self) -> Vec<String> {
        let text = fs::read_to_string(self.fleet.path().join("started")).unwrap();
        let mut starts: Vec<&str> = text.lines().collect();
        starts.sort_unstable();
        starts.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0].to_owned()).collect()
    }

    /// The next deployment, in a step of which something happens; the step goes on after it. Also says how the last
    /// request of the old app was answered, if the step is about that.
    pub(crate) fn meanwhile(
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
    pub(crate) fn all_serve(&self) {
        self.fleet.all_serve(self.instances as usize, &self.serving.to_string());
    }

    /// How often each migration ran.
    pub(crate) fn ran(&self) -> Vec<String> {
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
