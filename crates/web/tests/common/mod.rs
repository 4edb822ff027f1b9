//! Agents on loopback sockets, each with an engine that only remembers what it was told.
#![expect(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use everup_core::gate::Passing;
use everup_core::head::Head;
use everup_core::ids::{DeploymentId, Fence, InstanceId, Term, WriteId};
use everup_core::instance::{Phase, View};
use everup_core::order::{Ack, Obeyed, Order};
use everup_core::receipt::Window;
use everup_core::record::{Record, Word};
use everup_core::release::{Digest, ReleaseRef};
use everup_core::status::{Line, Status};
use everup_core::time::Wall;
use everup_engine::mailbox::{Call, Command, Refused};
use everup_engine::prober::{Outcome, Sample, Samples};
use everup_web::client::{Client, Http};
use everup_web::clock::WallClock;
use everup_web::keyring::Keyring;
use everup_web::library::{Answer, Library};
use everup_web::peers::{HttpPeers, Resolve};
use everup_web::server::{Backend, app, serve};
use everup_web::signing::{Key, Nonces, Receiver};
use everup_web::wire::Published;
use futures_channel::mpsc;
use futures_util::future::FutureExt;
use futures_util::stream::StreamExt;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// No test waits longer for a fact.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The time at which all clocks of a test stand, unless it moves one.
pub const NOW: u64 = 1_764_000_000_000;

pub fn instance(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

pub fn release(version: &str) -> ReleaseRef {
    ReleaseRef { version: version.parse().unwrap(), manifest: Digest::new("a".repeat(64)).unwrap() }
}

pub fn key(name: &str) -> Key {
    Key::new(name, name.repeat(32).into_bytes())
}

/// A clock that a test can move.
#[derive(Clone)]
pub struct HandClock(Arc<AtomicU64>);

impl HandClock {
    pub fn at(ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(ms)))
    }

    pub fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }

    pub fn hand_in(&self) -> WallClock {
        let at = self.0.clone();
        Arc::new(move || Wall(at.load(Ordering::SeqCst)))
    }
}

/// Releases 1, which nobody knows how to start, 2, 2-rc1 and 10; these records.
struct Shelf(Vec<Record>);

impl Library for Shelf {
    fn versions(&self) -> Answer<'_, Vec<Published>> {
        let published = |version: &str| Published {
            release: release(version),
            at: Wall(NOW),
            bytes: 7,
            migration: None,
            starts: version != "1",
        };
        async move { Ok(["10", "2", "2-rc1", "1"].map(published).to_vec()) }.boxed()
    }

    fn records(&self, _most: usize) -> Answer<'_, Vec<Record>> {
        async { Ok(self.0.clone()) }.boxed()
    }

    fn record<'a>(&'a self, id: &'a DeploymentId) -> Answer<'a, Option<Record>> {
        async move { Ok(self.0.iter().find(|record| record.id == *id).cloned()) }.boxed()
    }

    fn probes(&self, window: Window) -> Answer<'_, Samples> {
        let Window { from: due, to: ended } = window;
        let sample = Sample { due, sent: due, ended, outcome: Outcome::Status(503) };
        async move { Ok(Samples { seen: vec![window], samples: vec![sample] }) }.boxed()
    }
}

/// What an agent's engine was told.
#[derive(Debug, Default)]
pub struct Told {
    pub greeted: Vec<(Term, InstanceId)>,
    pub orders: Vec<Order>,
    pub deployed: Vec<everup_core::head::Request>,
    pub said: Vec<Word>,
    pub pokes: usize,
    pub looks: usize,
}

/// What its engine answers to a command.
pub type Answers = Arc<dyn Fn() -> Option<Refused> + Send + Sync>;

/// A running agent.
pub struct Agent {
    pub id: InstanceId,
    pub address: String,
    pub told: Arc<Mutex<Told>>,
    pub status: watch::Sender<Arc<Status>>,
    pub clock: HandClock,
    pub stop: watch::Sender<bool>,
    pub served: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// How an agent is to be.
pub struct Options {
    pub keys: Vec<Key>,
    pub nonces: Nonces,
    pub refuse: Answers,
    pub records: Vec<Record>,
    /// Where the other agents are.
    pub addresses: Addresses,
}

pub type Addresses = Arc<Mutex<BTreeMap<InstanceId, String>>>;

impl Default for Options {
    fn default() -> Self {
        Self {
            keys: vec![key("a")],
            nonces: Nonces::in_memory(),
            refuse: Arc::new(|| None),
            records: Vec::new(),
            addresses: Addresses::default(),
        }
    }
}

pub fn status(me: &InstanceId) -> Status {
    Status {
        seq: 1,
        instance: me.clone(),
        environment: "production".parse().unwrap(),
        coordinator: Some(me.clone()),
        head: Some(Head::first(WriteId::new("w").unwrap())),
        record: None,
        desired: 2,
        instances: vec![Line {
            id: me.clone(),
            zone: "a".parse().unwrap(),
            address: "127.0.0.1:1".into(),
            phase: Some(Phase::Serving),
            release: Some(release("1")),
            in_service: true,
            waiting: None,
            problem: None,
        }],
        trouble: None,
    }
}

pub fn view(me: &InstanceId, seq: u64, fence: Fence) -> View {
    View {
        id: me.clone(),
        zone: "a".parse().unwrap(),
        run: 1,
        seq,
        fence,
        phase: Phase::Serving,
        waiting: None,
        release: Some(release("1")),
        running: true,
        doubled: false,
        done: Fence::default(),
        steady: false,
        staged: std::collections::BTreeSet::new(),
        gate: Passing::Open,
        idle: false,
        healthy: true,
        hold: None,
        problem: None,
        migration: None,
        deaths: 0,
        fetched: None,
        objects: None,
    }
}

impl Agent {
    pub fn start(name: &str) -> Self {
        Self::start_with(name, Options::default())
    }

    pub fn start_with(name: &str, options: Options) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), name, options)
    }

    /// On a listening socket that somebody keeps, as a keeper does.
    pub fn start_on(listener: TcpListener, name: &str, options: Options) -> Self {
        let id = instance(name);
        let address = listener.local_addr().unwrap().to_string();
        options.addresses.lock().unwrap().insert(id.clone(), address.clone());
        let told = Arc::new(Mutex::new(Told::default()));
        let (status, board) = watch::channel(Arc::new(status(&id)));
        let (stop, stopping) = watch::channel(false);
        let clock = HandClock::at(NOW);
        let keyring = Arc::new(Keyring::fixed(options.keys));
        let resolve = resolve(&options.addresses);
        let backend = Backend {
            me: Receiver { instance: id.clone(), environment: "production".parse().unwrap() },
            inbox: engine(id.clone(), told.clone()),
            commands: coordinator(told.clone(), options.refuse),
            status: board,
            library: Arc::new(Shelf(options.records)),
            peers: HttpPeers::new(Http::new(keyring.clone(), clock.hand_in()), resolve),
            keyring,
            nonces: options.nonces,
            policy: everup_core::policy::Policy::default(),
            clock: clock.hand_in(),
            stop: stopping.clone(),
        };
        let served = tokio::spawn(serve(listener, app(backend), stopping));
        Self { id, address, told, status, clock, stop, served }
    }

    /// A client for this very agent with these keys.
    pub fn client_with(&self, keys: Vec<Key>, clock: &HandClock) -> Client {
        http(keys, clock).client(&self.address, self.id.as_str())
    }

    pub fn client(&self) -> Client {
        self.client_with(vec![key("a")], &HandClock::at(NOW))
    }

    /// Changes the status as the engine would.
    pub fn change(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(|status| {
            let status = Arc::make_mut(status);
            status.seq += 1;
            change(status);
        });
    }
}

pub fn http(keys: Vec<Key>, clock: &HandClock) -> Http {
    Http::new(Arc::new(Keyring::fixed(keys)), clock.hand_in())
}

pub fn resolve(addresses: &Addresses) -> Resolve {
    let addresses = addresses.clone();
    Arc::new(move |id: &InstanceId| addresses.lock().unwrap().get(id).cloned())
}

fn engine(me: InstanceId, told: Arc<Mutex<Told>>) -> mpsc::Sender<Call> {
    let (sender, mut calls) = mpsc::channel(8);
    tokio::spawn(async move {
        let mut waiting = Vec::new();
        while let Some(call) = calls.next().await {
            let mut told = told.lock().unwrap();
            match call {
                Call::Greet { term, holder, reply } => {
                    told.greeted.push((term, holder));
                    let view = view(&me, 5, Fence::greeting(term));
                    let _ = reply.send(Ack { obeyed: Obeyed::Yes, view });
                }
                Call::Order { order, reply } => {
                    let view = view(&me, 6, order.fence);
                    told.orders.push(*order);
                    let _ = reply.send(Ack { obeyed: Obeyed::Yes, view });
                }
                Call::Watch { since, reply } if since < 7 => {
                    let _ = reply.send(view(&me, 7, Fence::default()));
                }
                // Nothing newer ever comes.
                Call::Watch { reply, .. } => waiting.push(reply),
                Call::Retire { reply, .. } => drop(reply),
            }
        }
    });
    sender
}

fn coordinator(told: Arc<Mutex<Told>>, refuse: Answers) -> mpsc::Sender<Command> {
    let (sender, mut commands) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(command) = commands.next().await {
            let mut told = told.lock().unwrap();
            match command {
                Command::Deploy { request, reply } => {
                    let answer = match refuse() {
                        Some(refused) => Err(refused),
                        None => Ok(DeploymentId::new(format!("d{}", told.deployed.len() + 1)).unwrap()),
                    };
                    told.deployed.push(*request);
                    let _ = reply.send(answer);
                }
                Command::Say { say, by, deployment, id, reply } => {
                    let deployment = deployment.unwrap_or_else(|| DeploymentId::new("d1").unwrap());
                    let word = Word { id: id.unwrap(), deployment, what: say, by, at: Wall(NOW) };
                    told.said.push(word.clone());
                    let _ = reply.send(refuse().map_or(Ok(word), Err));
                }
                Command::Poke => told.pokes += 1,
                Command::Look => told.looks += 1,
                Command::Resign | Command::Tried(_) => {}
            }
        }
    });
    sender
}

/// Waits for a fact that nobody tells.
pub async fn eventually(fact: impl Fn() -> bool) {
    let held = async {
        while !fact() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, held).await.expect("what was waited for");
}

/// One request, written by hand, and the whole answer.
pub async fn raw(address: &str, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an answer").unwrap();
    String::from_utf8(answer).unwrap()
}
