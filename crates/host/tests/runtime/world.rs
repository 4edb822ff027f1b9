//! One instance in a folder of its own, on ports of its own, with a release that is a small Python server.

use everup_core::ids::{Environment, InstanceId, StartId, Version, Zone};
use everup_core::instance::{Problem, Running, Slot};
use everup_core::release::{Digest, ReleaseRef};
use everup_core::seams::{Chance, Runtime};
use everup_core::time::Millis;
use everup_host::clock::KernelChance;
use everup_host::minder::State;
use everup_host::proc::{Identity, Stat, marked};
use everup_host::runtime::{Folders, ProcessRuntime, Releases, Setup};
use everup_host::settings::{App, Check, Health, Log};
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs::Permissions;
use std::future::Future;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// No test waits longer for anything.
const LONG: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) setup: Setup,
    folder: TempDir,
    _ports: [UdpSocket; 2],
}

impl World {
    /// An instance whose app is `command`, with the server `app.py` beside it.
    pub(crate) fn new(command: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ports, sockets) = ports();
        let setup = Setup {
            minder: vec![minder()],
            folder: folder.path().join("instance"),
            instance: InstanceId::new("i-1").unwrap(),
            zone: Zone::new("a").unwrap(),
            environment: Environment::new("test").unwrap(),
            ports,
            app: App { command: Some(command.to_owned()), stop: Millis::from_secs(20), ..App::default() },
            health: Health { check: http("/healthz"), ..Health::default() },
            log: Log { size: 1 << 20, keep: 1 },
        };
        let world = Self { setup, folder, _ports: sockets };
        world.unpack("1");
        world
    }

    /// The server itself.
    pub(crate) fn server() -> Self {
        Self::new("exec python3 app.py")
    }

    pub(crate) fn runtime(&self) -> ProcessRuntime {
        ProcessRuntime::new(self.setup.clone(), Box::new(Folders(self.releases())))
    }

    /// Has every minder wait, before it does anything, until there is a file; where that is.
    pub(crate) fn minders_wait(&mut self) -> PathBuf {
        let gate = self.folder.path().join("gate");
        // Without the folder nobody waits for it any more.
        let wait = "until [ -e \"$0\" ]; do [ -d \"${0%/*}\" ] || exit; sleep 0.01; done; exec \"$@\"";
        self.setup.minder = ["sh", "-c", wait].map(OsString::from).into();
        self.setup.minder.extend([gate.clone().into(), minder()]);
        gate
    }

    /// Makes a release of this version.
    pub(crate) fn unpack(&self, version: &str) -> ReleaseRef {
        let release = release(version);
        let folder = Folders(self.releases()).folder(&release);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("app.py"), include_str!("app.py")).unwrap();
        release
    }

    fn releases(&self) -> PathBuf {
        self.folder.path().join("releases")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.setup.data()
    }

    /// What the app wrote into its data folder.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.data().join(name)).unwrap_or_default()
    }

    /// Starts release 1 in slot A.
    pub(crate) async fn start(&self, runtime: &ProcessRuntime) -> Running {
        soon(runtime.start(&release("1"), Slot::A, &start_id())).await.unwrap()
    }

    /// Starts release 1 in slot A and waits until it is healthy.
    pub(crate) async fn start_healthy(&self, runtime: &ProcessRuntime) -> Running {
        let running = self.start(runtime).await;
        healthy(runtime, &running).await;
        running
    }

    /// The folder of release 1.
    pub(crate) fn release_folder(&self) -> PathBuf {
        Folders(self.releases()).folder(&release("1"))
    }

    /// The minder of slot A.
    pub(crate) fn minder(&self) -> Identity {
        State::read(&self.setup.state_of(Slot::A)).unwrap().minder
    }

    /// The main process of slot A's app.
    pub(crate) fn child(&self) -> Identity {
        State::read(&self.setup.state_of(Slot::A)).unwrap().child.unwrap()
    }

    /// Lets every user reach the releases.
    pub(crate) fn open_to_all(&self) {
        std::fs::set_permissions(self.folder.path(), Permissions::from_mode(0o755)).unwrap();
    }

    /// Waits until the app wrote something into `name`.
    pub(crate) async fn written(&self, name: &str) -> String {
        until(|| Some(self.read(name)).filter(|text| text.ends_with('\n'))).await
    }
}

impl Drop for World {
    /// A test that fails leaves nothing running: without its processes a minder ends by itself.
    fn drop(&mut self) {
        for process in marked(&format!("EVERUP_DATA={}", self.data().display()), 0) {
            process.identity().signal(Signal::KILL);
        }
    }
}

pub(crate) fn release(version: &str) -> ReleaseRef {
    ReleaseRef { version: Version::new(version).unwrap(), manifest: Digest::new("0".repeat(64)).unwrap() }
}

pub(crate) fn start_id() -> StartId {
    StartId::new(format!("s-{:016x}", KernelChance.next())).unwrap()
}

pub(crate) fn http(path: &str) -> Check {
    Check::Http { path: path.to_owned(), host: None, forwarded_proto: None }
}

/// All processes of this start that live.
pub(crate) fn processes(running: &Running) -> Vec<Stat> {
    marked(&format!("EVERUP_START={}", running.upstream.start), 0)
}

/// Waits until the check passes.
pub(crate) async fn healthy(runtime: &ProcessRuntime, running: &Running) {
    let mut last = None;
    for _ in 0..3_000 {
        match runtime.check(running).await {
            Ok(_) => return,
            Err(problem) => last = Some(problem),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it does not become healthy: {last:?}");
}

/// Waits until the check fails with a reason that holds `text`.
pub(crate) async fn fails_with(runtime: &ProcessRuntime, running: &Running, text: &str) -> Problem {
    let mut last = None;
    for _ in 0..3_000 {
        match runtime.check(running).await {
            Err(problem) if problem.reason.contains(text) => return problem,
            other => last = Some(other),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no problem with {text:?}, but {last:?}");
}

/// Waits for a fact.
pub(crate) async fn until<T>(mut fact: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = fact() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(wait).await
}

/// What must not take for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("it is done within a minute")
}

/// The example `minder`, which `cargo test` builds beside the tests.
fn minder() -> OsString {
    let test = std::env::current_exe().unwrap();
    let minder = test.parent().and_then(Path::parent).unwrap().join("examples/minder");
    assert!(minder.exists(), "{} is missing: cargo build -p everup-host --examples", minder.display());
    minder.into()
}

/// Two ports below the kernel's own range, each reserved among tests by a UDP socket of the same number.
fn ports() -> ([u16; 2], [UdpSocket; 2]) {
    let mut free = std::iter::repeat_with(|| {
        let port = 10_000 + (KernelChance.next() % 20_000) as u16;
        let reserved = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok().map(|_| (port, reserved))
    });
    let mut next = || free.find_map(|found| found).unwrap();
    let ((a, one), (b, two)) = (next(), next());
    ([a, b], [one, two])
}
