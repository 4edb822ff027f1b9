//! The runtime `process`: an app is a command, its port given as `$PORT`.

use super::arrivals::Minder;
use super::check::Proofs;
use super::launch::launch;
use super::wait::{DYING, ended, kill_marked};
use super::{Releases, Setup};
use crate::adopt::{Standing, mark, standing};
use crate::logs::last_lines_from;
use crate::minder::{Answer, Charge, Duty, Ended, How, LogTo, State, is_stopping, order_stop};
use crate::proc::{Identity, Listener, all, listening_on, memory_allows_overlap, sockets_of};
use everup_core::ids::StartId;
use everup_core::instance::{Exit, Found, Health, Outcome, Problem, Run, Running, Slot};
use everup_core::release::ReleaseRef;
use everup_core::seams::Runtime;
use everup_core::time::Millis;
use rustix::process::Signal;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// A minder kills at the deadline; if it has not ended so long after it, it does not work any more.
const GRACE: Duration = Duration::from_secs(15);

/// An instance's app as processes of this machine, each start under a minder.
pub struct ProcessRuntime {
    pub(super) setup: Setup,
    pub(super) releases: Box<dyn Releases>,
    pub(super) proofs: Proofs,
    /// Minders that we started and have not reaped.
    pub(super) minders: RefCell<Vec<Minder>>,
}

impl ProcessRuntime {
    /// A runtime of what `setup` says. Nothing is started, read or made yet.
    #[must_use]
    pub fn new(setup: Setup, releases: Box<dyn Releases>) -> Self {
        Self { setup, releases, proofs: Proofs::default(), minders: RefCell::default() }
    }

    /// The state of `running`'s start, if the place still has it.
    pub(super) fn state(&self, running: &Running) -> Option<State> {
        State::read(&self.setup.state_of(running.slot)).filter(|state| state.start == running.upstream.start)
    }

    /// Gives a charge to a new minder.
    pub(super) async fn charge(&self, name: &str, charge: &Charge) -> Answer {
        self.reap();
        let follower = Rc::new(());
        let minder = |child| Minder::new(child, charge.start.clone(), charge.state.clone(), &follower);
        let keep = |child| self.minders.borrow_mut().push(minder(child));
        let answer = launch(&self.setup.minder, name, charge, keep).await;
        answer.unwrap_or_else(|error| Answer::Refused { reason: error.to_string() })
    }

    /// Takes the exit status of minders that ended, so that nothing is left of them.
    pub(super) fn reap(&self) {
        self.minders.borrow_mut().retain_mut(Minder::runs);
    }

    /// Frees `slot` of whatever an earlier start left there.
    async fn clear(&self, slot: Slot) {
        let Some(state) = State::read(&self.setup.state_of(slot)) else { return };
        match (standing(&state), state.running()) {
            (Standing::Minded, Some(running)) => {
                self.stop(&running, self.setup.app.stop).await;
            }
            (Standing::Lost, _) => {
                self.bury(state, slot).await;
            }
            _ => {}
        }
    }

    /// What an app leaves whose minder was killed: its processes are ended, and its state says so. One failure,
    /// and not two owners of one port.
    async fn bury(&self, mut state: State, slot: Slot) -> Ended {
        // One that is dying has lost its name already, and still holds its place.
        if !matches!(timeout(DYING, ended(&state.minder)).await, Ok(Ok(()))) {
            tracing::warn!("the minder {} of {} was killed and does not end", state.minder.pid, state.start);
        }
        let killed = kill_marked(&mark(&state), state.minder.pid).await;
        let how = How::Unseen("its minder was killed".to_owned());
        let ended = Ended { how, log: self.last_words(&state, slot), killed };
        state.ended = Some(ended.clone());
        if let Err(error) = state.write(&self.setup.state_of(slot)) {
            // It is found dead again next time, and then has nothing left to kill.
            tracing::warn!("{error}: {}", error.source);
        }
        ended
    }

    /// The last lines that this start wrote.
    pub(super) fn last_words(&self, state: &State, slot: Slot) -> Vec<String> {
        last_lines_from(&self.setup.log_of(slot), state.place.as_ref().map_or(0, |place| place.log_from))
    }

    /// How `running` ended, when its minder has.
    async fn end_of(&self, running: &Running) -> Exit {
        self.reap();
        let Some(state) = self.state(running) else { return not_there() };
        match standing(&state) {
            Standing::Ended => exit_of(state.ended.unwrap_or_else(|| unreachable!("standing saw an end"))),
            Standing::Rebooted => Exit { how: "the machine was restarted".to_owned(), ..not_there() },
            Standing::Minded | Standing::Lost => exit_of(self.bury(state, running.slot).await),
        }
    }

    fn charge_for(&self, release: &ReleaseRef, slot: Slot, start: &StartId) -> Result<Charge, Problem> {
        let own = || self.setup.app.command.clone();
        let command = self.releases.command(release).map(|command| command.0).or_else(own);
        let missing = "neither the release nor [app] in everup.toml has a command: set `command`";
        let command = command.ok_or_else(|| Problem::new("start", missing))?;
        let port = self.setup.port(slot);
        let (log, stop) = (&self.setup.log, self.setup.app.stop);
        let mut env = self.env_of(release);
        env.insert("PORT".to_owned(), port.to_string());
        Ok(Charge {
            start: start.clone(),
            duty: Duty::App { slot, release: release.clone(), port, stop },
            command,
            folder: self.releases.folder(release),
            env,
            user: self.setup.app.user.clone(),
            state: self.setup.state_of(slot),
            log: LogTo { path: self.setup.log_of(slot), size: log.size, keep: log.keep },
        })
    }

    /// The variables of an app and of a migration; ours cannot be set to something else.
    pub(super) fn env_of(&self, release: &ReleaseRef) -> BTreeMap<String, String> {
        let setup = &self.setup;
        let mut env = setup.app.env.clone();
        env.extend(self.releases.env(release));
        let ours = [
            ("EVERUP_VERSION", release.version.to_string()),
            ("EVERUP_INSTANCE", setup.instance.to_string()),
            ("EVERUP_ZONE", setup.zone.to_string()),
            ("EVERUP_ENVIRONMENT", setup.environment.to_string()),
            ("EVERUP_RELEASE", self.releases.folder(release).display().to_string()),
            ("EVERUP_DATA", setup.data().display().to_string()),
        ];
        env.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        env
    }
}

impl Runtime for ProcessRuntime {
    async fn start(&self, release: &ReleaseRef, slot: Slot, start: &StartId) -> Result<Running, Problem> {
        let slot = self.usable(slot, start).await;
        match self.start_once(release, slot, start).await {
            // A start that was given up may have been under way, and has the place now.
            Err(_) if self.is_minded(slot) => self.start_once(release, slot, start).await,
            answer => answer,
        }
    }

    async fn stop(&self, running: &Running, deadline: Millis) -> Exit {
        let Some(state) = self.state(running) else { return not_there() };
        if standing(&state) == Standing::Minded {
            let ordered = order_stop(&self.setup.state_of(running.slot), &state.start, deadline);
            let within = deadline.as_duration() + GRACE;
            if !matches!(ordered, Ok(true)) || timeout(within, ended(&state.minder)).await.is_err() {
                tracing::error!(
                    "the minder {} of {} does not end: it is killed",
                    state.minder.pid,
                    state.start
                );
                end_minder(&state.minder).await;
            }
        }
        self.end_of(running).await
    }

    async fn adopt(&self) -> Found {
        self.all_arrived().await;
        let mut apps = Vec::new();
        for slot in [Slot::A, Slot::B] {
            let Some(state) = State::read(&self.setup.state_of(slot)) else { continue };
            match standing(&state) {
                Standing::Minded => {
                    let Some(running) = state.running() else { continue };
                    if is_stopping(&self.setup.state_of(slot), &state.start) {
                        // Whoever ordered that may be gone; the order is not taken back.
                        self.stop(&running, self.setup.app.stop).await;
                    } else {
                        apps.push(self.located(running, &state));
                    }
                }
                Standing::Lost => {
                    self.bury(state, slot).await;
                }
                Standing::Ended | Standing::Rebooted => {}
            }
        }
        Found { apps }
    }

    async fn check(&self, running: &Running) -> Result<Health, Problem> {
        self.check_app(running).await
    }

    async fn room_beside(&self, running: &Running) -> Result<(), String> {
        self.state(running).map_or(Ok(()), |state| memory_allows_overlap(state.minder.pid))
    }

    async fn exited(&self, running: &Running) -> Exit {
        if let Some(state) = self.state(running)
            && standing(&state) == Standing::Minded
            && let Err(error) = ended(&state.minder).await
        {
            // Out of descriptors: the caller asks again, and nothing was claimed that is not so.
            tracing::error!("waiting for the minder {}: {error}", state.minder.pid);
            std::future::pending::<()>().await;
        }
        self.end_of(running).await
    }

    async fn run_once(&self, run: &Run) -> Outcome {
        self.run_to_its_end(run).await
    }

    async fn settle(&self, run: &Run) -> Option<Outcome> {
        self.settle_run(run).await
    }
}

impl ProcessRuntime {
    async fn start_once(
        &self,
        release: &ReleaseRef,
        slot: Slot,
        start: &StartId,
    ) -> Result<Running, Problem> {
        if let Some(state) = State::read(&self.setup.state_of(slot)).filter(|state| state.start == *start) {
            return started_before(state);
        }
        self.setup.make_folders().map_err(|reason| Problem::new("start", reason))?;
        self.clear(slot).await;
        port_is_free(self.setup.port(slot))?;
        let charge = self.charge_for(release, slot, start)?;
        match self.charge(Setup::name(slot), &charge).await {
            Answer::Spawned { .. } => Ok(running(release, slot, self.setup.port(slot), start)),
            Answer::Refused { reason } => Err(Problem::new("start", reason)),
            Answer::BegunBefore => Err(Problem::new("start", "the minder took the app for a migration")),
        }
    }

    /// `slot`, or the other one if somebody else listens on its port and nothing of ours runs there.
    async fn usable(&self, slot: Slot, start: &StartId) -> Slot {
        let other = slot.other();
        if self.has(other, start) {
            return other;
        }
        if self.has(slot, start) || self.is_minded(other) {
            return slot;
        }
        self.clear(slot).await;
        let is_free = |slot| port_is_free(self.setup.port(slot)).is_ok();
        if !is_free(slot) && is_free(other) { other } else { slot }
    }

    /// Whether `start` has the place.
    fn has(&self, slot: Slot, start: &StartId) -> bool {
        State::read(&self.setup.state_of(slot)).is_some_and(|state| state.start == *start)
    }

    fn is_minded(&self, slot: Slot) -> bool {
        State::read(&self.setup.state_of(slot)).is_some_and(|state| standing(&state) == Standing::Minded)
    }
}

/// The answer to a start that was asked for again.
fn started_before(state: State) -> Result<Running, Problem> {
    match (standing(&state), state.running()) {
        (Standing::Minded, Some(running)) => Ok(running),
        _ => {
            let unseen =
                || Ended { how: How::Unseen("it is gone".to_owned()), log: Vec::new(), killed: Vec::new() };
            let ended = state.ended.unwrap_or_else(unseen);
            let reason = format!("start {} has ended: {}", state.start, ended.how);
            Err(Problem { log: ended.log, ..Problem::new("start", reason) })
        }
    }
}

fn running(release: &ReleaseRef, slot: Slot, port: u16, start: &StartId) -> Running {
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let upstream = everup_core::gate::Upstream { address, start: start.clone() };
    Running { slot, release: release.clone(), upstream }
}

async fn end_minder(minder: &Identity) {
    minder.signal(Signal::KILL);
    // Nothing ends what is stuck in the kernel.
    let _ = timeout(GRACE, ended(minder)).await;
}

/// An app that finds its port taken may end, or, with SO_REUSEPORT, share it with a stranger: neither is begun.
fn port_is_free(port: u16) -> Result<(), Problem> {
    match listening_on(port).first() {
        None => Ok(()),
        Some(listener) => {
            let reason = format!("port {port}, the app's own, is listened on by {}: end it", owner(listener));
            Err(Problem::new("start", reason))
        }
    }
}

/// "`node` (pid 42)": who has `listener` open, as far as we may see.
pub(super) fn owner(listener: &Listener) -> String {
    let has = |pid: u32| sockets_of(pid).iter().any(|(inode, _)| *inode == listener.inode);
    let owner = all().into_iter().find(|stat| has(stat.pid));
    owner.map_or_else(|| "a process of another user".to_owned(), |stat| stat.to_string())
}

fn exit_of(ended: Ended) -> Exit {
    Exit { how: ended.how.to_string(), log: ended.log, killed: ended.killed }
}

fn not_there() -> Exit {
    Exit { how: "was not there".to_owned(), log: Vec::new(), killed: Vec::new() }
}

impl Setup {
    /// Makes the instance's folders; the app's own belongs to its user.
    pub(super) fn make_folders(&self) -> Result<(), String> {
        let log = self.folder.join("log");
        for folder in [&log, &self.data()] {
            fs::create_dir_all(folder)
                .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        }
        self.app.user.as_deref().map_or(Ok(()), |user| give(&self.data(), user))
    }
}

fn give(folder: &std::path::Path, user: &str) -> Result<(), String> {
    let found = nix::unistd::User::from_name(user).map_err(|error| format!("the user {user}: {error}"))?;
    let Some(user) = found else { return Ok(()) };
    std::os::unix::fs::chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
        .map_err(|error| format!("{} cannot be given to {}: {error}", folder.display(), user.name))
}
