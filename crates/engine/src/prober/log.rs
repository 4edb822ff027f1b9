//! The schedule, and what became of each of its requests.

use super::samples::union;
use super::{KEPT, LATE, MOST_KEPT, Outcome, Sample, Samples};
use everup_core::receipt::Window;
use everup_core::time::{Millis, Mono, Wall};
use std::collections::VecDeque;

/// One moment on both clocks: the schedule goes by the monotonic one, what is told by the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the monotonic clock.
    pub mono: Mono,
    /// By the wall clock.
    pub wall: Wall,
}

/// A request that is to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Names it, for as long as the prober runs.
    pub number: u64,
    /// When it was due.
    pub due: Wall,
}

/// What is known of one request of the schedule.
#[derive(Debug, Clone, Copy)]
struct Entry {
    due: Wall,
    /// It speaks for the time from `due` to the next request.
    interval: Millis,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    UnderWay,
    Ended {
        sent: Wall,
        ended: Wall,
        outcome: Outcome,
    },
    /// It was not sent: too many were under way.
    Missed,
    /// It was not sent: the prober slept.
    Slept,
}

/// One prober's schedule and memory.
#[derive(Debug)]
pub struct Log {
    start: Mono,
    interval: Millis,
    /// How many requests of this schedule were due so far.
    passed: u64,
    /// The number of the oldest entry.
    first: u64,
    entries: VecDeque<Entry>,
}

impl Log {
    /// A schedule that begins now, with one request every `interval`.
    #[must_use]
    pub fn new(now: Mono, interval: Millis) -> Self {
        let interval = at_least_one(interval);
        Self { start: now, interval, passed: 0, first: 0, entries: VecDeque::new() }
    }

    /// From now on one request every `interval`, the first one now. The same interval changes nothing.
    pub fn pace(&mut self, now: Mono, interval: Millis) {
        let interval = at_least_one(interval);
        if interval != self.interval {
            (self.start, self.interval, self.passed) = (now, interval, 0);
        }
    }

    /// When the next request is due.
    #[must_use]
    pub fn next(&self) -> Mono {
        self.start + self.interval.times(self.passed)
    }

    /// The requests that are to be sent now. What was due longer ago than [`LATE`] is missed.
    pub fn due(&mut self, now: Moment) -> Vec<Slot> {
        let mut slots = Vec::new();
        self.skip(now);
        while self.next() <= now.mono {
            let late = now.mono.since(self.next());
            let due = now.wall - late;
            let is_late = late > LATE;
            let state = if is_late { State::Slept } else { State::UnderWay };
            if !is_late {
                slots.push(Slot { number: self.first + self.entries.len() as u64, due });
            }
            self.entries.push_back(Entry { due, interval: self.interval, state });
            self.passed += 1;
        }
        self.forget(now.wall);
        slots
    }

    /// After a pause that is longer than all that is kept, the oldest of it is not even worth an entry.
    fn skip(&mut self, now: Moment) {
        let behind = now.mono.since(self.next()).0 / self.interval.0;
        self.passed += behind.saturating_sub(MOST_KEPT as u64);
    }

    fn forget(&mut self, now: Wall) {
        let is_old = |entry: &Entry| now.since(entry.due) > KEPT;
        while self.entries.len() > MOST_KEPT || self.entries.front().is_some_and(is_old) {
            self.entries.pop_front();
            self.first += 1;
        }
    }

    /// The request `slot` ended.
    pub fn ended(&mut self, slot: Slot, sent: Wall, ended: Wall, outcome: Outcome) {
        self.settle(slot, State::Ended { sent, ended, outcome });
    }

    /// The request `slot` was not sent after all.
    pub fn missed(&mut self, slot: Slot) {
        self.settle(slot, State::Missed);
    }

    fn settle(&mut self, slot: Slot, state: State) {
        let place = slot.number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) {
            entry.state = state;
        }
    }

    /// Whether every request that was due in `window`, so far, has ended.
    #[must_use]
    pub fn is_settled(&self, window: Window) -> bool {
        !self.within(window).any(|entry| matches!(entry.state, State::UnderWay))
    }

    /// What was seen in `window`. A request that the prober slept over may have ended badly for that alone: it was not
    /// seen.
    #[must_use]
    pub fn samples(&self, window: Window) -> Samples {
        let slept = self.entries.iter().filter(|entry| matches!(entry.state, State::Slept));
        let slept: Vec<Wall> = slept.map(|entry| entry.due).collect();
        let was_slept_over = |sent: Wall, ended: Wall, outcome: Outcome| {
            matches!(outcome, Outcome::TimedOut | Outcome::Cut)
                && slept.iter().any(|due| (sent..=ended).contains(due))
        };
        let (mut seen, mut samples) = (Vec::new(), Vec::new());
        for entry in self.within(window) {
            if let State::Ended { sent, ended, outcome } = entry.state
                && !was_slept_over(sent, ended, outcome)
            {
                seen.push(Window { from: entry.due, to: entry.due + entry.interval });
                samples.push(Sample { due: entry.due, sent, ended, outcome });
            }
        }
        samples.sort_unstable();
        Samples { seen: union(seen), samples }
    }

    /// The requests that speak for a part of `window`.
    fn within(&self, window: Window) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |e| e.due <= window.to && e.due + e.interval > window.from)
    }
}

fn at_least_one(interval: Millis) -> Millis {
    interval.max(Millis(1))
}
