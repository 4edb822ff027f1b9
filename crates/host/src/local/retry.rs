//! When a process that ended is started again: at once if it had lived, else later each time.

use super::ledger::Who;
use everup_core::ids::InstanceId;
use everup_core::time::{Millis, Mono};
use std::collections::BTreeMap;

/// One that ran for so long did not die at once.
const LIVED: Millis = Millis::from_secs(10);
/// The wait after the second death at once; doubled each time. The first is answered at once.
const FIRST: Millis = Millis(250);
/// The longest wait.
const LONGEST: Millis = Millis::from_secs(30);
/// An agent that died at once so often is not going to live: its instance is given up and replaced.
pub(super) const HOPELESS: u32 = 7;

#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    started: Mono,
    failures: u32,
    not_before: Mono,
}

/// What each process's last starts came to.
#[derive(Debug, Default)]
pub(super) struct Retries {
    tries: BTreeMap<Who, Tries>,
    /// Making instances, in which one that was given up counts as a death.
    newcomers: Tries,
}

impl Retries {
    pub(super) fn started(&mut self, who: &Who, now: Mono) {
        self.tries.entry(who.clone()).or_default().started = now;
    }

    pub(super) fn ended(&mut self, who: &Who, now: Mono) {
        self.tries.entry(who.clone()).or_default().ended(now);
    }

    /// The earliest moment at which `who` may be started.
    pub(super) fn not_before(&self, who: &Who) -> Mono {
        self.tries.get(who).map_or(Mono(0), |tries| tries.not_before)
    }

    pub(super) fn hopeless(&self, id: &InstanceId) -> bool {
        self.tries.get(&Who::Agent(id.clone())).is_some_and(|tries| tries.failures >= HOPELESS)
    }

    /// The earliest moment at which an instance may be made.
    pub(super) fn newcomer_not_before(&self) -> Mono {
        self.newcomers.not_before
    }

    /// An instance was given up.
    pub(super) fn gave_up(&mut self, id: &InstanceId, now: Mono) {
        self.forget(id);
        self.no_newcomer(now);
    }

    /// An instance could not be made.
    pub(super) fn no_newcomer(&mut self, now: Mono) {
        self.newcomers.failures += 1;
        self.newcomers.not_before = now + wait(self.newcomers.failures + 1);
    }

    pub(super) fn forget(&mut self, id: &InstanceId) {
        self.tries.remove(&Who::Agent(id.clone()));
        self.tries.remove(&Who::Proxy(id.clone()));
    }
}

impl Tries {
    fn ended(&mut self, now: Mono) {
        let lived = now.since(self.started) >= LIVED;
        self.failures = if lived { 0 } else { self.failures + 1 };
        self.not_before = now + wait(self.failures);
    }
}

/// The wait after so many deaths at once.
fn wait(failures: u32) -> Millis {
    match failures {
        0 | 1 => Millis::ZERO,
        n => FIRST.times(1 << (n - 2).min(16)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_begin_anew_after_a_life() {
        let mut retries = Retries::default();
        let mut now = Mono(1_000);
        let mut waits = Vec::new();
        for _ in 0..12 {
            retries.started(&Who::Balancer, now);
            retries.ended(&Who::Balancer, now);
            waits.push(retries.not_before(&Who::Balancer).since(now).0);
            now = retries.not_before(&Who::Balancer);
        }
        assert_eq!(waits[..5], [0, 250, 500, 1_000, 2_000]);
        assert_eq!(waits[11], LONGEST.0);
        retries.started(&Who::Balancer, now);
        retries.ended(&Who::Balancer, now + LIVED);
        assert_eq!(retries.not_before(&Who::Balancer), now + LIVED);
    }
}
