//! The keeper's loop: an event, what it changes, what is to be done, doing it.
//!
//! Laws: whatever is told to others is on disk before; a child is noted as soon as it runs, and one that was not
//! noted in time is found again by its port; the keeper may be killed at any moment and started again.

mod adopt;
mod asked;
mod interrupts;
mod steps;

use super::children::{Children, Ended};
use super::files::{self, FileError};
use super::house::House;
use super::ledger::{FILE, FORM, Ledger};
use super::lock::{Lock, LockError};
use super::plan::{Plan, Present, Step, Wanted, plan};
use super::prepare;
use super::server::{self, Asked, Desk};
use super::sockets::{ListenError, Sockets};
use super::wire::{Answer, Fleet};
use crate::settings::{GateKind, Settings};
use everup_core::ids::InstanceId;
use everup_core::seams::Clock;
use everup_core::time::{Millis, Mono, Wall};
use interrupts::Interrupts;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, spawn_local};

/// Events that wait for the loop.
const EVENTS: usize = 64;

/// Before a save that failed (a full disk) is tried again.
const SAVE_AGAIN: Millis = Millis(1_000);

/// The longest name of a Unix socket, in bytes, without the NUL at its end.
const SOCKET_NAME: usize = 107;

/// Why a fleet cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Somebody else does, or the lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The service's address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A control socket's name would be longer than the kernel takes.
    #[error(
        "{} has {} bytes, and the name of a socket may have {SOCKET_NAME} at most; move the folder to a shorter path",
        .0.display(), .0.as_os_str().len()
    )]
    TooDeep(PathBuf),
    /// The system gave no signal handler or the like.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// A fleet that is kept.
pub struct Keeping<H, C> {
    house: Rc<H>,
    clock: C,
    settings: Settings,
    since: Wall,
    ledger: Ledger,
    saved: Ledger,
    present: Present,
    children: Children,
    sockets: Sockets,
    fleet: watch::Sender<Arc<Fleet>>,
    inlets: Inlets,
    /// Answers that go out once what they say is on disk.
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    server: AbortHandle,
    /// Instances that get no time to end.
    hasty: BTreeSet<InstanceId>,
    /// Nothing gets time to end.
    at_once: bool,
    _lock: Lock,
}

/// Where events come from.
struct Inlets {
    ended: mpsc::Receiver<Ended>,
    asked: mpsc::Receiver<Asked>,
    swept: mpsc::Receiver<InstanceId>,
    sweeper: mpsc::Sender<InstanceId>,
}

/// Something happened.
#[derive(Debug)]
enum Event {
    Ended(Ended),
    Asked(Asked),
    Swept(InstanceId),
    /// The operator wants it to end; the second time at once.
    Interrupted,
    /// The moment came that the plan was waiting for.
    Due,
}

impl<H: House + 'static, C: Clock> Keeping<H, C> {
    /// Takes the fleet of `settings`: its folder, its lock, its socket, and whatever an earlier keeper left running.
    /// Has to be called, and run, within a [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// When another keeper has it, a file cannot be used, or the service's port is taken.
    pub fn take(settings: Settings, house: H, clock: C) -> Result<Self, KeepError> {
        let run = settings.run();
        short_enough(&settings)?;
        prepare(&settings)?;
        let lock = Lock::take(&run.join("keeper.lock"), clock.wall())?;
        raise_limits();
        let ledger = adopt::load(&settings)?;
        let (ended_in, ended) = mpsc::channel(EVENTS);
        let (asked_in, asked) = mpsc::channel(EVENTS);
        let (sweeper, swept) = mpsc::channel(EVENTS);
        let (fleet, watched) = watch::channel(Arc::default());
        let listener = server::open(&run.join("keeper.sock"))?;
        let server = spawn_local(server::serve(listener, Desk { asked: asked_in, fleet: watched }));
        let mut keeping = Self {
            house: Rc::new(house),
            since: clock.wall(),
            clock,
            settings,
            saved: Ledger::default(),
            ledger,
            present: Present::default(),
            children: Children::new(ended_in),
            sockets: Sockets::default(),
            fleet,
            inlets: Inlets { ended, asked, swept, sweeper },
            answers: Vec::new(),
            server: server.abort_handle(),
            hasty: BTreeSet::new(),
            at_once: false,
            _lock: lock,
        };
        keeping.adopt();
        keeping.open_service()?;
        keeping.tell()?;
        Ok(keeping)
    }

    /// Keeps it until it is told to end it, and nothing is left.
    ///
    /// # Errors
    /// When it cannot hear of signals, or its end cannot be written down.
    pub async fn run(mut self) -> Result<(), KeepError> {
        let mut interrupts = Interrupts::new()?;
        loop {
            let (finished, wake) = self.act();
            if finished {
                return self.leave();
            }
            let event = self.next(&mut interrupts, wake).await;
            self.handle(event);
        }
    }

    /// Does what the plan says until it says nothing new.
    fn act(&mut self) -> (bool, Option<Mono>) {
        loop {
            let now = self.clock.mono();
            let Plan { steps, wake } = plan(&self.ledger, &self.present, &self.wanted(), now);
            let nothing_new = steps.is_empty();
            for step in steps {
                if step == Step::Finish {
                    return (true, None);
                }
                self.carry_out(step, now);
            }
            if let Err(error) = self.tell() {
                // A keeper that ended for that would leave the dead dead. Nobody is told what is not written down.
                tracing::error!("the fleet goes on, but its state cannot be saved: {error}");
                let again = now + SAVE_AGAIN;
                return (false, Some(wake.map_or(again, |wake| wake.min(again))));
            }
            if nothing_new {
                return (false, wake);
            }
        }
    }

    fn wanted(&self) -> Wanted {
        let fleet = &self.settings.fleet;
        let desired = self.ledger.desired.unwrap_or(fleet.desired).clamp(fleet.min, fleet.max);
        Wanted { desired, zones: fleet.zones.clone(), proxies: fleet.gate == GateKind::Proxy }
    }

    async fn next(&mut self, interrupts: &mut Interrupts, wake: Option<Mono>) -> Event {
        let due = async {
            match wake {
                Some(at) => self.clock.until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(ended) = self.inlets.ended.recv() => Event::Ended(ended),
            Some(id) = self.inlets.swept.recv() => Event::Swept(id),
            Some(asked) = self.inlets.asked.recv() => Event::Asked(asked),
            () = interrupts.next() => Event::Interrupted,
            () = due => Event::Due,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Ended(ended) => self.ended(&ended),
            Event::Swept(id) => self.swept(&id),
            Event::Asked(Asked { ask, reply }) => {
                let answer = self.asked(ask);
                self.answers.push((reply, answer));
            }
            Event::Interrupted => self.interrupted(),
            Event::Due => {}
        }
    }

    fn told(&self) -> Fleet {
        Fleet { form: FORM, members: self.ledger.members(self.wanted().desired) }
    }

    /// Saves what changed, then shows it to those who wait. That something was done is not said before it is saved.
    fn tell(&mut self) -> Result<(), KeepError> {
        let saved = if self.ledger == self.saved { Ok(()) } else { self.save() };
        for (reply, answer) in std::mem::take(&mut self.answers) {
            if saved.is_err() && matches!(answer, Answer::Done) {
                self.answers.push((reply, answer));
                continue;
            }
            // One who left does not want to know.
            let _ = reply.send(answer);
        }
        saved
    }

    fn save(&mut self) -> Result<(), KeepError> {
        let run = self.settings.run();
        files::replace(&run.join(FILE), &self.ledger)?;
        if self.ledger.seq != self.saved.seq {
            let fleet = self.told();
            files::replace(&run.join("fleet.json"), &fleet)?;
            self.fleet.send_replace(Arc::new(fleet));
        }
        self.saved = self.ledger.clone();
        Ok(())
    }

    /// Leaves nothing behind but what the next `up` has to know.
    fn leave(mut self) -> Result<(), KeepError> {
        self.ledger.closing = false;
        self.ledger.balancer = None;
        self.ledger.desired = None;
        self.ledger.seq += 1;
        self.tell()?;
        self.server.abort();
        match std::fs::remove_file(self.settings.run().join("keeper.sock")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Refuses a folder in which the longest of the control sockets' names would not fit.
fn short_enough(settings: &Settings) -> Result<(), KeepError> {
    let longest = settings.state.join("instances/i99999/proxy.sock");
    if longest.as_os_str().len() <= SOCKET_NAME { Ok(()) } else { Err(KeepError::TooDeep(longest)) }
}

/// A held request is a socket: as many as the system allows, for the keeper's children too.
fn raise_limits() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}
