//! A fleet that lives through one deployment after the other, each of which the test stops in a step.
//!
//! The app waits in each step for the test's word, so what happens in a step happens in it, and the step cannot end.

use crate::faulty::Proxy;
use crate::harness::{Ended, Fleet, Program, Running, Setup, Shop, Step, Users, freeze, signal, until};
use crate::stores::shop_in_s3;
use everup_cli::demo::database;
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use everup_core::instance::Phase;
use everup_core::record::{Entry, Progress, Record};
use everup_core::status::Line;
use everup_host::minder;
use everup_host::proc::Identity;
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;

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

/// So many are published.
const RELEASES: u32 = 9;
/// While this file is there, migrations fail.
const BREAKS: &str = "breaks";
/// While this file is there, nobody can know how migrations ended.
const DIES: &str = "dies";

/// Whom a step is about.
#[derive(Debug, Clone)]
pub(crate) struct Victim {
    pub(crate) instance: InstanceId,
    /// The process of its app that is in the step, if one is.
    pub(crate) app: Option<u32>,
    /// Whose requests are inside that one.
    pub(crate) serves: Serves,
}

/// Whose requests are inside an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    Nobody,
    /// Those that came before its gate was shut, or held.
    TheLast,
    Users,
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
    /// Whether new apps are started beside the old ones.
    pub(crate) overlaps: bool,
    /// So many requests were inside what was killed last, at most.
    pub(crate) inside: u64,
    /// So many have failed up to then, each of which was inside something that was killed.
    pub(crate) failed: u64,
    /// Of them, those of the death that was judged last.
    pub(crate) failed_last: u64,
}

impl Life {
    pub(crate) fn begin(gate: &'static str, way: Way, instances: u32) -> Self {
        let setup = Setup { instances, gate, deploy: "drain = \"20s\"", ..Setup::default() };
        Self::of(&setup, way)
    }

    /// Each new app serves for so long that something can happen before it is proven.
    pub(crate) fn with_proof(way: Way, overlaps: bool) -> Self {
        let deploy = if overlaps { "prove = \"4s\"\noverlap = true" } else { "prove = \"4s\"" };
        Self::of(&Setup { instances: 2, deploy, ..Setup::default() }, way)
    }

    /// Its store is S3, behind a proxy that can keep writes back; nothing if there is no server and none is required.
    pub(crate) fn in_s3(way: Way) -> Option<(Self, Proxy)> {
        let setup = Setup { instances: 3, ..Setup::default() };
        let (shop, store) = shop_in_s3(&setup)?;
        Some((Self::in_shop(shop, &setup, way), store))
    }

    /// The new apps are started beside the old ones. Nobody waits for the end of an old app there; but for the proof, so
    /// that the deployment is not over before the test has done its part.
    pub(crate) fn with_overlap(gate: &'static str, instances: u32) -> Self {
        let deploy = "drain = \"20s\"\noverlap = true\nprove = \"3s\"";
        Self::of(&Setup { instances, gate, deploy, ..Setup::default() }, Rolling)
    }

    fn of(setup: &Setup, way: Way) -> Self {
        Self::in_shop(Shop::new(setup), setup, way)
    }

    fn in_shop(shop: Shop, setup: &Setup, way: Way) -> Self {
        shop.unblock_all();
        shop.write("database", "schema 1\n");
        for version in 1..=RELEASES {
            shop.publish(&version.to_string(), &release(way, version));
        }
        let fleet = shop.up();
        fleet.deploy(&["1"]).succeeded_somehow();
        let users = Users::who_write(fleet.address);
        let overlaps = setup.deploy.contains("overlap = true");
        Self {
            fleet,
            users,
            way,
            instances: setup.instances,
            version: 1,
            serving: 1,
            overlaps,
            inside: 0,
            failed: 0,
            failed_last: 0,
        }
    }

    /// The users go. None of their requests failed but those that were inside what was killed; what they were told is
    /// counted is counted, and nothing twice.
    #[track_caller]
    pub(crate) fn ends(self) {
        let tally = self.users.served_but(self.failed);
        let counted = database::counted(&self.fleet.path().join("database")).unwrap();
        assert!(!counted.is_empty());
        assert_eq!(tally.compare(&counted), Vec::<String>::new());
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
        happens: impl FnOnce(&mut Self, &Victim),
    ) -> (Ended, Option<String>) {
        self.fleet.block(step);
        let last = (step == Draining).then(|| self.ask_last());
        let stopped = (step == Staging).then(|| self.stop_an_agent());
        self.version += 1;
        let running = self.deploy();
        running.reached(step.state(self.way));
        let victim = stopped.as_ref().map_or_else(|| self.in_step(step), |(victim, _)| victim.clone());
        assert_eq!(running.record().unwrap().state, step.state(self.way), "{step:?}");
        let id = running.orphan();
        self.serving = self.version;
        happens(self, &victim);
        if let Some((_, agent)) = stopped.filter(|(_, agent)| agent.lives()) {
            signal(agent.pid, Signal::CONT);
        }
        self.fleet.unblock(step);
        (self.fleet.ended(&id), last.map(|last| last.join().unwrap()))
    }

    /// The next deployment fails, and something happens while the old release is being started again.
    pub(crate) fn on_the_way_back(&mut self, happens: impl FnOnce(&mut Self, &Victim)) -> Ended {
        self.fleet.block(Starting);
        self.fleet.write(BREAKS, "");
        self.version += 1;
        let running = self.deploy();
        if self.way == Rolling {
            let new = self.at(Starting);
            self.fleet.forget(Starting);
            signal(new.app.unwrap(), Signal::KILL);
        }
        running.reached(State::RollingBack);
        let victim = self.at(Starting);
        assert_eq!(running.record().unwrap().state, State::RollingBack);
        let id = running.orphan();
        happens(self, &victim);
        self.fleet.unblock(Starting);
        fs::remove_file(self.fleet.path().join(BREAKS)).unwrap();
        self.fleet.ended(&id)
    }

    /// Nobody knows how the migration of the next deployment ended, and something happens while a person is asked, who
    /// says that it was applied.
    pub(crate) fn asked(&mut self, happens: impl FnOnce(&mut Self, &Victim)) -> Ended {
        self.fleet.write(DIES, "");
        self.version += 1;
        let running = self.deploy();
        running.reached(State::NeedsOperator);
        let id = running.orphan();
        self.serving = self.version;
        let instance = self.fleet.seats().into_keys().next().unwrap();
        happens(self, &Victim { instance, app: None, serves: Serves::Nobody });
        fs::remove_file(self.fleet.path().join(DIES)).unwrap();
        self.goes_on(&id, State::NeedsOperator, &["resume", "--migration=applied"])
    }

    /// Whoever leads now has left it as it was, and goes on with it at an operator's word.
    fn goes_on(&self, id: &str, state: State, words: &[&str]) -> Ended {
        until("somebody to lead", || self.fleet.status().coordinator);
        let record = self.fleet.record(id).unwrap();
        assert_eq!(record.state, state, "{}", record.because);
        self.fleet.everup(words).done();
        self.fleet.ended(id)
    }

    /// The next deployment is paused while its first instance moves, and something happens when that is done; then the
    /// deployment is resumed.
    pub(crate) fn paused(&mut self, happens: impl FnOnce(&mut Self, &Victim)) -> Ended {
        self.fleet.block(Starting);
        self.version += 1;
        let running = self.deploy();
        let victim = self.at(Starting);
        self.fleet.everup(&["pause"]).done();
        running.reached(State::Paused);
        self.fleet.unblock(Starting);
        // What is proven may die without being the release's fault.
        running.until("the first to be proven", |record| record.proven || record.state.is_final());
        let id = running.orphan();
        self.serving = self.version;
        happens(self, &Victim { serves: Serves::Users, ..victim });
        self.goes_on(&id, State::Paused, &["resume"])
    }

    /// Something happens while the first of those that serve the next release has to prove it.
    pub(crate) fn proving(&mut self, happens: impl FnOnce(&mut Self, &Victim)) -> Ended {
        self.version += 1;
        let running = self.deploy();
        let proves = |entry: &Entry| entry.progress == Progress::Done && !entry.steady;
        let first = |record: &Record| {
            record.instances.iter().find(|(_, entry)| proves(entry)).map(|(id, _)| id.clone())
        };
        let record = running
            .until("somebody to prove itself", |record| first(record).is_some() || record.state.is_final());
        let instance = first(&record).unwrap();
        let app = self.app_of_this_version(&instance);
        let id = running.orphan();
        self.serving = self.version;
        happens(self, &Victim { instance, app: Some(app), serves: Serves::Users });
        self.fleet.ended(&id)
    }

    /// Something happens while the store does not carry out the write that gives the record of the next deployment
    /// `words`.
    pub(crate) fn unwritten(
        &mut self,
        store: &Proxy,
        words: &str,
        happens: impl FnOnce(&mut Self, &Victim),
    ) -> Ended {
        store.keep_back(words);
        self.version += 1;
        let running = self.deploy();
        until("a write to be kept back", || (store.waiting() > 0).then_some(()));
        let has_them = running.record().map(|record| serde_json::to_string_pretty(&record).unwrap());
        assert!(has_them.is_none_or(|text| !text.contains(words)));
        let id = running.orphan();
        self.serving = self.version;
        let (instance, app) = self.fleet.apps().into_iter().next_back().unwrap();
        happens(self, &Victim { instance, app: Some(app), serves: Serves::Users });
        store.let_go();
        self.fleet.ended(&id)
    }

    fn app_of_this_version(&self, id: &InstanceId) -> u32 {
        let version = self.version.to_string();
        let is_it = |state: &minder::State| {
            state.place.as_ref().is_some_and(|place| place.release.version.as_str() == version)
        };
        until("its app", || Some(self.fleet.minders(id).into_iter().find(is_it)?.child?.pid))
    }

    /// Begins to deploy the version.
    fn deploy(&self) -> Running<'_> {
        let words = [&self.version.to_string(), "--strategy", self.way.word()];
        self.fleet.begin(&words)
    }

    /// The release is not ready everywhere while an agent sleeps.
    fn stop_an_agent(&self) -> (Victim, Identity) {
        let (instance, app) = self.fleet.apps().into_iter().next_back().unwrap();
        let agent = Identity::of(self.fleet.agent(&instance)).unwrap();
        freeze(agent.pid);
        (Victim { instance, app: Some(app), serves: Serves::Users }, agent)
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
        self.fleet.comes_to(Draining);
        asked
    }

    /// Waits until an instance is in `step`, and says which.
    fn in_step(&self, step: Step) -> Victim {
        let victim = self.at(step);
        if step == Draining && self.way == Rolling {
            self.leaves(&victim.instance);
        }
        victim
    }

    /// Waits until the app of somebody is in `step`.
    fn at(&self, step: Step) -> Victim {
        let (instance, app) = self.fleet.comes_to(step);
        let serves = if step == Draining { Serves::TheLast } else { Serves::Nobody };
        Victim { instance, app: Some(app), serves }
    }

    /// Waits until it is the turn of the instance that has the last request; with overlap its new app serves by then.
    fn leaves(&self, id: &InstanceId) {
        let moved = |line: &Line| {
            let release = line.release.as_ref().map(|release| release.version.as_str().to_owned());
            line.phase == Some(Phase::Leaving) || release == Some(self.version.to_string())
        };
        until("the instance with the last request to leave", || {
            let status = self.fleet.status();
            status.instances.iter().any(|line| line.id == *id && moved(line)).then_some(())
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
    let wait = "echo $EVERUP_INSTANCE $$ >> \"$SHOP/at-migrating\"; until [ -e \"$SHOP/go-migrating\" ]; do sleep 0.02; done";
    let ends = format!("if [ -e \"$SHOP/{DIES}\" ]; then kill -9 $$; fi; ! [ -e \"$SHOP/{BREAKS}\" ]");
    program.migrating(&format!("m{version}"), &format!("echo {version} >> \"$SHOP/ran\"; {wait}; {ends}"))
}
