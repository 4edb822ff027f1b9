//! When a fleet that is being started is ready: its agents answer, and what is wanted is in service.

use super::fleet::Sight;
use super::places::Places;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Out;
use crate::store::{self, Told};
use everup_core::fleet::Members;
use everup_core::head::{Head, head_key};
use everup_core::ids::DeploymentId;
use everup_core::release::ReleaseRef;
use everup_core::seams::{Got, Store};
use everup_core::words;
use everup_host::local::client::Keeper;
use everup_host::settings::Settings;
use everup_proxy::control::Client;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An agent that does not answer within this is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two questions to an agent that hung up: it has just died, and is being started again.
const PAUSE: Duration = Duration::from_millis(100);
/// All instances are there and answer within this, or something keeps them from it.
pub const GATHERING: Duration = Duration::from_secs(30);
/// Whoever was told that the fleet is ready has only to hear it.
const HEARING: Duration = Duration::from_secs(5);

/// What there is once the fleet is ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    /// The API of one of the agents.
    pub api: Option<String>,
    /// The release that is wanted, if one was ever deployed.
    pub release: Option<ReleaseRef>,
    /// The deployment that runs, and goes on now.
    pub deployment: Option<DeploymentId>,
    /// How many instances there are.
    pub instances: usize,
    /// How many there should be.
    pub desired: usize,
    /// How many of them the balancer sends to.
    pub in_service: usize,
    /// Why it is not known what was deployed, if that is so.
    pub unknown: Option<Failure>,
}

impl Ready {
    /// "1 of 2 instances", if some are missing.
    #[must_use]
    pub fn short(&self) -> Option<String> {
        let Self { instances, desired, .. } = self;
        (instances < desired).then(|| format!("{instances} of {}", words::count(*desired, "instance")))
    }

    /// What is wrong with a fleet that is there.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.unknown.as_ref().map(|failure| format!("{}; {}", failure.happened, failure.wanted))
    }
}

/// Waits until there are as many instances as there should be, every agent answers, and, if a release is wanted, until
/// the balancer sends to all of them. What does not come within its time is not waited for: then there is less, and the
/// present state is said as it is. `out` is told of a store that is waited for.
pub async fn wait(settings: &Settings, out: Out) -> Ready {
    look(settings, out, GATHERING, settings.deploy.start.as_duration()).await
}

/// What there is, of a fleet of which somebody else has waited that it is ready.
pub async fn now(settings: &Settings, out: Out) -> Ready {
    look(settings, out, HEARING, HEARING).await
}

async fn look(settings: &Settings, out: Out, gathering: Duration, serving: Duration) -> Ready {
    let places = Places::of(settings);
    let (fleet, following) = Sight::follow(Keeper::at(&places.run()), Client::new(places.balancer().control));
    let ready = async {
        let _ = timeout(gathering, gathered(&fleet)).await;
        let head = head(settings, out).await;
        if head.as_ref().is_ok_and(|head| head.as_ref().is_some_and(|head| head.newcomers.is_some())) {
            let _ = timeout(serving, fleet.until(all_serve)).await;
        }
        describe(&fleet.now().members, head)
    };
    tokio::select! {
        ready = ready => ready,
        () = following => Ready::default(),
    }
}

async fn gathered(fleet: &Sight) {
    let members = fleet.until(|members| members.members.len() >= members.desired as usize).await;
    for member in members.members.values() {
        answers(&member.address).await;
    }
}

fn all_serve(members: &Members) -> bool {
    members.members.values().all(|member| member.balanced || member.terminating)
}

fn describe(members: &Members, head: Result<Option<Head>, Failure>) -> Ready {
    let (head, unknown) = match head {
        Ok(head) => (head, None),
        Err(failure) => (None, Some(failure)),
    };
    let (release, current) = head.map_or((None, None), |head| (head.newcomers, head.current));
    Ready {
        api: members.members.values().next().map(|member| member.address.clone()),
        release,
        deployment: current.map(|current| current.id),
        instances: members.members.len(),
        desired: members.desired as usize,
        in_service: members.members.values().filter(|member| member.balanced).count(),
        unknown,
    }
}

/// Waits until the agent at `address` answers. Its socket takes connections before it runs: so the wait is for the
/// answer, and nobody polls.
async fn answers(address: &str) {
    while timeout(PATIENCE, healthz(address)).await.is_ok_and(|answer| answer.is_err()) {
        tokio::time::sleep(PAUSE).await;
    }
}

async fn healthz(address: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.read_u8().await.map(drop)
}

/// What is written of the release that is wanted, and of the deployment that runs.
async fn head(settings: &Settings, out: Out) -> Result<Option<Head>, Failure> {
    let key = head_key(&settings.environment);
    let closed = |failure: Failure| {
        let happened = format!("{}: {}", failure.wanted, failure.happened);
        Failure { wanted: UNKNOWN.to_owned(), happened, ..failure }
    };
    let silent = |error| store::unreachable(UNKNOWN, format!("the store does not answer: {error}"));
    let store = Told::open(settings, out).await.map_err(closed)?;
    match store.get(&key, None).await.map_err(silent)? {
        Got::Found { body, .. } => {
            let other = |error| format!("{key} is not of this version of everup: {error}");
            serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| Failure::new(Exit::Internal, UNKNOWN, other(error)))
        }
        Got::Missing | Got::Unchanged => Ok(None),
    }
}

const UNKNOWN: &str = "what was deployed is not known";
