//! Releases on disk: several agents at once, crashes, damage, pruning.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops at the first surprise")]

use everup_core::ids::{Environment, Version};
use everup_core::release::{Fetched, ReleaseRef};
use everup_core::seams::{Etag, Got, Stage, Store, StoreError, Wrote};
use everup_core::time::Wall;
use everup_host::stage::{self, Releases};
use everup_host::store::Folder;
use everup_release::layout::{folder_name, manifest_key, part_key};
use everup_release::pack::{Draft, pack};
use everup_release::publish::publish;
use everup_release::shelf::Shelf;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A machine: a store, and a folder of releases.
struct Machine {
    home: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn store(&self) -> Folder {
        Folder::open(&self.at("store")).unwrap()
    }

    fn agent(&self) -> Releases<Slow> {
        agent(self.home.path())
    }

    /// Publishes a release of three files, one of them `size` bytes long, with a configuration for production.
    fn publish(&self, version: &str, size: usize) -> ReleaseRef {
        let source = self.at("source");
        let _ = fs::remove_dir_all(&source);
        fs::create_dir_all(source.join("bin")).unwrap();
        fs::write(source.join("version"), version).unwrap();
        fs::write(source.join("bin/run"), "#!/bin/sh\n").unwrap();
        fs::write(source.join("large"), noise(size)).unwrap();
        fs::create_dir_all(self.at("production")).unwrap();
        fs::write(self.at("production/app.conf"), version).unwrap();
        let mut draft = Draft::new(Version::new(version).unwrap(), Wall(1_000));
        draft.configurations.insert(Environment::new("production").unwrap(), self.at("production"));
        let packed = pack(&source, draft, self.home.path()).unwrap();
        run(publish(&self.store(), &packed)).unwrap().release().clone()
    }

    fn folder(&self, release: &ReleaseRef) -> PathBuf {
        stage::folder(&self.at("releases"), release)
    }

    /// What of `release` there is, beside the locks.
    fn left(&self, release: &ReleaseRef) -> Vec<String> {
        let name = folder_name(release);
        let mut left: Vec<String> = [self.at("releases"), self.at("releases/.beside")]
            .iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap())
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .filter(|file| file.starts_with(&name) && !file.ends_with(".turn") && !file.ends_with(".pin"))
            .collect();
        left.sort();
        left
    }

    /// The folders in which `release` is being made.
    fn parts(&self, release: &ReleaseRef) -> Vec<String> {
        self.left(release).into_iter().filter(|name| name.ends_with(".part")).collect()
    }

    /// Asserts that `release` is there, once, and nothing half-done.
    fn is_whole(&self, release: &ReleaseRef) {
        let name = folder_name(release);
        let wanted = ["", ".config", ".config.zip", ".json"].map(|end| format!("{name}{end}"));
        assert_eq!(self.left(release), wanted);
    }
}

fn agent(home: &Path) -> Releases<Slow> {
    slow_agent(home, u64::MAX).0
}

/// An agent whose store answers no more after so many bytes, and how many that are.
fn slow_agent(home: &Path, stop_after: u64) -> (Releases<Slow>, Rc<Cell<u64>>) {
    agent_that(home, Then::Hang, stop_after)
}

fn agent_that(home: &Path, then: Then, stop_after: u64) -> (Releases<Slow>, Rc<Cell<u64>>) {
    let stop_after = Rc::new(Cell::new(stop_after));
    let store = Folder::open(&home.join("store")).unwrap();
    let store = Slow { store, read: Rc::default(), then, stop_after: Rc::clone(&stop_after) };
    let environment = Environment::new("production").unwrap();
    (Releases::open(&home.join("releases"), environment, store).unwrap(), stop_after)
}

/// Bytes that cannot be packed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// What happens after so many bytes of archives.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// The store answers no more.
    Hang,
    /// The whole process is stopped, until it is woken.
    Stop,
}

/// The store, which answers in small pieces.
#[derive(Debug, Clone)]
struct Slow {
    store: Folder,
    read: Rc<Cell<u64>>,
    then: Then,
    stop_after: Rc<Cell<u64>>,
}

const PIECE: usize = 16 << 10;

impl Store for Slow {
    async fn get(&self, key: &str, unless: Option<&Etag>) -> Result<Got, StoreError> {
        self.store.get(key, unless).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.store.list(prefix).await
    }
    async fn create(&self, key: &str, body: Vec<u8>) -> Result<Wrote, StoreError> {
        self.store.create(key, body).await
    }
    async fn replace(&self, key: &str, etag: &Etag, body: Vec<u8>) -> Result<Wrote, StoreError> {
        self.store.replace(key, etag, body).await
    }
}

impl Shelf for Slow {
    async fn put(&self, key: &str, from: &Path) -> Result<(), StoreError> {
        self.store.put(key, from).await
    }
    async fn read(&self, key: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        if self.read.get() > self.stop_after.get() {
            match self.then {
                Then::Hang => {
                    println!("stuck");
                    std::future::pending::<()>().await;
                }
                Then::Stop => {
                    self.stop_after.set(u64::MAX);
                    kill_process(getpid(), Signal::STOP).unwrap();
                }
            }
        }
        let read = self.store.read(key, offset, length.min(PIECE)).await?;
        self.read.set(self.read.get() + read.as_ref().map_or(0, |bytes| bytes.len() as u64));
        Ok(read)
    }
    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.store.size(key).await
    }
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store.delete(key).await
    }
}

#[test]
fn a_release_is_staged_verified_and_not_fetched_again() {
    let machine = Machine::new();
    let release = machine.publish("7", 300_000);
    let agent = machine.agent();
    run(async {
        assert!(agent.verify(&release).await.unwrap_err().reason.contains("not complete"));
        let Fetched { bytes, of } = agent.ensure(&release).await.unwrap();
        assert!(bytes > 300_000 && of > 300_000, "{bytes} of {of}");
        assert_eq!(agent.ensure(&release).await.unwrap(), Fetched { bytes: 0, of });
        agent.verify(&release).await.unwrap();
        assert_eq!(agent.manifest(&release).await.unwrap().version, release.version);
    });
    assert_eq!(fs::read_to_string(machine.folder(&release).join("version")).unwrap(), "7");
    let config = agent.pinned().configuration(&release).unwrap();
    assert_eq!(fs::read_to_string(config.join("app.conf")).unwrap(), "7");
    // Another agent, later, while the store is away.
    fs::remove_dir_all(machine.at("store")).unwrap();
    let other = machine.agent();
    run(async {
        assert_eq!(other.ensure(&release).await.unwrap().bytes, 0);
        other.verify(&release).await.unwrap();
        assert_eq!(other.manifest(&release).await.unwrap().version, release.version);
    });
}

#[test]
fn agents_that_want_one_release_at_once_fetch_it_once() {
    let machine = Machine::new();
    let release = machine.publish("7", 300_000);
    let agents: Vec<_> = (0..4).map(|_| machine.agent()).collect();
    let fetching = Cell::new(0);
    run(futures(agents.iter().map(|agent| async {
        let fetched = agent.ensure(&release).await.unwrap();
        fetching.set(fetching.get() + u32::from(fetched.bytes > 0));
    })));
    assert_eq!(fetching.get(), 1);
    run(agents[3].verify(&release)).unwrap();
}

/// Waits for all of them, which run at once.
async fn futures(all: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut waiting: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// This test binary again, running `role` (a test that does nothing unless it is told to) at `home`.
fn spawn(role: &str, home: &Path, release: &ReleaseRef, then: Then, after: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([role, "--exact", "--nocapture"])
        .env("EVERUP_TEST_HOME", home)
        .env("EVERUP_TEST_RELEASE", format!("{} {}", release.version, release.manifest))
        .env("EVERUP_TEST_THEN", format!("{then:?} {after}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Who this process is, if it was spawned by [`spawn`].
fn spawned() -> Option<(Releases<Slow>, ReleaseRef)> {
    let home = std::env::var_os("EVERUP_TEST_HOME")?;
    let [release, then] = ["RELEASE", "THEN"].map(|key| std::env::var(format!("EVERUP_TEST_{key}")).unwrap());
    let (version, manifest) = release.split_once(' ').unwrap();
    let release = ReleaseRef {
        version: Version::new(version).unwrap(),
        manifest: everup_core::release::Digest::new(manifest).unwrap(),
    };
    let (then, after) = then.split_once(' ').unwrap();
    let then = if then == "Stop" { Then::Stop } else { Then::Hang };
    Some((agent_that(Path::new(&home), then, after.parse().unwrap()).0, release))
}

#[test]
fn role_ensure() {
    let Some((agent, release)) = spawned() else { return };
    run(async {
        agent.ensure(&release).await.unwrap();
        agent.verify(&release).await.unwrap();
    });
}

#[test]
fn processes_that_want_one_release_at_once_all_get_it() {
    let machine = Machine::new();
    let release = machine.publish("7", 300_000);
    let children: Vec<Child> =
        (0..4).map(|_| spawn("role_ensure", machine.home.path(), &release, Then::Hang, u64::MAX)).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    machine.is_whole(&release);
}

#[test]
fn an_agent_that_is_killed_leaves_nothing_that_looks_complete() {
    let machine = Machine::new();
    let release = machine.publish("7", 300_000);
    let mut child = spawn("role_ensure", machine.home.path(), &release, Then::Hang, 100_000);
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.map_while(Result::ok).any(|line| line.contains("stuck")), "it ended before it was killed");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(machine.parts(&release).len(), 1, "it was killed in the middle");
    assert!(!machine.folder(&release).exists());
    let agent = machine.agent();
    assert_eq!(machine.parts(&release).len(), 0, "the next start cleans up");
    run(async {
        agent.ensure(&release).await.unwrap();
        agent.verify(&release).await.unwrap();
    });
}

#[test]
fn a_staging_that_is_dropped_cleans_up_and_can_be_repeated() {
    let machine = Machine::new();
    let release = machine.publish("7", 300_000);
    let (agent, stop_after) = slow_agent(machine.home.path(), 100_000);
    run(async {
        let dropped = tokio::time::timeout(Duration::from_secs(1), agent.ensure(&release)).await;
        assert!(dropped.is_err(), "it ended before it was dropped");
        stop_after.set(u64::MAX);
        agent.ensure(&release).await.unwrap();
        agent.verify(&release).await.unwrap();
    });
    machine.is_whole(&release);
}

/// A child that stops itself in the middle of its staging; returns when it is stopped.
fn stopped(machine: &Machine, release: &ReleaseRef) -> Child {
    let child = spawn("role_ensure", machine.home.path(), release, Then::Stop, 100_000);
    let (_, status) = waitpid(Some(Pid::from_child(&child)), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "it ended before it was stopped: {status:?}");
    child
}

fn wake(child: Child) {
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
}

#[test]
fn an_agent_that_is_stopped_keeps_nobody_out_and_ends_well_when_woken() {
    let machine = Machine::new();
    let release = machine.publish("7", 300_000);
    let sleeper = stopped(&machine, &release);
    let agent = machine.agent();
    run(async {
        assert!(agent.ensure(&release).await.unwrap().bytes > 300_000);
        agent.verify(&release).await.unwrap();
        agent.prune(std::slice::from_ref(&release)).await;
    });
    assert_eq!(machine.parts(&release).len(), 1, "what a sleeper fills is no leftover");
    wake(sleeper);
    machine.is_whole(&release);
    run(agent.verify(&release)).unwrap();
}

#[test]
fn two_that_make_one_release_at_once_both_succeed() {
    let machine = Machine::new();
    let release = machine.publish("7", 300_000);
    let sleepers = [stopped(&machine, &release), stopped(&machine, &release)];
    assert_eq!(machine.parts(&release).len(), 2, "each in a folder of its own");
    assert!(!machine.folder(&release).exists());
    for sleeper in &sleepers {
        kill_process(Pid::from_child(sleeper), Signal::CONT).unwrap();
    }
    sleepers.into_iter().for_each(wake);
    machine.is_whole(&release);
}

#[test]
fn a_sleeper_that_is_killed_leaves_nothing() {
    let machine = Machine::new();
    let release = machine.publish("7", 300_000);
    let mut sleeper = stopped(&machine, &release);
    let agent = machine.agent();
    run(agent.ensure(&release)).unwrap();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(machine.parts(&release).len(), 1);
    run(agent.prune(std::slice::from_ref(&release)));
    machine.is_whole(&release);
}

/// One that another was first to put in place counts only if it is whole.
#[test]
fn who_comes_second_looks_at_what_is_there() {
    let machine = Machine::new();
    let release = machine.publish("7", 300_000);
    let sleeper = stopped(&machine, &release);
    let agent = machine.agent();
    run(agent.ensure(&release)).unwrap();
    fs::write(machine.folder(&release).join("large"), "damaged").unwrap();
    wake(sleeper);
    machine.is_whole(&release);
    run(agent.verify(&release)).unwrap();
}

/// As one that is stopped while it removes a release: the next place is taken, and both go when nobody needs them.
#[test]
fn a_release_that_a_sleeper_is_removing_lies_in_the_next_place() {
    let machine = Machine::new();
    let release = machine.publish("7", 10);
    run(machine.agent().ensure(&release)).unwrap();
    let pin = machine.at(&format!("releases/.beside/{}.pin", folder_name(&release)));
    let sleeper = fs::File::open(pin).unwrap();
    sleeper.try_lock().unwrap();
    let agent = machine.agent();
    run(async {
        agent.ensure(&release).await.unwrap();
        agent.verify(&release).await.unwrap();
    });
    let folder = agent.pinned().folder(&release);
    assert_eq!(folder, machine.folder(&release).with_file_name(format!("{}~2", folder_name(&release))));
    fs::remove_dir_all(machine.folder(&release)).unwrap();
    drop(sleeper);
    assert_eq!(agent.pinned().folder(&release), folder, "it stays where it is counted on");
    run(machine.agent().ensure(&release)).unwrap();
    assert_eq!(fs::read_to_string(folder.join("version")).unwrap(), "7");
    run(agent.prune(&[]));
    assert_eq!(machine.left(&release), Vec::<String>::new());
}

#[test]
fn role_make_and_remove_for_ever() {
    let Some((agent, release)) = spawned() else { return };
    loop {
        run(async {
            agent.ensure(&release).await.unwrap();
            agent.verify(&release).await.unwrap();
            println!("made");
            agent.prune(&[]).await;
        });
    }
}

/// Wherever it is stopped, what the others count on is there and whole.
#[test]
fn an_agent_that_is_stopped_anywhere_takes_nothing_away() {
    let machine = Machine::new();
    let release = machine.publish("7", 50_000);
    let mut child =
        spawn("role_make_and_remove_for_ever", machine.home.path(), &release, Then::Hang, u64::MAX);
    let pid = Pid::from_child(&child);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let agent = machine.agent();
    for round in 0..20_u32 {
        assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("made")), "it has failed");
        // At another point each time; all of it takes some milliseconds.
        for _ in 0..round * 20_000 {
            std::hint::spin_loop();
        }
        kill_process(pid, Signal::STOP).unwrap();
        run(async {
            agent.ensure(&release).await.unwrap();
            agent.verify(&release).await.unwrap();
        });
        kill_process(pid, Signal::CONT).unwrap();
        assert!(agent.pinned().folder(&release).is_dir());
        run(agent.prune(&[]));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    run(machine.agent().prune(&[]));
    assert_eq!(machine.left(&release), Vec::<String>::new());
}

#[test]
fn a_changed_archive_is_refused_and_nothing_appears() {
    let machine = Machine::new();
    let release = machine.publish("7", 300_000);
    let agent = machine.agent();
    let manifest = run(agent.manifest(&release)).unwrap();
    let path = machine.at("store").join(part_key(&release.version, &manifest.archive));
    let mut archive = fs::read(&path).unwrap();
    archive[150_000] ^= 1;
    fs::write(&path, archive).unwrap();
    let problem = run(agent.ensure(&release)).unwrap_err();
    assert_eq!(problem.check, "stage");
    assert!(problem.reason.contains("\"large\" has other bytes"), "{problem}");
    assert!(!machine.folder(&release).exists());
    fs::remove_file(path).unwrap();
    let problem = run(agent.ensure(&release)).unwrap_err();
    assert!(problem.reason.contains("publish the release again"), "{problem}");
}

#[test]
fn a_manifest_that_was_replaced_is_refused() {
    let machine = Machine::new();
    let (seven, eight) = (machine.publish("7", 10), machine.publish("8", 10));
    let at = |release: &ReleaseRef| machine.at("store").join(manifest_key(&release.version));
    fs::remove_dir_all(at(&seven)).unwrap();
    fs::rename(at(&eight), at(&seven)).unwrap();
    let problem = run(machine.agent().ensure(&seven)).unwrap_err();
    assert!(problem.reason.contains("not the one that was chosen"), "{problem}");
}

#[test]
fn a_damaged_release_is_found_and_made_anew() {
    let machine = Machine::new();
    let release = machine.publish("7", 10);
    let agent = machine.agent();
    run(async {
        agent.ensure(&release).await.unwrap();
        for damaged in [machine.folder(&release).join("bin/run"), machine.folder(&release).join("large")] {
            fs::write(&damaged, "damaged").unwrap();
            let problem = agent.verify(&release).await.unwrap_err();
            assert!(problem.reason.contains("has other bytes"), "{problem}");
            agent.ensure(&release).await.unwrap();
            agent.verify(&release).await.unwrap();
        }
        let config = agent.pinned().configuration(&release).unwrap();
        fs::write(config.join("app.conf"), "damaged").unwrap();
        assert!(agent.verify(&release).await.unwrap_err().reason.contains("app.conf"));
        agent.ensure(&release).await.unwrap();
        agent.verify(&release).await.unwrap();
    });
}

#[test]
fn what_a_process_has_open_or_another_agent_counts_on_is_not_pruned() {
    let machine = Machine::new();
    let releases: Vec<ReleaseRef> = (1..=5).map(|n| machine.publish(&n.to_string(), 10)).collect();
    let [one, two, three, four, five] = &releases[..] else { panic!() };
    let (agent, other) = (machine.agent(), machine.agent());
    let mut app = Command::new("sleep");
    run(async {
        for release in &releases {
            agent.ensure(release).await.unwrap();
        }
        other.ensure(two).await.unwrap();
        let mut app = app.arg("600").current_dir(machine.folder(one)).spawn().unwrap();
        agent.prune(&[five.clone(), four.clone()]).await;
        let there = |release| machine.folder(release).is_dir();
        assert!(there(one), "an app runs in it");
        assert!(there(two), "the other agent has it staged");
        assert!(there(four) && there(five), "they are to be kept");
        assert_eq!(machine.left(three), Vec::<String>::new());
        app.kill().unwrap();
        app.wait().unwrap();
        drop(other);
        agent.prune(std::slice::from_ref(five)).await;
        assert!(!there(one) && !there(two) && !there(four) && there(five));
        agent.ensure(one).await.unwrap();
        agent.verify(one).await.unwrap();
    });
}
