//! What was measured of the requests: by the balancer, which sees every one of the users', and by the agents' probers,
//! which ask as users do.

use super::fleet::Sight;
use super::probing::Probing;
use everup_core::ids::InstanceId;
use everup_core::receipt::{Source, Sources, Window};
use everup_core::seams::Meter;
use everup_proxy::control::Client;
use everup_web::peers::HttpPeers;

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
}

impl LocalMeter {
    /// What the balancer counted; all of it missing if it does not answer.
    async fn gates(&self, window: Window) -> Source {
        match self.balancer.measure(window).await {
            Ok(source) => source,
            Err(error) => {
                tracing::warn!("the balancer's figures are missing: {error}");
                Source { missing: vec![window], ..Source::default() }
            }
        }
    }

    async fn prober(&self, window: Window) -> Source {
        let seen = self.sight.now();
        let others: Vec<_> = seen.members.members.keys().filter(|id| **id != self.me).cloned().collect();
        self.probing.gather(&others, &self.peers, window).await
    }
}

impl Meter for LocalMeter {
    async fn measure(&self, window: Window) -> Sources {
        let (gates, prober) = tokio::join!(self.gates(window), self.prober(window));
        Sources::from([(GATES.to_owned(), gates), (PROBER.to_owned(), prober)])
    }
}
