//! One instance's agent: the engine, its seams and its API, on one thread.
//!
//! Laws: a signal, or any other end of the agent, touches neither gate nor app: the next one adopts them. The instance
//! itself ends only when the keeper's list of members says so, which an agent that was just restarted reads as well.

use super::board::WatchBoard;
use super::fleet::{LocalFleet, Sight};
use super::library::StoreLibrary;
use super::meter::LocalMeter;
use super::places::Places;
use super::probing::Probing;
use super::{Machine, runtime};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::store;
use everup_core::gate::Upstream;
use everup_core::ids::{InstanceId, StartId, Zone};
use everup_core::seams::{Clock, Journal};
use everup_core::time::Millis;
use everup_engine::identity::Identity;
use everup_engine::mailbox::{Call, INBOX, Inbox};
use everup_engine::{coordinator, instance};
use everup_host::clock::{KernelChance, TokioClock};
use everup_host::journal::FileJournal;
use everup_host::local::client::Keeper;
use everup_host::local::lock::Lock;
use everup_host::local::ports::Block;
use everup_host::proc::boot_id;
use everup_host::settings::{GateKind, Settings};
use everup_host::stage::Releases;
use everup_proxy::control::{Behind, Client, NewSlot, SlotGate};
use everup_web::client::Http;
use everup_web::clock::system;
use everup_web::keyring::Keyring;
use everup_web::peers::{HttpPeers, Resolve};
use everup_web::server::{self, Backend};
use everup_web::signing::{BadNonces, Nonces, Receiver, Use};
use futures_channel::{mpsc, oneshot};
use std::io::Error;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_local;

/// Before something that another process is still being started for is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// Before what this machine refuses (a file, a disk) is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Which instance, and what it is of.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Its name.
    pub id: InstanceId,
    /// Its zone.
    pub zone: Zone,
    /// Its ports.
    pub block: Block,
}

/// Runs an instance's agent until it is told to end, or the instance is.
///
/// # Errors
/// When it cannot begin: its files, its socket, its store.
pub async fn run(settings: Settings, seat: Seat, listener: TcpListener) -> Result<Exit, Failure> {
    let places = Places::of(&settings);
    let folder = places.instance(&seat.id);
    let clock = TokioClock::start();
    let _lock = begun("its lock", || Lock::take(&folder.join("agent.lock"), clock.wall())).await;
    let keyring = Arc::new(begun("the keys", || Keyring::open(&places.keys())).await);
    let who = identity(&settings, &seat);

    let balancer = Client::new(places.balancer().control);
    let keeper = Keeper::at(&places.run());
    let (sight, following) = Sight::follow(keeper.clone(), balancer.clone());
    spawn_local(following);
    let peers = HttpPeers::new(Http::new(Arc::clone(&keyring), system()), resolve(sight.clone()));
    let fleet = LocalFleet::new(slot(&settings, &seat), keeper, balancer.clone(), sight.clone());
    let probing = Probing::new(&settings).map_err(began)?;

    let store =
        begun("the store", || store::open(&settings).map_err(|failure| Error::other(failure.happened))).await;
    let releases = || Releases::open(&places.releases(), settings.environment.clone(), store.clone());
    let stage = begun("the releases", releases).await;
    let machine = Machine {
        peers: peers.clone(),
        fleet: fleet.clone(),
        gate: gate(&settings, &seat, &balancer),
        runtime: runtime::of(&settings, &seat.id, &seat.zone, seat.block, stage.pinned()),
        stage,
        journal: FileJournal::new(folder.join("journal.json")),
        meter: LocalMeter {
            me: seat.id.clone(),
            balancer,
            sight: sight.clone(),
            peers: peers.clone(),
            probing: probing.clone(),
            proxies: (settings.fleet.gate == GateKind::Proxy).then(|| places.clone()),
        },
        clock,
        chance: KernelChance,
        store: store.clone(),
    };

    let (inbox, calls) = mpsc::channel(INBOX);
    let (commands, orders) = mpsc::channel(INBOX);
    let (board, status) =
        WatchBoard::new(seat.id.clone(), settings.environment.clone(), settings.deploy.clone());
    let (stop, stopped) = watch::channel(false);
    let backend = Backend {
        me: Receiver::of(&who),
        inbox: inbox.clone(),
        commands: commands.clone(),
        status: status.clone(),
        library: Arc::new(StoreLibrary::new(store, &settings, probing.clone())),
        peers,
        nonces: begun("the nonces that were used", || nonces(&folder, &machine.clock)).await,
        keyring,
        policy: settings.deploy.clone(),
        clock: system(),
        stop: stopped.clone(),
    };
    let served = spawn_local(server::serve(listener, server::app(backend), stopped.clone()));
    spawn_local(probing.run(sight, status, stopped));

    let ready = async {
        ensure_slots(&fleet, &machine.gate, &seat).await;
        readable(&machine.journal).await;
    };
    let lives = async {
        ready.await;
        instance::run(&machine, &who, calls, &commands).await
    };
    tokio::select! {
        ended = lives => ended.map_err(|problem| began(problem.to_string()))?,
        () = coordinator::run(&machine, &who, orders, &board) => {}
        () = retire(&fleet, inbox, settings.deploy.drain) => tracing::info!("this instance has ended"),
        () = told() => tracing::info!("this agent ends; its app goes on"),
    }
    stop.send_replace(true);
    let _ = served.await;
    Ok(Exit::Done)
}

fn began(happened: String) -> Failure {
    Failure::new(Exit::Internal, "the agent could not begin", happened)
}

fn identity(settings: &Settings, seat: &Seat) -> Identity {
    Identity {
        id: seat.id.clone(),
        zone: seat.zone.clone(),
        environment: settings.environment.clone(),
        address: seat.block.api().to_string(),
        care: settings.care(),
        policy: settings.deploy.clone(),
    }
}

fn nonces(folder: &Path, clock: &TokioClock) -> Result<Nonces, BadNonces> {
    let of = Use { boot: boot_id().to_owned(), started: clock.wall() };
    Nonces::open(&folder.join("nonces"), &of)
}

/// Where an agent is, as the fleet says.
fn resolve(sight: Sight) -> Resolve {
    Arc::new(move |id| sight.now().members.members.get(id).map(|member| member.address.clone()))
}

/// The instance's slot in the balancer. With a proxy of its own the balancer sends to that, always; without, the slot
/// is the gate, and shut until it is told of an app.
fn slot(settings: &Settings, seat: &Seat) -> NewSlot {
    let start = || StartId::new(format!("proxy-of-{}", seat.id)).expect("an instance's id fits a start's");
    let (upstream, behind) = match settings.fleet.gate {
        GateKind::Slot => (None, Behind::App),
        GateKind::Proxy => (Some(Upstream { address: seat.block.proxy(), start: start() }), Behind::Proxy),
    };
    NewSlot { id: seat.id.clone(), zone: seat.zone.clone(), upstream, balanced: false, behind }
}

fn gate(settings: &Settings, seat: &Seat, balancer: &Client) -> SlotGate {
    match settings.fleet.gate {
        GateKind::Slot => balancer.gate(seat.id.clone()),
        GateKind::Proxy => Client::new(Places::of(settings).proxy(&seat.id).control).gate(seat.id.clone()),
    }
}

/// Makes the places for this instance in the balancer, and in its own proxy, as soon as those run. What is there
/// already stays as it is: so an agent's restart changes nothing.
async fn ensure_slots(fleet: &LocalFleet, gate: &SlotGate, seat: &Seat) {
    let own = NewSlot {
        id: seat.id.clone(),
        zone: seat.zone.clone(),
        upstream: None,
        balanced: true,
        behind: Behind::App,
    };
    while let Err(error) = fleet.ensure_slot().await {
        tracing::debug!("{error}");
        tokio::time::sleep(PAUSE).await;
    }
    // Where the gate is the balancer's slot, this is the same slot, which is there.
    while let Err(error) = gate.client().add_slot(&own).await {
        tracing::debug!("{error}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until `what` can be had: its disk may not be mounted, or be full, or a file's rights were changed. An agent that
/// ended instead would be started again and again, and given up with its instance, although its app serves.
async fn begun<T, E: std::error::Error>(what: &str, attempt: impl Fn() -> Result<T, E>) -> T {
    loop {
        match attempt() {
            Ok(had) => return had,
            Err(error) => tracing::error!("this agent cannot begin without {what}: {}", chain(&error)),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The same for the instance's memory.
async fn readable(journal: &FileJournal) {
    while let Err(problem) = journal.load().await {
        tracing::error!("this instance cannot be led: {problem}");
        tokio::time::sleep(AGAIN).await;
    }
}

/// Waits until the keeper ends this instance, then has it leave, drain and stop.
async fn retire(fleet: &LocalFleet, mut inbox: Inbox, drain: Millis) {
    fleet.told_to_end().await;
    let (reply, done) = oneshot::channel();
    let room = std::future::poll_fn(|context| inbox.poll_ready(context)).await;
    if room.and_then(|()| inbox.start_send(Call::Retire { within: drain, reply })).is_ok() {
        // Dropped without an answer only if the procedure has ended; then so has the instance.
        let _ = done.await;
    }
}

/// Waits for a signal to end.
async fn told() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => drop(terminate.recv().await),
        Err(error) => {
            tracing::warn!("TERM will end this agent without a word: {error}");
            std::future::pending::<()>().await;
        }
    }
}
