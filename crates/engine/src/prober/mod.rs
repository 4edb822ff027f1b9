//! The prober's pure part: when a request is due, what became of it, and what that says of a window of time.
//!
//! The schedule is fixed beforehand, so that a pause of the prober's own is seen as a hole and never as silence
//! of the service; and what a request waited for its turn counts as the service's time (no coordinated omission).
//! Nothing here reads a clock: [`crate::prober`] is told the time.

mod samples;

pub use samples::{Outcome, Sample, Samples};
