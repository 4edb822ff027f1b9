//! What was measured of the requests: by the balancer, which sees every one of the users'.

use everup_core::receipt::{Source, Sources, Window};
use everup_core::seams::Meter;
use everup_proxy::control::Client;

/// The name of the gates' column.
const GATES: &str = "gates";

/// The balancer's counters.
#[derive(Debug, Clone)]
pub struct LocalMeter {
    balancer: Client,
}

impl LocalMeter {
    /// Those of this balancer.
    #[must_use]
    pub const fn new(balancer: Client) -> Self {
        Self { balancer }
    }

    /// What it counted; all of it missing if it does not answer.
    async fn gates(&self, window: Window) -> Source {
        match self.balancer.measure(window).await {
            Ok(source) => source,
            Err(error) => {
                tracing::warn!("the balancer's figures are missing: {error}");
                Source { missing: vec![window], ..Source::default() }
            }
        }
    }
}

impl Meter for LocalMeter {
    async fn measure(&self, window: Window) -> Sources {
        Sources::from([(GATES.to_owned(), self.gates(window).await)])
    }
}
