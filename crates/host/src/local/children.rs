//! The keeper's processes: started, adopted, watched, signalled. Each is held by a descriptor of the process itself,
//! so that a signal never reaches another one that got its number.

use super::ledger::Who;
use crate::proc::{Identity, boot_id};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::rc::Rc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::spawn_local;

/// A process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) who: Who,
    pub(super) pid: u32,
    /// "exit status: 1", "signal: 9 (SIGKILL)"; of one that was adopted nobody learns it.
    pub(super) how: String,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Children {
    live: BTreeMap<Who, Live>,
    ended: mpsc::Sender<Ended>,
}

#[derive(Debug)]
struct Live {
    process: Identity,
    descriptor: Rc<AsyncFd<OwnedFd>>,
}

impl Children {
    pub(super) fn new(ended: mpsc::Sender<Ended>) -> Self {
        Self { live: BTreeMap::new(), ended }
    }

    /// Starts `command` as `who`.
    pub(super) fn launch(&mut self, who: &Who, mut command: Command) -> io::Result<Identity> {
        let child = command.spawn()?;
        let (pid, descriptor) = (child.id(), open(child.id())?);
        // One that has already ended has no start time any more; it is told of like any other.
        let gone = || Identity { pid, started: 0, boot: boot_id().to_owned() };
        let process = Identity::of(pid).unwrap_or_else(gone);
        self.watch(who, process.clone(), descriptor, Some(child));
        Ok(process)
    }

    /// Takes over a process that an earlier keeper started; `false` if it does not live any more.
    pub(super) fn adopt(&mut self, who: &Who, process: &Identity) -> bool {
        let Some(descriptor) = process.open().and_then(|fd| watchable(fd).ok()) else { return false };
        self.watch(who, process.clone(), descriptor, None);
        true
    }

    fn watch(&mut self, who: &Who, process: Identity, descriptor: AsyncFd<OwnedFd>, child: Option<Child>) {
        let (who, pid, descriptor, ended) =
            (who.clone(), process.pid, Rc::new(descriptor), self.ended.clone());
        self.live.insert(who.clone(), Live { process, descriptor: Rc::clone(&descriptor) });
        spawn_local(async move {
            // An error here would mean that the descriptor is none; then the wait below still tells.
            let _ = descriptor.readable().await;
            let how = child.and_then(status).unwrap_or_else(|| "nobody knows how".to_owned());
            let _ = ended.send(Ended { who, pid, how }).await;
        });
    }

    /// Forgets one that ended; `false` if it is an earlier one of the same role.
    pub(super) fn ended(&mut self, ended: &Ended) -> bool {
        let present = self.live.get(&ended.who).is_some_and(|live| live.process.pid == ended.pid);
        if present {
            self.live.remove(&ended.who);
        }
        present
    }

    /// Sends a signal, if it still runs.
    pub(super) fn signal(&self, who: &Who, signal: Signal) {
        if let Some(live) = self.live.get(who) {
            let _ = pidfd_send_signal(live.descriptor.get_ref(), signal);
        }
    }
}

fn open(pid: u32) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    watchable(pidfd_open(pid, PidfdFlags::empty())?)
}

/// A process's descriptor becomes readable when it ends.
#[expect(
    deprecated,
    reason = "the successor is unsafe for types whose descriptor may change; an OwnedFd's does not"
)]
fn watchable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

fn status(mut child: Child) -> Option<String> {
    child.wait().ok().map(|status| status.to_string())
}
