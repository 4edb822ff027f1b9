//! `everup proxy`: the balancer, or the proxy before one app; started by the keeper. Its listening socket is
//! descriptor 0.

use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::wire_up::places::Places;
use everup_core::ids::{InstanceId, Zone};
use everup_host::local;
use everup_host::settings::{Check, Health, Settings};
use everup_proxy::{Ask, Config, Role};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

/// Arguments of `everup proxy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The settings, as the keeper resolved them
    #[arg(long, value_name = "FILE")]
    pub settings: PathBuf,
    /// Before which instance's app; unset: it is the balancer
    #[arg(long, value_name = "ID")]
    pub instance: Option<InstanceId>,
    /// That instance's zone
    #[arg(long, value_name = "ZONE", requires = "instance")]
    pub zone: Option<Zone>,
    /// The first of that instance's ports
    #[arg(long, value_name = "PORT", requires = "instance")]
    pub port: Option<u16>,
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(args: &Args, _context: &Context) -> Result<Exit, Failure> {
    let settings = read_settings(&args.settings)?;
    let places = Places::of(&settings);
    let (config, own) = match &args.instance {
        None => (balancer(&settings), places.balancer()),
        Some(id) => (before_app(&settings), places.proxy(id)),
    };
    let listener = inherited()?;
    let failed = |error| Failure::new(Exit::Internal, "the proxy could not run", chain(&error));
    block_on(async { everup_proxy::run(config, listener, own).await.map_err(failed) })?;
    Ok(Exit::Done)
}

fn balancer(settings: &Settings) -> Config {
    Config {
        role: Role::Balancer,
        check: check(&settings.health),
        limits: settings.hold(),
        body_bytes: settings.listen.body,
        trusted: settings.listen.trusted.clone(),
        ..Config::default()
    }
}

/// Only the balancer talks to it, whose word about the client is believed.
fn before_app(settings: &Settings) -> Config {
    let trusted = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    Config {
        role: Role::Proxy,
        check: check(&settings.health),
        limits: settings.hold(),
        trusted,
        ..Config::default()
    }
}

/// How the app is asked while it serves. A command has to be run as the app is, which only its agent can.
fn check(health: &Health) -> Option<everup_proxy::Check> {
    let ask = match &health.check {
        Check::Command(_) => return None,
        Check::Tcp => Ask::Tcp,
        Check::Http { path, host, forwarded_proto } => {
            Ask::Http { path: path.clone(), host: host.clone(), forwarded_proto: forwarded_proto.clone() }
        }
    };
    let &Health { interval, deadline, successes, failures, .. } = health;
    Some(everup_proxy::Check { ask, interval, deadline, successes, failures })
}

/// Reads what the keeper wrote.
pub(super) fn read_settings(path: &Path) -> Result<Settings, Failure> {
    let wanted = || format!("the settings in {} could not be used", path.display());
    let text = fs::read(path).map_err(|error| Failure::input(wanted(), error))?;
    serde_json::from_slice(&text).map_err(|error| Failure::input(wanted(), error))
}

/// The socket that the keeper gave, as descriptor 0; and a session of our own, so that this process neither gets the
/// signals of the keeper's terminal nor ends with it. Descriptor 0 stays open: by it a later keeper finds the socket.
pub(super) fn inherited() -> Result<TcpListener, Failure> {
    let refused = |error| {
        let happened = format!("descriptor 0 is no listening socket ({error})");
        Failure::input("this mode is started by `everup up` only", happened)
    };
    local::own_session();
    local::may_be_adopted();
    local::sockets::inherited().map_err(refused)
}
