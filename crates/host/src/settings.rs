//! What everup.toml says, resolved: plain data with every default filled in, every path absolute.
//!
//! Whoever reads a file and tells a person what is wrong with it is elsewhere (the command line); here a value that
//! exists is one that can be used. The keeper hands it to its children as JSON, so both forms are the same data.

use everup_core::gate::HoldLimits;
use everup_core::ids::{Environment, Zone};
use everup_core::instance::Care;
use everup_core::policy::Policy;
use everup_core::time::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Everything that a machine has to know of one application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The application's name, for people.
    pub application: String,
    /// Which of its environments this is.
    pub environment: Environment,
    /// The folder of everup.toml; absolute.
    pub root: PathBuf,
    /// The state folder, `.everup` in it; absolute.
    pub state: PathBuf,
    /// How the app is run.
    pub app: App,
    /// How it is judged.
    pub health: Health,
    /// Where the service listens.
    pub listen: Listen,
    /// How many instances, and where.
    pub fleet: Fleet,
    /// What a deployment does unless its operator says otherwise; `hold` is the file's `[hold]`.
    pub deploy: Policy,
    /// Where releases and records are.
    pub store: Store,
    /// What the prober asks.
    pub prober: Prober,
    /// What is kept of the app's output.
    pub log: Log,
}

/// How the app is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Run by `/bin/sh -c` in the release's folder; a release that brings a command of its own overrides it.
    pub command: Option<String>,
    /// The user that it runs as; unset: the one that everup runs as.
    pub user: Option<String>,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
    /// From TERM to KILL.
    pub stop: Millis,
}

/// How an app is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What is asked.
    pub check: Check,
    /// A path whose answer has to contain the release's version.
    pub version_path: Option<String>,
    /// Between two checks of a serving app.
    pub interval: Millis,
    /// One check may take so long.
    pub deadline: Millis,
    /// So many in a row make a starting app healthy.
    pub successes: u32,
    /// So many failures in a row make a serving app ill.
    pub failures: u32,
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// GET a path; an answer from 200 to 299 passes.
    Http {
        /// The path, with its `/`.
        path: String,
        /// The Host header; unset: the app's own address.
        host: Option<String>,
        /// The X-Forwarded-Proto header, for apps that redirect plain HTTP.
        forwarded_proto: Option<String>,
    },
    /// The port accepts a connection.
    Tcp,
    /// A command, run as the app is; exit status 0 passes.
    Command(String),
}

/// Where the service listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// The embedded balancer's address.
    pub address: SocketAddr,
    /// The most bytes that a request's body may have; nothing: as many as the app takes.
    #[serde(default)]
    pub body: Option<u64>,
    /// Balancers before this one, whose word about who asks is believed.
    #[serde(default)]
    pub trusted: Vec<IpAddr>,
}

/// How many instances, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// At the first start; from then on what `everup scale` said last.
    pub desired: u32,
    /// Instances are spread over them evenly; never empty.
    pub zones: Vec<Zone>,
    /// What stands before each app.
    pub gate: GateKind,
}

/// What stands before each app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateKind {
    /// A slot in the embedded balancer: one hop.
    #[default]
    Slot,
    /// A proxy of its own, as on AWS: two hops.
    Proxy,
}

/// Where releases and records are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// A folder on this machine; absolute.
    Folder(PathBuf),
    /// A bucket.
    S3 {
        /// `s3://bucket/prefix`.
        url: String,
        /// Another server than Amazon's.
        endpoint: Option<String>,
        /// Its region.
        region: Option<String>,
    },
}

/// What the prober asks, through the balancer as a user would. Its answers make the receipt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prober {
    /// The path; unset: the health check's, or `/` where that asks none.
    pub path: Option<String>,
}

/// What is kept of the app's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// A file is rotated when it has so many bytes.
    pub size: u64,
    /// So many rotated files are kept beside the present one.
    pub keep: u32,
}

/// The name of the state folder beside everup.toml.
pub const STATE_FOLDER: &str = ".everup";

impl Settings {
    /// The defaults for an everup.toml in `root`.
    #[must_use]
    pub fn in_folder(root: &Path) -> Self {
        let state = root.join(STATE_FOLDER);
        Self {
            application: root.file_name().map_or_else(|| "app".into(), |n| n.to_string_lossy().into_owned()),
            environment: Environment::new("local").expect("a plain word is an environment"),
            store: Store::Folder(state.join("store")),
            root: root.to_owned(),
            state,
            app: App::default(),
            health: Health::default(),
            listen: Listen::default(),
            fleet: Fleet::default(),
            deploy: Policy::default(),
            prober: Prober::default(),
            log: Log::default(),
        }
    }

    /// What an instance's procedure has to know of them.
    #[must_use]
    pub fn care(&self) -> Care {
        Care {
            interval: self.health.interval,
            successes: self.health.successes,
            failures: self.health.failures,
            stop: self.app.stop,
            start: self.deploy.start,
            ..Care::default()
        }
    }

    /// What may wait at a gate.
    #[must_use]
    pub const fn hold(&self) -> HoldLimits {
        self.deploy.hold
    }

    /// The folder for sockets and what the keeper tells others.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.state.join("run")
    }
}

impl Default for Settings {
    /// In the root of the file system; for tests and for struct updates.
    fn default() -> Self {
        Self { application: "app".to_owned(), ..Self::in_folder(Path::new("/")) }
    }
}

impl Default for App {
    fn default() -> Self {
        Self { command: None, user: None, env: BTreeMap::new(), stop: Millis::from_secs(30) }
    }
}

impl Default for Health {
    /// An app that accepts connections on its port; checked each second.
    fn default() -> Self {
        Self {
            check: Check::Tcp,
            version_path: None,
            interval: Millis::from_secs(1),
            deadline: Millis::from_secs(5),
            successes: 1,
            failures: 3,
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        Self { address, body: None, trusted: Vec::new() }
    }
}

impl Default for Fleet {
    fn default() -> Self {
        let zone = |name: &str| Zone::new(name).expect("a letter is a zone");
        Self { min: 1, max: 8, desired: 2, zones: vec![zone("a"), zone("b")], gate: GateKind::Slot }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { size: 10_000_000, keep: 3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_way_to_a_child() {
        let settings = Settings::in_folder(Path::new("/srv/shop"));
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
        assert_eq!(settings.application, "shop");
        assert_eq!(settings.run(), Path::new("/srv/shop/.everup/run"));
    }
}
