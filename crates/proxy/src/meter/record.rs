//! One request's entry in the counts: begun at its arrival, closed once, whatever happens to it.

use super::Meter;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With the app's whole answer, whatever that said.
    Answered,
    /// With a 503 of ours: nobody was there, or the queue was full, or it waited for too long.
    Refused,
    /// With a 502 or 504 of ours, or cut; the app has not acted on it, or its answer had begun.
    Failed,
    /// As failed, and nobody can say whether the app acted on it.
    Unknown,
    /// A stream or WebSocket, at a drain's deadline; or an answer that its client did not read.
    ByDesign,
    /// Its client left; while it waited, that is our failure.
    Left,
}

/// A request's entry. Dropped unfinished, its client has left.
#[derive(Debug)]
pub(crate) struct Record {
    meter: Rc<Meter>,
    began: Instant,
    waiting: bool,
    late: bool,
    stream: bool,
    done: bool,
    /// What its answer means, where a proxy of ours made it and not the app.
    meaning: Option<Outcome>,
}

impl Record {
    pub(crate) fn begin(meter: &Rc<Meter>) -> Self {
        let began = Instant::now();
        meter.begins(began);
        let meter = Rc::clone(meter);
        Self { meter, began, waiting: false, late: false, stream: false, done: false, meaning: None }
    }

    /// It came although the balancer had said that none would.
    pub(crate) fn is_late(&mut self) {
        self.late = true;
    }

    /// It waits at the gates.
    pub(crate) fn waits(&mut self) {
        self.waiting = true;
    }

    /// It waits no more. That is counted now and not with its answer: who was held in a deployment is on its receipt,
    /// also when the answer comes after its end.
    pub(crate) fn passes(&mut self) {
        self.passes_at(Instant::now());
    }

    fn passes_at(&mut self, now: Instant) {
        if std::mem::take(&mut self.waiting) {
            let waited = now.saturating_duration_since(self.began);
            self.meter.count(now, |bucket, _| bucket.waited(waited));
        }
    }

    /// Its answer has begun and has no foreseeable end: nobody waits for that end.
    pub(crate) fn streams(&mut self) {
        if !std::mem::replace(&mut self.stream, true) {
            let now = Instant::now();
            let gap = self.gap(now);
            self.meter.count(now, |bucket, _| bucket.gap(gap));
        }
    }

    /// Its answer was made by a proxy of ours, and means this.
    pub(crate) fn means(&mut self, meaning: Option<Outcome>) {
        self.meaning = meaning;
    }

    /// When it came.
    pub(crate) const fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn finish(self, outcome: Outcome) {
        self.finish_at(Instant::now(), outcome);
    }

    pub(crate) fn finish_at(mut self, now: Instant, outcome: Outcome) {
        self.close(now, outcome);
    }

    /// Nobody waits for its answer any more; nothing where nobody did.
    fn gap(&self, now: Instant) -> Duration {
        self.meter.ends(now)
    }

    fn close(&mut self, now: Instant, outcome: Outcome) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let outcome = self.meaning.filter(|_| outcome == Outcome::Answered).unwrap_or(outcome);
        let gap = if self.stream { Duration::ZERO } else { self.gap(now) };
        let left_while_held = outcome == Outcome::Left && self.waiting;
        self.passes_at(now);
        let took = now.saturating_duration_since(self.began);
        let failed =
            matches!(outcome, Outcome::Refused | Outcome::Failed | Outcome::Unknown) || left_while_held;
        self.meter.count(now, |bucket, requests| {
            bucket.gap(gap);
            requests.total += 1;
            requests.failed += u64::from(failed);
            requests.refused += u64::from(outcome == Outcome::Refused);
            requests.outcome_unknown += u64::from(outcome == Outcome::Unknown);
            requests.ended_by_design += u64::from(outcome == Outcome::ByDesign);
            requests.left_while_held += u64::from(left_while_held);
            bucket.late += u64::from(self.late);
            if outcome == Outcome::Answered && !self.stream {
                bucket.latency.record(took);
            }
        });
        if failed {
            // A failure must not be lost with the process that saw it.
            self.meter.write();
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.done {
            self.close(Instant::now(), Outcome::Left);
        }
    }
}
