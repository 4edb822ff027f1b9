//! Starts that nobody follows any more: a minder was started, and has not written yet whose it is. Until it has, or is
//! gone, nobody can say which apps there are.

use super::ProcessRuntime;
use super::wait::{DYING, ended};
use crate::adopt::{Standing, standing};
use crate::minder::{LONGEST_BEGINNING, LOOK_AGAIN, State, is_held, lock_of};
use crate::proc::{Stat, opened};
use everup_core::ids::StartId;
use everup_core::instance::Slot;
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::Child;
use std::rc::{Rc, Weak};
use tokio::time::{sleep, timeout};

/// A minder that this process has started.
#[derive(Debug)]
pub(super) struct Minder {
    child: Child,
    start: StartId,
    state: PathBuf,
    follower: Weak<()>,
}

impl Minder {
    /// One of `start`, whose answer is waited for as long as `follower` lives.
    pub(super) fn new(child: Child, start: StartId, state: PathBuf, follower: &Rc<()>) -> Self {
        Self { child, start, state, follower: Rc::downgrade(follower) }
    }

    /// Whether somebody waits for its answer, and gives it up in time.
    fn is_followed(&self) -> bool {
        self.follower.strong_count() > 0
    }

    /// Whether it has not ended; if it has, nothing is left of it.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl ProcessRuntime {
    /// Waits until every start that is under way can be seen; one that takes too long, and that nobody follows, is ended.
    pub(super) async fn all_arrived(&self) {
        let slots = [Slot::A, Slot::B];
        let arrived = async {
            while slots.iter().any(|slot| self.is_coming(*slot)) {
                sleep(LOOK_AGAIN).await;
            }
        };
        if timeout(LONGEST_BEGINNING, arrived).await.is_ok() {
            return;
        }
        for slot in slots.into_iter().filter(|slot| self.is_coming(*slot)) {
            self.turn_away(slot).await;
        }
    }

    /// Whether an app may yet appear in `slot` of which its state says nothing. An earlier agent's minder is known by the
    /// lock alone; where the state cannot be read, that is no minder at its beginning.
    fn is_coming(&self, slot: Slot) -> bool {
        self.reap();
        let path = self.setup.state_of(slot);
        let state = State::read(&path);
        let is_told = |start: &StartId| state.as_ref().is_some_and(|state| state.start == *start);
        let own = self.minders.borrow().iter().any(|own| own.state == path && !is_told(&own.start));
        let is_settled = match &state {
            Some(state) => standing(state) == Standing::Minded,
            None => path.exists(),
        };
        own || (!is_settled && is_held(&path))
    }

    /// Ends what holds the place, or waits for it, and is not the one that the state tells of.
    async fn turn_away(&self, slot: Slot) {
        let path = self.setup.state_of(slot);
        let mut spared = vec![std::process::id()];
        spared.extend(self.minders.borrow().iter().filter(|own| own.is_followed()).map(|own| own.child.id()));
        let told = State::read(&path).filter(|state| standing(state) == Standing::Minded);
        spared.extend(told.map(|state| state.minder.pid));
        let is_other = |stat: &Stat| !spared.contains(&stat.pid);
        for process in opened(&lock_of(&path)).into_iter().filter(is_other) {
            tracing::error!("{process} has been starting an app for too long, and says nothing: it is ended");
            let minder = process.identity();
            minder.signal(Signal::KILL);
            // One that is stuck in the kernel does nothing more either.
            let _ = timeout(DYING, ended(&minder)).await;
        }
    }
}
