//! What was measured of the requests: by the balancer, which sees every one of the users', and by the agents' probers,
//! which ask as users do.

use super::fleet::Sight;
use super::places::Places;
use super::probing::Probing;
use everup_core::ids::InstanceId;
use everup_core::receipt::{Source, Sources, Window};
use everup_core::seams::Meter;
use everup_core::time::Wall;
use everup_proxy::control::Client;
use everup_web::peers::HttpPeers;
use futures_util::future::join_all;

/// The name of the gates' column.
const GATES: &str = "gates";
/// The name of the probers' column.
const PROBER: &str = "prober";

/// The balancer's counters, and the probers of the fleet.
#[derive(Clone)]
pub struct LocalMeter {
    pub(super) me: InstanceId,
    pub(super) balancer: Client,
    pub(super) sight: Sight,
    pub(super) peers: HttpPeers,
    pub(super) probing: Probing,
    /// Where the instances' own proxies are, if they have any: those hold, and the balancer only sees a slow answer.
    pub(super) proxies: Option<Places>,
}

impl LocalMeter {
    /// What the balancer counted, which every request passes; and what waited, or came late, at the instances' own gates.
    /// To the balancer, who left while waiting there is just somebody who left.
    async fn gates(&self, window: Window) -> Source {
        let mut source = counted(&self.balancer, window).await;
        let Some(places) = &self.proxies else { return source };
        let seen = self.sight.now();
        let each = seen.members.members.keys().map(|id| Client::new(places.proxy(id).control));
        // At once: one that hangs costs its time-out, and so do all of them.
        for own in join_all(each.map(|proxy| async move { counted(&proxy, window).await })).await {
            source.held.count += own.held.count;
            source.held.longest_ms = source.held.longest_ms.max(own.held.longest_ms);
            source.requests.left_while_held += own.requests.left_while_held;
            source.requests.failed += own.requests.left_while_held;
            source.late += own.late;
            // One that began within the window has not missed what was before it; one that does not answer has.
            source.missing.extend(own.missing.into_iter().filter(|missing| *missing == window));
        }
        source
    }

    /// From the arrival of the last instance on.
    async fn gates_after(&self, window: Window, settled: Option<Wall>) -> Option<Source> {
        let later = Window { from: settled?.min(window.to), ..window };
        Some(counted(&self.balancer, later).await)
    }

    async fn prober(&self, window: Window, settled: Option<Wall>) -> Source {
        let seen = self.sight.now();
        let others: Vec<_> = seen.members.members.keys().filter(|id| **id != self.me).cloned().collect();
        self.probing.gather(&others, &self.peers, window, settled).await
    }
}

/// What one proxy counted; all of it missing if it does not answer.
async fn counted(proxy: &Client, window: Window) -> Source {
    match proxy.measure(window).await {
        Ok(source) => source,
        Err(error) => {
            tracing::warn!("figures are missing: {error}");
            Source { missing: vec![window], ..Source::default() }
        }
    }
}

impl Meter for LocalMeter {
    async fn measure(&self, window: Window, settled: Option<Wall>) -> Sources {
        let (gates, after, prober) =
            tokio::join!(self.gates(window), self.gates_after(window, settled), self.prober(window, settled));
        let gates = after.iter().fold(gates, Source::ending_as);
        Sources::from([(GATES.to_owned(), gates), (PROBER.to_owned(), prober)])
    }
}
