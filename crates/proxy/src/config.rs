//! How a proxy behaves; plain data, so that whoever starts one can hand it over as JSON.

use everup_core::gate::HoldLimits;
use everup_core::time::Millis;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What stands before the proxy, which decides how it says goodbye.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Clients: their connections outlive any one slot's drain.
    #[default]
    Balancer,
    /// A load balancer, with one app behind: while the gate drains, each answer ends its connection.
    Proxy,
}

/// An active health check. Neither gates nor counts see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Check {
    /// What is asked.
    pub ask: Ask,
    /// From one check to the next.
    pub interval: Millis,
    /// One may take so long.
    pub deadline: Millis,
    /// So many that passed, one after the other, make an ill upstream well.
    pub successes: u32,
    /// So many that failed, one after the other, make it ill.
    pub failures: u32,
}

/// What an upstream is asked. Where it is a proxy of ours, that answers for its app instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// GET a path; an answer from 200 to 299 passes.
    Http {
        /// The path, with its `/`.
        path: String,
        /// The Host header; unset: the upstream's address.
        host: Option<String>,
        /// The X-Forwarded-Proto header.
        forwarded_proto: Option<String>,
    },
    /// To take a connection.
    Tcp,
}

/// The settings of one proxy. All have defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// What stands before it.
    pub role: Role,
    /// Answered by the proxy itself with 200, whatever its gates do.
    pub health_paths: Vec<String>,
    /// How the upstreams of balanced slots are asked how they are; unset: they are not, and only connections that are
    /// refused speak against one.
    pub check: Option<Check>,
    /// What may wait, until a hold or a drain says otherwise.
    pub limits: HoldLimits,
    /// Whose `Forwarded` and `X-Forwarded-*` are believed, and added to; everybody else's are replaced.
    pub trusted: Vec<IpAddr>,
    /// The longest a connection to an app may take to be opened.
    pub connect: Millis,
    /// The longest an app may take to begin its answer; then 504.
    pub answer: Millis,
    /// An idle client connection, or one that has not sent a whole head, is closed after so long. Longer than the idle
    /// limit of the balancer before it (60 s on an ALB), so that we never close one that it is about to use.
    pub client_idle: Millis,
    /// An idle connection to an app is closed after so long; shorter if the app announces less.
    pub app_idle: Millis,
    /// Idle connections kept to each app.
    pub app_connections: u32,
    /// Connections of clients at once; the descriptor limit may allow fewer.
    pub clients: u32,
    /// The largest head of a request.
    pub head_bytes: u32,
    /// The largest body of a request; unlimited if none.
    pub body_bytes: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            role: Role::Balancer,
            health_paths: vec!["/.everup/health".to_owned()],
            check: None,
            limits: HoldLimits::default(),
            trusted: Vec::new(),
            connect: Millis(2_000),
            answer: Millis::from_secs(120),
            client_idle: Millis::from_secs(75),
            app_idle: Millis::from_secs(30),
            app_connections: 256,
            clients: 20_000,
            head_bytes: 64 << 10,
            body_bytes: None,
        }
    }
}
