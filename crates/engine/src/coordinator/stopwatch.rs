//! A deployment's counted time: what its bound is measured by. It stands still while a person is waited for.

use everup_core::deployment::State;
use everup_core::time::{Millis, Mono};

#[derive(Debug)]
pub(crate) struct Stopwatch {
    elapsed: Millis,
    in_state: Millis,
    state: State,
    last: Mono,
}

impl Stopwatch {
    /// Goes on from what an earlier coordinator wrote down. What passed between its last write and the takeover is not
    /// counted: no clock saw it.
    pub(crate) fn new(state: State, elapsed: Millis, now: Mono) -> Self {
        Self { elapsed, in_state: Millis::ZERO, state, last: now }
    }

    pub(crate) fn tick(&mut self, state: State, now: Mono) {
        let passed = now.since(self.last);
        self.last = now;
        if self.state.counts_time() {
            self.elapsed = self.elapsed + passed;
        }
        self.in_state = self.in_state + passed;
        if state != self.state {
            self.state = state;
            self.in_state = Millis::ZERO;
        }
    }

    pub(crate) const fn elapsed(&self) -> Millis {
        self.elapsed
    }

    pub(crate) const fn in_state(&self) -> Millis {
        self.in_state
    }
}
