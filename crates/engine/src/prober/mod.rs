//! The prober's pure part: when a request is due, what became of it, and what that says of a window of time.
//!
//! Laws: the schedule is fixed beforehand and goes on while requests are under way, so that a pause of the
//! prober's own is a hole in what it saw, never silence of the service, and so that what a request waited counts
//! (no coordinated omission). What was due and not sent, or has not ended, is not seen. Nothing here reads a clock.

mod log;
mod measure;
mod samples;

pub use log::{Log, Moment, Slot};
pub use measure::measure;
pub use samples::{Outcome, Sample, Samples, merge};

use everup_core::time::Millis;

/// A request that could not be sent within this from when it was due is not sent at all, and counts as missing:
/// 20 requests that were due over a second and are sent at once would say little of that second.
pub const LATE: Millis = Millis(1_000);

/// A shorter hole is none: requests are due in whole milliseconds, machines' clocks are slewed, and the last
/// request of a window may be due just after it. A pause of the prober is never shorter than [`LATE`].
pub const SLIGHT: Millis = Millis(100);

/// What was seen is kept so long.
pub const KEPT: Millis = Millis::from_secs(2 * 3_600);

/// And at most so many requests: 83 minutes at 20 a second, 5 MB.
pub const MOST_KEPT: usize = 100_000;

/// How long before a deployment counts as "before".
pub const BEFORE: Millis = Millis::from_secs(60);

#[cfg(test)]
mod tests;
