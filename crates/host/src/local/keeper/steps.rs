//! Doing what the plan says.

use super::super::children::Ended;
use super::super::files::{self, Access, FileError};
use super::super::house::House;
use super::super::ledger::{Seat, Who};
use super::super::plan::Step;
use super::super::ports::{self, NoBlock};
use super::super::sockets::ListenError;
use super::Keeping;
use crate::proc::Identity;
use crate::settings::Settings;
use everup_core::ids::{InstanceId, Zone};
use everup_core::seams::Clock;
use everup_core::time::{Millis, Mono};
use rustix::process::Signal;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tokio::task::spawn_local;

/// Beyond what the settings give an instance to let requests end and to stop its app.
const MARGIN: Millis = Millis::from_secs(5);
/// The balancer gets so long to end once no instance is left.
const BALANCER: Millis = Millis::from_secs(5);
/// Bytes of one child's own words.
const WORDS: u64 = 4 << 20;

impl<H: House + 'static, C: Clock> Keeping<H, C> {
    pub(super) fn carry_out(&mut self, step: Step, now: Mono) {
        match step {
            Step::Launch(who) => self.launch(&who, now),
            Step::Add(zone) => self.add(&zone, now),
            Step::End(id) => self.end(&id, false),
            Step::GiveUp(id) => self.give_up(&id, now),
            Step::Kill(who) => self.kill(&who, now),
            Step::Sweep(id) => self.sweep(id),
            Step::Close => self.close_balancer(now),
            Step::Finish => {}
        }
    }

    fn launch(&mut self, who: &Who, now: Mono) {
        self.present.retries.started(who, now);
        match self.started(who) {
            Ok(process) => {
                tracing::info!("{who} runs as process {}", process.pid);
                self.note(who, process);
            }
            Err(error) => {
                tracing::warn!("{who} cannot be started: {error}");
                self.present.retries.ended(who, now);
            }
        }
    }

    /// Starts `who`, or finds that it runs: one that an earlier keeper started and had no time to note.
    fn started(&mut self, who: &Who) -> io::Result<Identity> {
        let socket = match self.sockets.copy(who, self.address(who)) {
            Ok(socket) => socket,
            Err(ListenError::Taken { owner: Some(owner), .. }) if self.is_ours(who, &owner) => {
                return self.adopted(who, &owner).ok_or_else(|| io::Error::other("it has just ended"));
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        let words = files::log(&self.words(who), WORDS).map_err(io::Error::other)?;
        let mut command = self.command(who);
        command.stdin(Stdio::from(socket)).stdout(Stdio::null()).stderr(Stdio::from(words));
        self.children.launch(who, command)
    }

    pub(super) fn command(&self, who: &Who) -> Command {
        self.house.command(who, self.seat(who).as_ref())
    }

    fn seat(&self, who: &Who) -> Option<(InstanceId, Seat)> {
        match who {
            Who::Balancer => None,
            Who::Agent(id) | Who::Proxy(id) => {
                self.ledger.seats.get(id).map(|seat| (id.clone(), seat.clone()))
            }
        }
    }

    pub(super) fn address(&self, who: &Who) -> SocketAddr {
        match (who, self.seat(who)) {
            (Who::Agent(_), Some((_, seat))) => seat.block().api(),
            (Who::Proxy(_), Some((_, seat))) => seat.block().proxy(),
            _ => self.settings.listen.address,
        }
    }

    /// The file for a child's own words.
    pub(super) fn words(&self, who: &Who) -> PathBuf {
        match who {
            Who::Balancer => self.settings.run().join("balancer.log"),
            Who::Agent(id) => self.folder(id).join("agent.log"),
            Who::Proxy(id) => self.folder(id).join("proxy.log"),
        }
    }

    fn folder(&self, id: &InstanceId) -> PathBuf {
        self.settings.state.join("instances").join(id.as_str())
    }

    pub(super) fn note(&mut self, who: &Who, process: Identity) {
        self.present.running.insert(who.clone());
        if let Some(place) = self.ledger.process(who) {
            *place = Some(process);
        }
    }

    fn add(&mut self, zone: &Zone, now: Mono) {
        let added = ports::take(start(&self.settings)).map_err(AddError::from).and_then(|(block, socket)| {
            let id = self.ledger.add(zone.clone(), block);
            files::folder(&self.folder(&id), Access::Pass)?;
            Ok((id, socket))
        });
        match added {
            Ok((id, socket)) => {
                tracing::info!("{id} is made in zone {zone}");
                self.sockets.hold(&Who::Agent(id), socket);
            }
            Err(error) => {
                tracing::warn!("no instance can be made: {error}");
                self.present.retries.no_newcomer(now);
            }
        }
    }

    /// Tells an instance to end; `at_once` without giving it time.
    pub(super) fn end(&mut self, id: &InstanceId, at_once: bool) {
        let allowed = self.settings.deploy.drain + self.settings.app.stop + MARGIN;
        let allowed = if at_once { Millis::ZERO } else { allowed };
        tracing::info!("{id} is being ended");
        self.ledger.end(id);
        self.present.deadlines.insert(id.clone(), self.clock.mono() + allowed);
        if at_once {
            self.hasty.insert(id.clone());
        }
    }

    fn give_up(&mut self, id: &InstanceId, now: Mono) {
        let words = self.words(&Who::Agent(id.clone()));
        tracing::warn!(
            "{id} is given up: its agent dies at once (its last words are in {})",
            words.display()
        );
        self.present.retries.gave_up(id, now);
        self.ledger.give_up(id);
        self.end(id, true);
    }

    /// Kills one that had its time. It is told of as ended when it has; until then the plan must not see it as one
    /// that is past its time.
    fn kill(&mut self, who: &Who, now: Mono) {
        tracing::warn!("{who} is killed");
        self.children.signal(who, Signal::KILL);
        match who {
            Who::Balancer => self.present.closing_until = Some(now + BALANCER),
            Who::Agent(id) | Who::Proxy(id) => drop(self.present.deadlines.insert(id.clone(), now + MARGIN)),
        }
    }

    fn close_balancer(&mut self, now: Mono) {
        let signal = if self.at_once { Signal::KILL } else { Signal::TERM };
        self.present.closing_until = Some(now + BALANCER);
        self.children.signal(&Who::Balancer, signal);
    }

    fn sweep(&mut self, id: InstanceId) {
        let Some(seat) = self.ledger.seats.get(&id) else { return };
        let work = self.house.sweep(&id, seat, self.hasty.contains(&id));
        self.present.sweeping.insert(id.clone());
        let done = self.inlets.sweeper.clone();
        spawn_local(async move {
            work.await;
            let _ = done.send(id).await;
        });
    }

    pub(super) fn ended(&mut self, ended: &Ended) {
        if !self.children.ended(ended) {
            return;
        }
        let who = &ended.who;
        let asked = match who {
            Who::Balancer => self.ledger.closing,
            // One whose instance is gone already was ended with it.
            Who::Agent(_) | Who::Proxy(_) => self.seat(who).is_none_or(|(_, seat)| seat.terminating),
        };
        if asked {
            tracing::info!("{who} has ended");
        } else {
            tracing::warn!("{who} ended: {}", ended.how);
        }
        self.present.running.remove(who);
        self.present.retries.ended(who, self.clock.mono());
        if let Some(place) = self.ledger.process(who) {
            *place = None;
        }
    }

    pub(super) fn swept(&mut self, id: &InstanceId) {
        for who in [Who::Proxy(id.clone()), Who::Agent(id.clone())] {
            self.children.signal(&who, Signal::KILL);
            self.sockets.close(&who);
            self.present.running.remove(&who);
        }
        tracing::info!("{id} is gone");
        self.ledger.forget(id);
        if let Some(old) = self.ledger.ended_before(KEPT_FOLDERS) {
            // What cannot be removed is in nobody's way.
            let _ = std::fs::remove_dir_all(self.settings.state.join("instances").join(old.as_str()));
        }
        self.present.sweeping.remove(id);
        self.present.deadlines.remove(id);
        self.present.retries.forget(id);
        self.hasty.remove(id);
    }
}

/// The folders of so many instances that ended last stay: their logs say why.
const KEPT_FOLDERS: usize = 10;

/// Why an instance was not made.
#[derive(Debug, thiserror::Error)]
enum AddError {
    #[error(transparent)]
    Ports(#[from] NoBlock),
    #[error(transparent)]
    Folder(#[from] FileError),
}

/// Where to begin looking for ports: another place for each fleet of the machine.
fn start(settings: &Settings) -> u16 {
    let mut hasher = DefaultHasher::new();
    settings.state.hash(&mut hasher);
    (hasher.finish() % 512) as u16 * 4
}
