//! What was asked of the service, and what became of it.

use super::SLIGHT;
use everup_core::receipt::Window;
use everup_core::time::{Millis, Wall};
use serde::{Deserialize, Serialize};

/// How one request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Answered to its end, with a status below 500.
    Good,
    /// Answered with this status, of 500 or more.
    Status(u16),
    /// No connection: nothing was sent.
    Refused,
    /// Reset, or cut before the end of the answer.
    Cut,
    /// Not answered in time.
    TimedOut,
}

/// One request, from when it was due to when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sample {
    /// When the schedule had it.
    pub due: Wall,
    /// When it was sent; later than due if the prober was late.
    pub sent: Wall,
    /// When its answer ended.
    pub ended: Wall,
    /// How.
    pub outcome: Outcome,
}

impl Sample {
    /// What it took, its own lateness included.
    #[must_use]
    pub const fn took(&self) -> Millis {
        self.ended.since(self.due)
    }
}

/// What one prober, or several together, saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// The spans in which every request that was due was sent, and has ended; sorted, apart from each other.
    pub seen: Vec<Window>,
    /// Sorted by when they were due.
    pub samples: Vec<Sample>,
}

/// What several probers saw together: a moment that any of them saw was seen.
#[must_use]
pub fn merge(all: impl IntoIterator<Item = Samples>) -> Samples {
    let mut merged = Samples::default();
    for one in all {
        merged.seen.extend(one.seen);
        merged.samples.extend(one.samples);
    }
    merged.seen = union(merged.seen);
    merged.samples.sort_unstable();
    merged
}

/// The same spans, sorted and joined where no more than [`SLIGHT`] lies between them.
pub(super) fn union(mut spans: Vec<Window>) -> Vec<Window> {
    spans.sort_unstable_by_key(|span| (span.from, span.to));
    let mut joined: Vec<Window> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.from <= last.to + SLIGHT => last.to = last.to.max(span.to),
            _ => joined.push(span),
        }
    }
    joined
}

/// The parts of `window` that lie in none of `seen`, which is sorted and joined; slight ones left out.
pub(super) fn holes(seen: &[Window], window: Window) -> Vec<Window> {
    let mut holes = Vec::new();
    let mut from = window.from;
    for span in seen.iter().filter(|span| span.to > window.from && span.from < window.to) {
        holes.push(Window { from, to: span.from });
        from = from.max(span.to);
    }
    holes.push(Window { from, to: window.to });
    holes.retain(|hole| hole.to.since(hole.from) > SLIGHT);
    holes
}
