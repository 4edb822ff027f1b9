//! The part of an agent that can coordinate: start a deployment, lead it, watch another's lease and take over.
//!
//! There is no master. Whoever holds the lease in head leads; every taking raises the term, and a new coordinator
//! stamps its term into the record and greets the instances before it acts, so that an older one that wakes can do
//! no harm.

mod begin;
mod finish;
mod keep;
mod lead;
mod mirror;
mod observe;
mod spoil;
mod stopwatch;
mod trial;
mod watch;

use crate::identity::Identity;
use crate::mailbox::{Board, Command, Refused};
use crate::object::Object;
use begin::Begun;
use everup_core::head::Head;
use everup_core::record::{Record, record_key};
use everup_core::seams::{Clock, Seams};
use everup_core::status::Status;
use everup_core::time::{Millis, Mono};
use futures_channel::mpsc;
use futures_util::{FutureExt, StreamExt, pin_mut, select_biased};
use keep::HeadKeeper;
use mirror::Mirror;
use observe::Observer;
use trial::Trial;
use watch::{Lease, Next};

/// How long a lease lasts in the eyes of a watcher who sees no beat.
pub const LEASE: Millis = Millis(10_000);
/// The same from hold to start of an all-at-once deployment: what waits at the gates cannot wait long.
pub const LEASE_HELD: Millis = Millis(5_000);
/// Somebody who looks at the fleet keeps the board fresh for so long.
const INTEREST: Millis = Millis(30_000);

pub(crate) struct Agent<'a, S: Seams, B: Board> {
    pub(crate) seams: &'a S,
    pub(crate) who: &'a Identity,
    pub(crate) board: &'a B,
    /// The last record that was seen, for the board.
    pub(crate) record: Option<Record>,
    pub(crate) seq: u64,
    /// What its own instance made of a release that nobody had proven.
    trial: Trial,
    mirror: Mirror,
}

/// Lives as this agent's coordinator, until the commands' sender is gone.
pub async fn run<S: Seams, B: Board>(
    seams: &S,
    who: &Identity,
    mut commands: mpsc::Receiver<Command>,
    board: &B,
) {
    let mut agent =
        Agent { seams, who, board, record: None, seq: 0, trial: Trial::default(), mirror: Mirror::default() };
    let mut idle =
        Idle { lease: Lease::new(who), next_look: Mono::default(), observer: None, interest: None };
    loop {
        if seams.clock().mono() >= idle.next_look {
            match idle.lease.look(seams, who).await {
                Next::Lead(head) => {
                    agent.lead_from(*head, &mut idle, &mut commands).await;
                    continue;
                }
                Next::LookAgain(pause) => idle.next_look = seams.clock().mono() + idle.at_most(pause),
            }
            agent.read_record(&idle).await;
            agent.mirror.look(seams, who, idle.lease.object().map(|head| &head.value)).await;
            if let Some(head) = agent.judge_trial(&mut idle).await {
                agent.lead_from(head, &mut idle, &mut commands).await;
                continue;
            }
        }
        agent.show_idle(&idle);
        match idle.next(seams, &mut commands).await {
            News::Closed => return,
            News::Nothing => {}
            News::Command(command) => agent.obey(command, &mut idle, &mut commands).await,
        }
    }
}

/// An agent that does not lead.
struct Idle<'a, S: Seams> {
    lease: Lease,
    /// When head is due to be read again.
    next_look: Mono,
    /// Only while somebody is interested.
    observer: Option<Observer<'a, S>>,
    interest: Option<Mono>,
}

enum News {
    Closed,
    Nothing,
    Command(Command),
}

impl<'a, S: Seams> Idle<'a, S> {
    async fn next(&mut self, seams: &'a S, commands: &mut mpsc::Receiver<Command>) -> News {
        if self.interest.is_some_and(|until| seams.clock().mono() > until) {
            (self.interest, self.observer) = (None, None);
        }
        let timer = seams.clock().until(self.next_look).fuse();
        let seen = next_sight(self.observer.as_mut()).fuse();
        pin_mut!(timer, seen);
        select_biased! {
            command = commands.next() => command.map_or(News::Closed, News::Command),
            () = seen => News::Nothing,
            () = timer => News::Nothing,
        }
    }

    /// Whoever looks at the fleet sees through this agent what becomes of head. A coordinator may have been lost before
    /// it told anybody that it leads: then this is also who notices.
    fn at_most(&self, pause: Millis) -> Millis {
        if self.interest.is_some() { Millis(pause.0.min(LEASE.0 / 4)) } else { pause }
    }

    fn be_interested(&mut self, seams: &'a S, who: &'a Identity) {
        if self.interest.replace(seams.clock().mono() + INTEREST).is_none() {
            self.next_look = Mono::default();
        }
        self.observer.get_or_insert_with(|| Observer::looking(seams, who));
    }
}

async fn next_sight<S: Seams>(observer: Option<&mut Observer<'_, S>>) {
    match observer {
        Some(observer) => observer.next().await,
        None => std::future::pending().await,
    }
}

impl<'a, S: Seams, B: Board> Agent<'a, S, B> {
    async fn obey(
        &mut self,
        command: Command,
        idle: &mut Idle<'a, S>,
        commands: &mut mpsc::Receiver<Command>,
    ) {
        // Whoever asked may go; what was decided stands.
        match command {
            Command::Poke => idle.next_look = Mono::default(),
            Command::Look => idle.be_interested(self.seams, self.who),
            Command::Tried(tried) => {
                self.trial.note(tried);
                idle.next_look = Mono::default();
            }
            Command::Resign => idle.lease.resign(),
            Command::Deploy { reply, .. } if idle.lease.has_resigned() => {
                let _ = reply.send(Err(Refused::Ending));
            }
            Command::Say { say, by, deployment, id, reply } => {
                let _ = reply.send(self.say(say, by, deployment, id).await);
            }
            Command::Deploy { request, reply } => {
                match self.begin(&request, || reply.is_canceled(), |_| true).await {
                    Err(refused) => {
                        let _ = reply.send(Err(refused));
                    }
                    Ok(Begun::Over(id)) => {
                        let _ = reply.send(Ok(id));
                    }
                    Ok(Begun::Runs(head)) => {
                        let id = head.value.current.as_ref().map(|current| current.id.clone());
                        let _ = reply.send(id.ok_or(Refused::NothingRuns));
                        if Lease::is_mine(&head.value, self.who) {
                            self.lead_from(*head, idle, commands).await;
                        }
                    }
                }
            }
        }
    }

    async fn lead_from(
        &mut self,
        head: HeadObject,
        idle: &mut Idle<'a, S>,
        commands: &mut mpsc::Receiver<Command>,
    ) {
        idle.observer = None;
        if self.lead(head, commands).await.is_break() {
            idle.lease.resign();
        }
        idle.lease.forget();
        idle.next_look = Mono::default();
    }

    /// The record of the deployment that another one leads, for the board; or how the one ended that was seen last.
    async fn read_record(&mut self, idle: &Idle<'a, S>) {
        let current = idle.lease.head().and_then(|head| head.current.as_ref()).map(|current| &current.id);
        let open = self.record.as_ref().filter(|record| !record.state.is_final()).map(|record| &record.id);
        let Some(id) = current.or(open) else { return };
        let key = record_key(&self.who.environment, id);
        if let Ok(Some(record)) = crate::object::read::<Record>(self.seams, &key).await {
            self.record = Some(record.value);
        }
    }

    /// What this agent knows while another one leads, or nobody does.
    fn show_idle(&mut self, idle: &Idle<'a, S>) {
        let trouble = idle.lease.trouble(self.seams.clock().mono());
        self.show(idle.lease.head().cloned(), idle.observer.as_ref(), trouble);
    }

    pub(crate) fn show(
        &mut self,
        head: Option<Head>,
        observer: Option<&Observer<'_, S>>,
        trouble: Option<String>,
    ) {
        self.seq += 1;
        let (desired, instances) = observer.map_or_else(|| (0, Vec::new()), Observer::lines);
        self.board.show(Status {
            seq: self.seq,
            instance: self.who.id.clone(),
            environment: self.who.environment.clone(),
            coordinator: head.as_ref().and_then(|head| head.lease.as_ref()).map(|lease| lease.holder.clone()),
            head,
            record: self.record.clone(),
            desired,
            instances,
            trouble,
        });
    }
}

pub(crate) type HeadObject = Object<Head>;
pub(crate) type Keeper<'a, S> = HeadKeeper<'a, S>;
