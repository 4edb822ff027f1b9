//! The keeper as a process of its own, with children that are only scripts: what it replaces, ends, adopts, refuses.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test; its keeper says on stdout why it refuses"
)]

use everup_core::ids::InstanceId;
use everup_host::clock::TokioClock;
use everup_host::local::client::{Keeper, KeeperError};
use everup_host::local::house::House;
use everup_host::local::keeper::Keeping;
use everup_host::local::ledger::{Seat, Who};
use everup_host::local::wire::{Fleet, Info};
use everup_host::proc::Identity;
use everup_host::settings::{GateKind, Settings};
use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Tells this program, started again, that it is the keeper of the settings in this file.
const AS_KEEPER: &str = "EVERUP_TEST_KEEPER";
/// Everything here takes milliseconds; a machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn the_count_is_kept_and_the_dead_are_replaced_under_their_names() {
    let world = World::new(2);
    let _keeper = world.keep();
    let info = world.until("two agents run", |info| agents(info) == 2);
    let before = info.process(&agent("i1")).unwrap();
    kill(before);
    world.until("i1's agent is another process", |info| {
        info.process(&agent("i1")).is_some_and(|pid| pid != before) && agents(info) == 2
    });
    assert_eq!(world.members(), ["i1 a", "i2 b"]);
}

#[test]
fn a_dead_balancer_comes_back_on_the_same_socket_and_nobody_is_refused() {
    let world = World::new(1);
    let _keeper = world.keep();
    world.until("the balancer runs", |info| info.process(&Who::Balancer).is_some());
    let before = world.service();
    kill(before);
    // No loop: the first connection after the kill waits in the queue of the socket that the keeper holds.
    assert_ne!(world.service(), before);
}

#[test]
fn scaling_adds_where_there_are_fewest_and_ends_the_newest_of_the_fullest_zone() {
    let world = World::new(1);
    let _keeper = world.keep();
    world.until("it answers", |_| true);
    world.ask(|keeper| async move { keeper.resize(4).await }).unwrap();
    world.until("four agents run", |info| agents(info) == 4);
    assert_eq!(world.members(), ["i1 a", "i2 b", "i3 a", "i4 b"]);
    world.ask(|keeper| async move { keeper.protect(&id("i4"), true).await }).unwrap();
    world.ask(|keeper| async move { keeper.resize(2).await }).unwrap();
    world.until("two are left", |info| info.fleet.members.members.len() == 2);
    assert_eq!(world.members(), ["i1 a", "i4 b"]);
    let gone = world.info().fleet.members.gone;
    assert_eq!(gone.iter().map(InstanceId::as_str).collect::<Vec<_>>(), ["i2", "i3"]);
    let refused = world.ask(|keeper| async move { keeper.resize(9).await }).unwrap_err();
    assert!(refused.to_string().contains("1 to 8 instances"), "{refused}");
}

#[test]
fn an_instance_whose_agent_dies_at_once_is_given_up_and_another_made() {
    let world = World::new(1);
    std::fs::create_dir_all(&world.settings.state).unwrap();
    std::fs::write(world.settings.state.join("broken"), "").unwrap();
    let _keeper = world.keep();
    world.until("i1 is given up", |info| info.fleet.members.gone.contains(&id("i1")));
    std::fs::remove_file(world.settings.state.join("broken")).unwrap();
    world.until("a later one lives", |info| agents(info) == 1 && !info.fleet.members.members.is_empty());
}

#[test]
fn a_killed_keepers_successor_adopts_everything_and_holds_the_sockets() {
    let mut world = World::new(2);
    world.settings.fleet.gate = GateKind::Proxy;
    let mut keeper = world.keep();
    let before = world.until("everything runs", |info| info.processes.len() == 5);
    keeper.0.kill().unwrap();
    keeper.0.wait().unwrap();
    let written: Fleet =
        serde_json::from_slice(&std::fs::read(world.settings.run().join("fleet.json")).unwrap()).unwrap();
    assert_eq!(written.members.members, before.fleet.members.members);
    let _successor = world.keep();
    let after = world.until("it answers", |info| info.pid != before.pid);
    assert_eq!(after.processes, before.processes);
    let balancer = world.service();
    kill(balancer);
    assert_ne!(world.service(), balancer);
    world.ask(|keeper| async move { keeper.resize(1).await }).unwrap();
    world.until("an adopted one ends as it is told", |info| info.fleet.members.members.len() == 1);
}

#[test]
fn a_child_that_was_not_noted_in_time_is_found_by_its_port() {
    let world = World::new(1);
    let mut keeper = world.keep();
    let before = world.until("an agent runs", |info| agents(info) == 1);
    keeper.0.kill().unwrap();
    keeper.0.wait().unwrap();
    let path = world.settings.run().join("keeper.json");
    let mut ledger: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    ledger["seats"]["i1"]["agent"] = serde_json::Value::Null;
    ledger["balancer"] = serde_json::Value::Null;
    std::fs::write(&path, ledger.to_string()).unwrap();
    let _successor = world.keep();
    let after = world.until("both are there", |info| info.pid != before.pid && info.processes.len() == 2);
    assert_eq!(after.processes, before.processes);
}

/// A full disk, say: who dies is started again all the same, and nothing is called done that is not written down.
#[test]
fn a_keeper_that_cannot_save_goes_on() {
    let world = World::new(1);
    let _keeper = world.keep();
    let before = world.until("an agent runs", |info| agents(info) == 1);
    let path = world.settings.run().join("keeper.json");
    let ledger = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir_all(path.join("in the way")).unwrap();
    kill(before.process(&Who::Agent(id("i1"))).unwrap());
    let after =
        world.until("another agent runs", |info| agents(info) == 1 && info.processes != before.processes);
    assert_eq!(after.pid, before.pid, "by the same keeper");
    let within = Duration::from_millis(300);
    let asked = world.ask(|keeper| async move { Ok(tokio::time::timeout(within, keeper.resize(2)).await) });
    assert!(asked.unwrap().is_err(), "it was not written down");
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, ledger).unwrap();
    world.until("two agents run", |info| agents(info) == 2);
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(written["desired"], 2);
}

#[test]
fn down_leaves_nothing_and_the_names_are_not_given_again() {
    let world = World::new(2);
    let mut keeper = world.keep();
    let before = world.until("two agents run", |info| agents(info) == 2);
    world.ask(|keeper| async move { keeper.down(false).await }).unwrap();
    assert!(keeper.0.wait().unwrap().success());
    assert!(before.processes.values().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
    TcpListener::bind(world.settings.listen.address).unwrap();
    let away = world.ask(|keeper| async move { keeper.info().await }).unwrap_err();
    assert!(matches!(away, KeeperError::Away(_)), "{away}");
    let _again = world.keep();
    world.until("two agents run", |info| agents(info) == 2);
    assert_eq!(world.members(), ["i3 a", "i4 b"]);
}

#[test]
fn a_migrations_runner_is_neither_scaled_in_nor_taken_down() {
    let world = World::new(1);
    let mut keeper = world.keep();
    world.until("an agent runs", |info| agents(info) == 1);
    world.ask(|keeper| async move { keeper.protect(&id("i1"), true).await }).unwrap();
    for refused in [
        world.ask(|keeper| async move { keeper.down(false).await }).unwrap_err(),
        world.ask(|keeper| async move { keeper.terminate(&id("i1"), false).await }).unwrap_err(),
    ] {
        assert!(refused.to_string().contains("i1 is protected"), "{refused}");
    }
    world.ask(|keeper| async move { keeper.down(true).await }).unwrap();
    keeper.0.wait().unwrap();
}

#[test]
fn an_ended_instance_is_replaced_by_another_in_its_zone() {
    let world = World::new(2);
    let _keeper = world.keep();
    world.until("two agents run", |info| agents(info) == 2);
    world.ask(|keeper| async move { keeper.terminate(&id("i1"), true).await }).unwrap();
    world.until("i3 is there and i1 gone", |info| {
        agents(info) == 2 && info.fleet.members.gone.contains(&id("i1"))
    });
    assert_eq!(world.members(), ["i2 b", "i3 a"]);
}

#[test]
fn the_folders_of_the_last_ones_that_ended_stay() {
    let world = World::new(1);
    let _keeper = world.keep();
    for number in 1..=12 {
        world.until("one runs", |info| agents(info) == 1 && info.fleet.members.gone.len() == number - 1);
        let it = id(&format!("i{number}"));
        let ended = it.clone();
        world.ask(|keeper| async move { keeper.terminate(&ended, true).await }).unwrap();
        world.until("it is gone", |info| info.fleet.members.gone.contains(&it));
    }
    world.until("the last one runs", |info| agents(info) == 1);
    let folders = std::fs::read_dir(world.settings.state.join("instances")).unwrap();
    let mut left: Vec<_> = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    left.sort_by_key(|name| name[1..].parse::<u32>().unwrap());
    assert_eq!(left, (3..=13).map(|number| format!("i{number}")).collect::<Vec<_>>());
}

#[test]
fn a_second_keeper_and_a_taken_port_are_refused_by_name() {
    let world = World::new(1);
    let keeper = world.keep();
    world.until("it answers", |_| true);
    let said = world.refused();
    assert!(said.contains(&format!("already kept by process {}", keeper.0.id())), "{said}");
    let mut other = World::new(1);
    other.settings.listen = world.settings.listen.clone();
    world.until("the balancer runs", |info| info.process(&Who::Balancer).is_some());
    let said = other.refused();
    assert!(said.contains(&format!("cannot listen on {}: process", world.settings.listen.address)), "{said}");
}

#[test]
fn an_apps_user_reaches_its_folder_and_nobody_the_control_sockets() {
    let world = World::new(1);
    let _keeper = world.keep();
    world.until("an agent runs", |info| agents(info) == 1);
    let state = &world.settings.state;
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(state.clone()), mode(state.join("instances/i1"))), (0o711, 0o711));
    assert_eq!((mode(state.join("run")), mode(state.join("store"))), (0o700, 0o700));
    assert_eq!(mode(state.join("run/keeper.sock")), 0o600);
}

#[test]
fn the_fleet_file_is_whole_whenever_it_is_read() {
    let world = World::new(1);
    let _keeper = world.keep();
    world.until("an agent runs", |info| agents(info) == 1);
    let path = world.settings.run().join("fleet.json");
    let mut seen = std::collections::BTreeSet::new();
    for to in [2, 3, 1, 3, 1, 2, 1] {
        world.ask(|keeper| async move { keeper.resize(to).await }).unwrap();
        let mut read = || {
            let fleet: Fleet = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            seen.insert(fleet.members.seq);
            fleet.members.members.len() as u32 == to
        };
        let limit = Instant::now() + DEADLINE;
        while !read() {
            assert!(Instant::now() < limit, "never {to}");
        }
    }
    assert!(seen.len() > 7);
}

/// Not a test by itself: this program, started again as the keeper of a world.
#[test]
fn as_keeper() {
    let Ok(path) = std::env::var(AS_KEEPER) else { return };
    let settings: Settings = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kept = tokio::task::LocalSet::new().block_on(&runtime, async {
        let house = Scripts(settings.state.clone());
        Keeping::take(settings, house, TokioClock::start())?.run().await
    });
    if let Err(error) = kept {
        println!("refused: {error}");
        std::process::exit(1);
    }
}

/// Children that are only scripts.
struct Scripts(PathBuf);

impl House for Scripts {
    fn command(&self, who: &Who, seat: Option<&(InstanceId, Seat)>) -> Command {
        let mut command = Command::new("python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/local_fleet/child.py")).arg(&self.0);
        let role = match who {
            Who::Balancer => "balancer",
            Who::Agent(_) => "agent",
            Who::Proxy(_) => "proxy",
        };
        command.arg(role).arg(seat.map_or("", |(id, _)| id.as_str()));
        command
    }

    fn sweep(&self, _: &InstanceId, _: &Seat, _: bool) -> impl Future<Output = ()> + 'static {
        std::future::ready(())
    }
}

/// A folder with settings for a fleet of its own; ended with everything that it started.
struct World {
    settings: Settings,
    folder: tempfile::TempDir,
}

/// A keeper's process, killed when the test ends; the world then ends what it kept.
struct KeeperProcess(Child);

impl Drop for KeeperProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for World {
    /// Whatever has the world's folder in its command line was started for it.
    fn drop(&mut self) {
        let state = self.settings.state.display().to_string();
        for stat in everup_host::proc::all() {
            let line = std::fs::read(format!("/proc/{}/cmdline", stat.pid)).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&state) {
                kill(stat.pid);
            }
        }
    }
}

impl World {
    fn new(desired: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::in_folder(folder.path());
        settings.fleet.desired = desired;
        // The kernel chose it, and does not choose it again so soon.
        settings.listen.address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { settings, folder }
    }

    fn command(&self) -> Command {
        let path = self.folder.path().join("settings.json");
        std::fs::write(&path, serde_json::to_vec(&self.settings).unwrap()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "as_keeper", "--nocapture"]).env(AS_KEEPER, path);
        command
    }

    fn keep(&self) -> KeeperProcess {
        KeeperProcess(self.command().stdout(Stdio::null()).spawn().unwrap())
    }

    /// What a keeper says that cannot begin.
    fn refused(&self) -> String {
        let output = self.command().output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.contains("refused: ")).unwrap().to_owned()
    }

    fn ask<T, F: Future<Output = Result<T, KeeperError>>>(
        &self,
        question: impl FnOnce(Keeper) -> F,
    ) -> Result<T, KeeperError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(question(Keeper::at(&self.settings.run())))
    }

    fn info(&self) -> Info {
        self.ask(|keeper| async move { keeper.info().await }).unwrap()
    }

    fn until(&self, wanted: &str, holds: impl Fn(&Info) -> bool) -> Info {
        let limit = Instant::now() + DEADLINE;
        let mut last = None;
        while Instant::now() < limit {
            if let Ok(info) = self.ask(|keeper| async move { keeper.info().await }) {
                if holds(&info) {
                    return info;
                }
                last = Some(info);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("never: {wanted}; at last {last:?}");
    }

    fn members(&self) -> Vec<String> {
        let members = self.info().fleet.members.members;
        members.iter().map(|(id, member)| format!("{id} {}", member.zone)).collect()
    }

    /// The process that answers at the service's address.
    fn service(&self) -> u32 {
        answer(self.settings.listen.address)
    }
}

fn answer(address: SocketAddr) -> u32 {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut line = String::new();
    BufReader::new(stream.take(100)).read_line(&mut line).unwrap();
    line.trim().parse().unwrap()
}

fn agents(info: &Info) -> usize {
    info.processes.keys().filter(|name| name.starts_with("the agent")).count()
}

fn agent(name: &str) -> Who {
    Who::Agent(id(name))
}

fn id(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

/// Kills a process and waits until it has ended: one that is dying may still accept.
fn kill(pid: u32) {
    let Some(process) = Identity::of(pid) else { return };
    process.signal(rustix::process::Signal::KILL);
    let limit = Instant::now() + DEADLINE;
    while process.lives() {
        assert!(Instant::now() < limit, "{process:?} survives KILL");
        std::thread::yield_now();
    }
}
