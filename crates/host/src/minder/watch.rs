//! The minder's loop: signals, orders, output and deadlines, until no process of the tree lives.

use super::control::Control;
use super::output::Output;
use super::{Ended, How};
use crate::proc::below;
use everup_core::time::Millis;
use nix::sys::signal::Signal as Name;
use nix::sys::signalfd::{SfdFlags, SigSet, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions, WaitStatus, wait};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// So many killed processes are named; a fork bomb has more.
const NAMED: usize = 20;

/// While killing, the tree is looked through again after so long even if nobody told: a process may have been born
/// to one that we had already looked at.
const AGAIN: Duration = Duration::from_millis(200);

/// The signals that wake a minder instead of ending it.
fn ours() -> SigSet {
    [Name::SIGCHLD, Name::SIGTERM, Name::SIGINT, Name::SIGHUP].into_iter().collect()
}

/// Blocks our signals, before any thread is started, so that all block them; they are read from what is returned.
pub(super) fn signals() -> io::Result<SignalFd> {
    ours().thread_block()?;
    Ok(SignalFd::with_flags(&ours(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Does something while this thread blocks nothing: what is spawned has our mask, and an app that blocks TERM could
/// not be stopped. A TERM that comes in this moment ends the minder, which is told as what it is.
pub(super) fn unblocked<T>(spawn: impl FnOnce() -> T) -> io::Result<T> {
    ours().thread_unblock()?;
    let spawned = spawn();
    ours().thread_block()?;
    Ok(spawned)
}

/// How far the end of an app is.
enum Phase {
    Running,
    /// All got TERM; at this time all get KILL.
    Ending(Instant),
    Killing,
}

pub(super) struct Watch {
    pub(super) signals: SignalFd,
    pub(super) control: Control,
    pub(super) output: Output,
    /// The PID of the main process.
    pub(super) main: u32,
    /// From TERM to KILL, unless an order says otherwise; nothing for what nobody ends.
    pub(super) stop: Option<Millis>,
    pub(super) progress: Progress,
}

/// What happened so far.
pub(super) struct Progress {
    phase: Phase,
    how: Option<How>,
    killed: Vec<String>,
}

impl Progress {
    pub(super) const fn new() -> Self {
        Self { phase: Phase::Running, how: None, killed: Vec::new() }
    }
}

impl Watch {
    /// Watches until the whole tree has ended.
    pub(super) fn run(mut self) -> Ended {
        while self.reap() {
            self.sleep();
            self.take_signals();
            self.take_orders();
            self.output.pump();
            self.keep_deadline();
        }
        let unseen = || How::Unseen("its end was not seen".to_owned());
        let how = self.progress.how.take().unwrap_or_else(unseen);
        Ended { how, log: self.output.finish(), killed: self.progress.killed }
    }

    /// Takes the exit status of all that ended; says whether any child is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.note(pid.as_raw_nonzero().get().cast_unsigned(), status),
                Ok(None) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    fn note(&mut self, pid: u32, status: WaitStatus) {
        if pid != self.main {
            return;
        }
        self.progress.how = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(How::Exited(code)),
            (_, Some(signal)) => Some(How::Signalled(signal)),
            _ => return,
        };
        // An app without its main process is over, whatever else of it still runs.
        if let Some(stop) = self.stop {
            self.begin_stop(stop);
        }
    }

    fn sleep(&self) {
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.control.as_fd(), PollFlags::IN),
        ];
        fds.extend(self.output.wake().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let left = self.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        // An error is an interruption: all that it could tell is looked at now.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    fn next_deadline(&self) -> Option<Instant> {
        let phase = match self.progress.phase {
            Phase::Running => None,
            Phase::Ending(at) => Some(at),
            Phase::Killing => Some(Instant::now() + AGAIN),
        };
        [phase, self.output.deadline()].into_iter().flatten().min()
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo == Name::SIGTERM as u32
                && let Some(stop) = self.stop
            {
                self.begin_stop(stop);
            }
        }
    }

    fn take_orders(&mut self) {
        if let (Some(deadline), Some(_)) = (self.control.order(), self.stop) {
            self.begin_stop(deadline);
        }
    }

    /// TERM to all, once; a second order can only bring the deadline forward.
    fn begin_stop(&mut self, within: Millis) {
        let at = Instant::now() + within.as_duration();
        match &mut self.progress.phase {
            Phase::Running => {
                for process in below(std::process::id()) {
                    process.identity().signal(Signal::TERM);
                    // A process that was suspended gets to know of it.
                    process.identity().signal(Signal::CONT);
                }
                self.progress.phase = Phase::Ending(at);
            }
            Phase::Ending(before) => *before = at.min(*before),
            Phase::Killing => {}
        }
    }

    fn keep_deadline(&mut self) {
        match self.progress.phase {
            Phase::Ending(at) if Instant::now() >= at => {
                self.progress.phase = Phase::Killing;
                self.kill();
            }
            Phase::Killing => self.kill(),
            Phase::Running | Phase::Ending(_) => {}
        }
    }

    fn kill(&mut self) {
        for process in below(std::process::id()) {
            let name = process.to_string();
            let killed = &mut self.progress.killed;
            if process.identity().signal(Signal::KILL) && killed.len() < NAMED && !killed.contains(&name) {
                killed.push(name);
            }
        }
    }
}
