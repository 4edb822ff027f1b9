//! How a deployment is to be done: chosen by the operator, fixed in the record when it begins.

use crate::gate::HoldLimits;
use crate::time::Millis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which way the fleet moves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// One batch at a time; both releases serve meanwhile.
    #[default]
    Rolling,
    /// All together, with requests held and a migration in between; the two releases never run at once.
    AllAtOnce,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rolling => "rolling",
            Self::AllAtOnce => "all-at-once",
        })
    }
}

/// A number of instances, or a share of those present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Size {
    /// So many.
    Count(u32),
    /// So many of a hundred of the present fleet, 1 to 100.
    Percent(u32),
}

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a number of instances (2) nor a percentage from 1% to 100% (25%)")]
pub struct BadSize(String);

impl Size {
    /// The number for a fleet of `present`; a percentage is rounded down, to at least 1.
    #[must_use]
    pub fn of(self, present: u32) -> u32 {
        match self {
            Self::Count(n) => n,
            Self::Percent(p) => (u64::from(present) * u64::from(p) / 100).max(1) as u32,
        }
    }
}

impl FromStr for Size {
    type Err = BadSize;
    fn from_str(text: &str) -> Result<Self, BadSize> {
        let bad = || BadSize(text.to_owned());
        match text.strip_suffix('%') {
            Some(p) => match p.parse() {
                Ok(p @ 1..=100) => Ok(Self::Percent(p)),
                _ => Err(bad()),
            },
            None => text.parse().map(Self::Count).map_err(|_| bad()),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(n) => write!(f, "{n}"),
            Self::Percent(p) => write!(f, "{p}%"),
        }
    }
}

impl TryFrom<String> for Size {
    type Error = BadSize;
    fn try_from(text: String) -> Result<Self, BadSize> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

/// The settings of one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Which way.
    pub strategy: Strategy,
    /// How many at a time (rolling).
    pub batch: Size,
    /// How many stay in service; unset: the desired number less one batch, at least 1.
    pub min_in_service: Option<Size>,
    /// Start the new release beside the old one on each instance (rolling).
    pub overlap: bool,
    /// On so many instances at once may both releases run (overlap): twice their connections, twice their memory. Unset: as
    /// many as the batch, and those whose old app lingers, make it.
    #[serde(default)]
    pub max_overlap: Option<Size>,
    /// So many instances may fail before the deployment goes back.
    pub max_failures: u32,
    /// Requests in flight get so long.
    pub drain: Millis,
    /// Behind a foreign balancer: nothing arrived for so long before an app is stopped.
    pub quiet: Millis,
    /// From an app's start to its first passed check.
    pub start: Millis,
    /// From TERM to KILL.
    pub stop: Millis,
    /// How long the old app stays beside the new one after the switch (overlap).
    pub linger: Millis,
    /// A new release is believed once it was in service for so long: one that dies two seconds after its first
    /// passed check is caught here, before the next batch is touched (with overlap, before the old app ends). 0 waits
    /// for no proof.
    pub prove: Millis,
    /// For staging on one instance.
    pub stage: Millis,
    /// A soft hold lapses when not renewed for so long.
    pub lapse: Millis,
    /// What may wait while the gates hold.
    pub hold: HoldLimits,
    /// The deployment ends within this, paused and waiting for an operator apart. A way back has a bound of its own (the
    /// time of one update for each batch that it takes back, and one more, at most this once more), and so has the start
    /// after a migration, which has none: the record says until when.
    pub bound: Millis,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            strategy: Strategy::Rolling,
            batch: Size::Count(1),
            min_in_service: None,
            overlap: false,
            max_overlap: None,
            max_failures: 0,
            drain: Millis::from_secs(30),
            quiet: Millis::ZERO,
            start: Millis::from_secs(60),
            stop: Millis::from_secs(30),
            linger: Millis::from_secs(3),
            prove: Millis::from_secs(3),
            stage: Millis::from_secs(600),
            lapse: Millis::from_secs(5),
            hold: HoldLimits::default(),
            bound: Millis::from_secs(3_600),
        }
    }
}
