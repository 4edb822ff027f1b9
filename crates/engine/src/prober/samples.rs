//! What was asked of the service, and what became of it.

use everup_core::receipt::Window;
use everup_core::time::Wall;
use serde::{Deserialize, Serialize};

/// How one request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Answered to its end, with a status below 500.
    Good,
    /// Answered with a status of 500 or more.
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

/// What one prober, or several together, saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// The spans in which every request that was due was sent, and has ended; sorted, apart from each other.
    pub seen: Vec<Window>,
    /// Sorted by when they were due.
    pub samples: Vec<Sample>,
}
