//! The prober of this agent: it asks the service from its first day in service on. Before that there is nothing to
//! ask: its questions would only wait at a shut gate, and be counted as failed.

use super::fleet::Sight;
use everup_core::fleet::Members;
use everup_core::ids::InstanceId;
use everup_core::receipt::{Source, Window};
use everup_core::status::Status;
use everup_core::time::Wall;
use everup_engine::prober::Samples;
use everup_host::clock::wall_now;
use everup_host::settings::{Check, Settings};
use everup_web::clock::system;
use everup_web::peers::HttpPeers;
use everup_web::prober::{Prober, Target, gather};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// A prober that may not have begun yet.
#[derive(Clone)]
pub(super) struct Probing {
    target: Target,
    prober: Arc<OnceLock<Prober>>,
    /// When the service began, if it did under this agent's eyes.
    first: Arc<OnceLock<Wall>>,
}

impl Probing {
    /// Of the service that `settings` describe.
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let address = reachable(settings.listen.address).to_string();
        let (path, host) = match &settings.health.check {
            Check::Http { path, host, .. } => (path.as_str(), host.as_deref()),
            Check::Tcp | Check::Command(_) => ("/", None),
        };
        let path = settings.prober.path.as_deref().unwrap_or(path);
        let target =
            Target::new(address.clone(), host.unwrap_or(&address), path).map_err(|e| e.to_string())?;
        Ok(Self { target, prober: Arc::default(), first: Arc::default() })
    }

    /// Asks, from when the balancer sends to an instance for the first time until `stop` becomes true.
    pub(super) async fn run(
        self,
        sight: Sight,
        status: watch::Receiver<Arc<Status>>,
        stop: watch::Receiver<bool>,
    ) {
        if !serves(&sight.until(|_| true).await) {
            sight.until(serves).await;
            self.first.get_or_init(wall_now);
        }
        let prober = self.prober.get_or_init(|| Prober::new(self.target.clone(), system()));
        prober.run(status, stop).await;
    }

    /// What this prober saw in `window`.
    pub(super) async fn samples(&self, window: Window) -> Samples {
        match self.prober.get() {
            Some(prober) => prober.samples(window).await,
            None => Samples::default(),
        }
    }

    /// What this prober and those of `others` saw of `window`, together; of a window in which the service began, from
    /// then on.
    pub(super) async fn gather(
        &self,
        others: &[InstanceId],
        peers: &HttpPeers,
        window: Window,
        settled: Option<Wall>,
    ) -> Source {
        let from = self.first.get().map_or(window.from, |first| window.from.max(*first));
        let window = Window { from: from.min(window.to), ..window };
        match self.prober.get() {
            Some(prober) => gather(prober, others, peers, window, settled).await,
            None => Source { missing: vec![window], ..Source::default() },
        }
    }
}

fn serves(members: &Members) -> bool {
    members.members.values().any(|member| member.balanced)
}

/// Where one connects to what listens on `address`: "any" is no address of anybody.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        own => own,
    };
    SocketAddr::new(ip, address.port())
}
