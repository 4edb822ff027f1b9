//! What the tests share: a proxy in a folder of its own, and names for what it is told.

use everup_core::gate::{Counts, Drain, Hold, HoldLimits, Upstream};
use everup_core::ids::{Fence, HoldId, InstanceId, Rev, StartId, Term, Zone};
use everup_core::receipt::{Source, Window};
use everup_core::seams::Gate;
use everup_core::time::{Millis, Wall};
use everup_proxy::control::{Behind, Client, NewSlot};
use everup_proxy::{Config, Places, RunError, run};
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::task::{JoinHandle, LocalSet};

/// Longer than anything takes; a test that waits for it has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Runs a test's body on one thread, as the proxy does, and ends it at the deadline.
pub(crate) fn test(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    let bounded = async { tokio::time::timeout(DEADLINE, body).await };
    local.block_on(&runtime, bounded).expect("the test ends before its deadline");
    runtime.shutdown_background();
}

/// A running proxy.
pub(crate) struct Running {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    pub(crate) task: JoinHandle<Result<(), RunError>>,
    listener: TcpListener,
    folder: TempDir,
    config: Config,
}

impl Running {
    pub(crate) async fn start(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self::on(config, listener, folder).await
    }

    async fn on(config: Config, listener: TcpListener, folder: TempDir) -> Self {
        let places = places(folder.path());
        let client = Client::new(&places.control);
        let address = listener.local_addr().unwrap();
        let task = tokio::task::spawn_local(run(config.clone(), listener.try_clone().unwrap(), places));
        while client.hello().await.is_err() {
            assert!(!task.is_finished(), "the proxy runs");
            tokio::task::yield_now().await;
        }
        Self { client, address, task, listener, folder, config }
    }

    /// As after a kill: nothing of it runs to its end, the listening socket and the files stay.
    pub(crate) async fn restart(self) -> Self {
        self.task.abort();
        let _ = self.task.await;
        Self::on(self.config, self.listener, self.folder).await
    }

    /// A second process on the same places and the same listening socket; the first one is replaced.
    pub(crate) fn successor(&self) -> JoinHandle<Result<(), RunError>> {
        let places = places(self.folder.path());
        tokio::task::spawn_local(run(self.config.clone(), self.listener.try_clone().unwrap(), places))
    }

    /// What keepers do with a proxy behind which there is nothing any more; its end.
    pub(crate) async fn close(self, within: Millis) {
        everup_proxy::close(&places(self.folder.path()), within).await.unwrap();
        self.task.await.unwrap().unwrap();
    }

    pub(crate) async fn counts(&self, id: &InstanceId) -> Counts {
        self.client.gate(id.clone()).counts().await.unwrap()
    }

    /// Waits until the counts of a slot are as they should be.
    pub(crate) async fn until(&self, id: &InstanceId, is: impl Fn(&Counts) -> bool) -> Counts {
        loop {
            let counts = self.counts(id).await;
            if is(&counts) {
                return counts;
            }
            tokio::task::yield_now().await;
        }
    }

    /// What passed since `from`.
    pub(crate) async fn measure(&self, from: Wall) -> Source {
        self.client.measure(window(from)).await.unwrap()
    }

    pub(crate) async fn add(&self, name: &str, upstream: Option<SocketAddr>) -> InstanceId {
        self.add_before(Behind::App, name, upstream).await
    }

    pub(crate) async fn add_before(
        &self,
        behind: Behind,
        name: &str,
        upstream: Option<SocketAddr>,
    ) -> InstanceId {
        let upstream = upstream.map(|a| self::upstream(a, "first"));
        let slot = NewSlot { id: id(name), zone: Zone::new("a").unwrap(), upstream, balanced: true, behind };
        self.client.add_slot(&slot).await.unwrap();
        id(name)
    }
}

fn places(folder: &Path) -> Places {
    Places { control: folder.join("proxy.sock"), state: folder.join("proxy.json") }
}

pub(crate) fn window(from: Wall) -> Window {
    Window { from, to: from + Millis::from_secs(600) }
}

pub(crate) fn now() -> Wall {
    Wall(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64)
}

pub(crate) fn id(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

pub(crate) fn upstream(address: SocketAddr, start: &str) -> Upstream {
    Upstream { address, start: StartId::new(start).unwrap() }
}

pub(crate) fn hold(rev: u64) -> Hold {
    Hold {
        id: HoldId::new("h").unwrap(),
        fence: Fence { term: Term(1), rev: Rev(rev) },
        lapse: Millis::from_secs(20),
        limits: HoldLimits::default(),
    }
}

pub(crate) fn drain(within: Millis) -> Drain {
    Drain { within, quiet: Millis::ZERO, limits: HoldLimits::default() }
}
