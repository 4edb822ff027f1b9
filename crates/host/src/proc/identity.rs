//! Which process exactly: a PID alone may be anybody's after a while.

use super::stat::Stat;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// A process that is told from every other one, before and after a restart of the machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Its number, used again by the kernel after a while.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
    /// In which run of the machine.
    pub boot: String,
}

impl Identity {
    /// Who has the number `pid` now; nothing if nobody, or only what is left of somebody who ended.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = Stat::read(pid).filter(Stat::lives)?;
        Some(Self { pid, started: stat.started, boot: boot_id().to_owned() })
    }

    /// Whether this very process still runs.
    #[must_use]
    pub fn lives(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// A descriptor for this very process, which becomes readable when it ends; nothing if it ended.
    #[must_use]
    pub fn open(&self) -> Option<OwnedFd> {
        let fd = pidfd_open(self.raw()?, PidfdFlags::empty()).ok()?;
        // Looked at after opening: from here on the descriptor cannot mean another process.
        self.lives().then_some(fd)
    }

    /// As [`Self::open`], also where it is dying: it no longer lives as others see it, and still holds files and locks.
    #[must_use]
    pub fn open_dying(&self) -> Option<OwnedFd> {
        let fd = pidfd_open(self.raw()?, PidfdFlags::empty()).ok()?;
        Stat::read(self.pid).is_some_and(|stat| stat.identity() == *self).then_some(fd)
    }

    /// Sends `signal` to this very process; says whether it was there to get it.
    pub fn signal(&self, signal: Signal) -> bool {
        self.open().is_some_and(|fd| pidfd_send_signal(fd, signal).is_ok())
    }

    fn raw(&self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }
}

/// Names this run of the machine.
pub fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        read.map(|text| text.trim().to_owned()).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn an_identity_is_one_process_of_one_boot() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.lives() && me.open().is_some());
        for other in [
            Identity { started: me.started + 1, ..me.clone() },
            Identity { boot: "another".to_owned(), ..me.clone() },
            Identity { pid: u32::MAX, ..me },
        ] {
            assert!(!other.lives() && other.open().is_none() && !other.signal(Signal::TERM));
        }
    }

    #[test]
    fn what_ended_does_not_live_even_when_nobody_reaped_it() {
        let mut child = Command::new("sh").args(["-c", "read x"]).stdin(Stdio::piped()).spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        let fd = identity.open().unwrap();
        drop(child.stdin.take());
        let mut wait = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut wait, None).unwrap();
        assert!(!identity.lives() && identity.open().is_none());
        child.wait().unwrap();
    }
}
