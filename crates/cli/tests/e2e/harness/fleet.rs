//! A fleet that runs: `everup up`, and what can be done to it.

use super::{Ended, Running, Said, Shop, Users, processes, until};
use everup_core::head::Head;
use everup_core::ids::InstanceId;
use everup_core::instance::Slot;
use everup_core::status::Status;
use everup_host::local::client::Keeper;
use everup_host::local::ledger::Seat;
use everup_host::minder::State;
use everup_web::client::{Client, Http};
use everup_web::clock::system;
use everup_web::keyring::Keyring;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

/// A fleet that runs; it ends with the test.
#[derive(Debug)]
pub(crate) struct Fleet {
    shop: Shop,
    pub(crate) keeper: Child,
}

impl Deref for Fleet {
    type Target = Shop;
    fn deref(&self) -> &Shop {
        &self.shop
    }
}

impl Fleet {
    #[track_caller]
    pub(super) fn start(shop: Shop) -> Self {
        let keeper = keep(&shop);
        let mut fleet = Self { shop, keeper };
        fleet.ready();
        fleet
    }

    /// The fleet of a keeper that a test has started itself.
    pub(crate) fn kept_by(shop: Shop, keeper: Child) -> Self {
        Self { shop, keeper }
    }

    /// Waits until the keeper says where the service is.
    #[track_caller]
    fn ready(&mut self) {
        let log = self.path().join("keeper.err");
        until("the keeper to be ready", || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let ended = self.keeper.try_wait().unwrap();
            assert!(ended.is_none(), "the keeper ended: {said}");
            said.contains("the service").then_some(())
        });
    }

    /// Mounts the store anew where the fleet sees it: "ro" or "rw".
    #[track_caller]
    pub(crate) fn remount(&self, how: &str) {
        let keeper = self.keeper.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &keeper, "mount", "-o", &format!("remount,bind,{how}")]);
        assert!(command.arg(self.store()).status().unwrap().success());
    }

    /// Runs the binary to its end where it sees the store as the fleet does.
    pub(crate) fn everup_there(&self, words: &[&str]) -> Said {
        let keeper = self.keeper.id().to_string();
        let folder = format!("--wd={}", self.path().display());
        Shop::run(self.within(&["nsenter", "--mount", "--target", &keeper, &folder], words))
    }

    /// Deploys, and waits for the end.
    #[track_caller]
    pub(crate) fn deploy(&self, words: &[&str]) -> Ended {
        self.begin(words).ended()
    }

    /// Goes back, to the end.
    #[track_caller]
    pub(crate) fn roll_back(&self, words: &[&str]) -> Ended {
        Running::begin(&self.shop, "rollback", words).ended()
    }

    /// Begins a deployment.
    #[track_caller]
    pub(crate) fn begin(&self, words: &[&str]) -> Running<'_> {
        Running::begin(&self.shop, "deploy", words)
    }

    /// Waits for the end of a deployment whose command was killed.
    #[track_caller]
    pub(crate) fn ended(&self, id: &str) -> Ended {
        Ended::of(&self.shop, id)
    }

    /// Users who GET `/`.
    #[track_caller]
    pub(crate) fn users(&self) -> Users {
        Users::come(self.address)
    }

    /// Its status, as a command prints it.
    #[track_caller]
    pub(crate) fn status(&self) -> Status {
        serde_json::from_str(&self.everup(&["status", "--json"]).done().out).unwrap()
    }

    /// Waits until the deployment that runs says that it waits for `what`.
    #[track_caller]
    pub(crate) fn waits(&self, what: impl Fn(&str) -> bool) {
        until("the deployment to wait for it", || {
            let record = self.status().record?;
            assert!(!record.state.is_final(), "{}: {}", record.state, record.because);
            record.waiting.iter().any(|line| what(line)).then_some(())
        });
    }

    /// What head says.
    pub(crate) fn head(&self) -> Option<Head> {
        serde_json::from_slice(&self.object("local/head.json")?).ok()
    }

    /// Who coordinates.
    #[track_caller]
    pub(crate) fn coordinator(&self) -> InstanceId {
        until("a coordinator", || Some(self.head()?.lease?.holder))
    }

    /// The instances that there are.
    #[track_caller]
    pub(crate) fn seats(&self) -> BTreeMap<InstanceId, Seat> {
        until("the keeper's notes", || processes::ledger(&self.state())).seats
    }

    /// What minds an instance's app.
    pub(crate) fn minder(&self, id: &InstanceId) -> Option<State> {
        self.minders(id).into_iter().next()
    }

    /// The app's process of every instance.
    pub(crate) fn apps(&self) -> BTreeMap<InstanceId, u32> {
        let app = |id: &InstanceId| Some((id.clone(), self.minder(id)?.child?.pid));
        self.seats().keys().filter_map(app).collect()
    }

    /// Waits until every one of `n` instances serves `version`, as the status says.
    #[track_caller]
    pub(crate) fn all_serve(&self, n: usize, version: &str) {
        let serves = |line: &everup_core::status::Line| {
            line.in_service
                && line.release.as_ref().is_some_and(|release| release.version.as_str() == version)
        };
        until(&format!("{n} instances to serve {version}"), || {
            let said = self.everup(&["status", "--json"]);
            let status: Status = serde_json::from_str(&said.out).ok()?;
            (status.instances.len() == n && status.instances.iter().all(serves)).then_some(())
        });
    }

    /// kill -9 of an instance's agent.
    #[track_caller]
    pub(crate) fn kill_agent(&self, id: &InstanceId) {
        processes::signal(self.agent(id), Signal::KILL);
    }

    /// The process of an instance's agent.
    #[track_caller]
    pub(crate) fn agent(&self, id: &InstanceId) -> u32 {
        until("an agent's process", || {
            Some(self.seats().get(id)?.agent.clone().filter(everup_host::proc::Identity::lives)?.pid)
        })
    }

    /// The port of an instance's app in a slot.
    #[track_caller]
    pub(crate) fn port(&self, id: &InstanceId, slot: Slot) -> u16 {
        let block = self.seats()[id].block();
        match slot {
            Slot::A => block.app_a().port(),
            Slot::B => block.app_b().port(),
        }
    }

    /// The balancer's process.
    #[track_caller]
    pub(crate) fn balancer(&self) -> u32 {
        processes::ledger(&self.state()).unwrap().balancer.unwrap().pid
    }

    /// kill -9 of the balancer.
    #[track_caller]
    pub(crate) fn kill_balancer(&self) {
        processes::signal(self.balancer(), Signal::KILL);
    }

    /// kill -9 of the proxy before an instance's app.
    #[track_caller]
    pub(crate) fn kill_proxy(&self, id: &InstanceId) {
        processes::signal(self.seats()[id].proxy.as_ref().unwrap().pid, Signal::KILL);
    }

    /// All that mind an app of the instance; two where the new app is started beside the old one.
    pub(crate) fn minders(&self, id: &InstanceId) -> Vec<State> {
        let all = processes::minders(&self.state().join("instances").join(id.as_str()));
        all.into_iter().filter(|state| state.place.is_some()).collect()
    }

    /// How often an app of `version` was started on the instance, as `patient.py` wrote it down.
    pub(crate) fn starts(&self, version: &str, id: &InstanceId) -> usize {
        let text = fs::read_to_string(self.path().join("started")).unwrap_or_default();
        text.lines().filter(|line| *line == format!("{version} on {id}")).count()
    }

    /// kill -9 of the minder of the migration that an instance runs.
    #[track_caller]
    pub(crate) fn kill_migrations_minder(&self, id: &InstanceId) {
        let runs = self.state().join("instances").join(id.as_str()).join("runs");
        let minder = || {
            let inside = |folder: &Path| fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            let all = inside(&runs).flat_map(|deployment| inside(&deployment.path()).collect::<Vec<_>>());
            let mut states = all.filter_map(|run| State::read(&run.path().join("run.json")));
            states.find(|state| state.ended.is_none())
        };
        processes::signal(until("a migration's minder", minder).minder.pid, Signal::KILL);
    }

    /// kill -9 of an instance's app.
    #[track_caller]
    pub(crate) fn kill_app(&self, id: &InstanceId) {
        processes::signal(until("an app", || self.minder(id)?.child).pid, Signal::KILL);
    }

    /// kill -9 of the keeper, and another one started in its place.
    #[track_caller]
    pub(crate) fn replace_keeper(&mut self) {
        self.keeper.kill().unwrap();
        self.keeper.wait().unwrap();
        self.keeper = keep(&self.shop);
        self.ready();
    }

    /// The same in the middle of a deployment: the new one is there as soon as it can be asked; what it starts with is
    /// complete only later.
    #[track_caller]
    pub(crate) fn replace_keeper_now(&mut self) {
        self.keeper.kill().unwrap();
        self.keeper.wait().unwrap();
        self.keeper = keep(&self.shop);
        let socket = self.state().join("run/keeper.sock");
        until("the keeper to be there", || UnixStream::connect(&socket).ok());
    }

    /// Starts it again after `down`.
    #[track_caller]
    pub(crate) fn again(&mut self) {
        self.keeper = keep(&self.shop);
        self.ready();
    }

    /// Its keeper has not ended, whatever happened.
    #[track_caller]
    pub(crate) fn is_kept(&mut self) {
        let ended = self.keeper.try_wait().unwrap();
        assert!(ended.is_none(), "the keeper ended: {ended:?}");
    }

    /// So many instances are wanted, as the keeper says.
    pub(crate) fn desired(&self) -> Option<u32> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let info = runtime.block_on(Keeper::at(&self.state().join("run")).info());
        Some(info.ok()?.fleet.members.desired)
    }

    /// A client for an instance's agent, with the fleet's keys.
    #[track_caller]
    pub(crate) fn client(&self, id: &InstanceId) -> Client {
        let keyring = Keyring::open(&self.state().join("keys.json")).unwrap();
        let address = self.seats()[id].block().api().to_string();
        Http::new(Arc::new(keyring), system()).client(address, id.as_str())
    }

    /// One GET over a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> String {
        get(self.address, path).unwrap()
    }

    /// `everup down`, to its end.
    #[track_caller]
    pub(crate) fn down(&mut self) -> Said {
        let said = self.everup(&["down"]).done();
        until("the keeper's end", || self.keeper.try_wait().unwrap());
        said
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        processes::sweep(self.shop.path());
    }
}

impl Fleet {
    /// Every log of everup itself.
    pub(super) fn logs(&self) -> impl Iterator<Item = PathBuf> {
        let inside = |folder: PathBuf| {
            fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path())
        };
        let folders = inside(self.state().join("instances")).chain([self.state().join("run")]);
        let logs = folders.flat_map(inside).filter(|path| path.extension().is_some_and(|e| e == "log"));
        logs.chain([self.path().join("keeper.err")])
    }

    /// The lines of the logs that hold `words`.
    pub(crate) fn logged(&self, words: &str) -> Vec<String> {
        let lines = |path: PathBuf| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.lines().filter(|line| line.contains(words)).map(str::to_owned).collect::<Vec<_>>()
        };
        self.logs().flat_map(lines).collect()
    }

    /// The last words of everybody, for whoever reads why a test failed.
    fn tell(&self) {
        for path in self.logs() {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            eprintln!("---- {}", path.display());
            for line in &lines[lines.len().saturating_sub(15)..] {
                eprintln!("{line}");
            }
        }
    }
}

fn keep(shop: &Shop) -> Child {
    let log = File::create(shop.path().join("keeper.err")).unwrap();
    shop.keeper().stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// The whole answer, head and body.
pub(crate) fn get(address: std::net::SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(40)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
