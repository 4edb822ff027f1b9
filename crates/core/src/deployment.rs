//! The states of a deployment and the moves between them that are legal.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Written down.
    Pending,
    /// Every instance makes the release ready while it serves.
    Staging,
    /// Batch by batch.
    Rolling,
    /// No new batch, by an operator's word, or because instances vanished on their way and a person has to look.
    Paused,
    /// The gates hold; the old apps finish what is inside them.
    Holding,
    /// The old apps are being stopped; nothing starts by itself any more.
    Sealing,
    /// The migration runs.
    Migrating,
    /// Nobody can say whether the migration was applied: a person has to.
    NeedsOperator,
    /// The new apps are being started.
    Starting,
    /// What was touched returns to the old release.
    RollingBack,
    /// Over: the fleet is on the new release.
    Succeeded,
    /// Over: there was no instance to prove it; the first newcomer will.
    SucceededUnproven,
    /// Over: the fleet is on the old release.
    RolledBack,
    /// Over: an operator ended it; the fleet is on the old release.
    Aborted,
    /// Over: what is not where it should be is named.
    Failed,
}

impl State {
    /// Whether it is over.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::SucceededUnproven | Self::RolledBack | Self::Aborted | Self::Failed
        )
    }

    /// Whether an operator may still end it: until a migration is granted.
    #[must_use]
    pub const fn may_abort(self) -> bool {
        matches!(
            self,
            Self::Pending | Self::Staging | Self::Rolling | Self::Paused | Self::Holding | Self::Sealing
        )
    }

    /// Whether time that passes in it counts towards the deployment's bound.
    #[must_use]
    pub const fn counts_time(self) -> bool {
        !self.is_final() && !matches!(self, Self::Paused | Self::NeedsOperator)
    }

    /// Whether a newcomer has to wait while a deployment is in it: from `sealing` on until there is an end; and while it is
    /// pending, which takes a moment, for a fleet that is found empty then takes the release without a roll.
    #[must_use]
    pub const fn newcomers_wait(self) -> bool {
        matches!(self, Self::Pending | Self::Sealing | Self::Migrating | Self::NeedsOperator | Self::Starting)
    }

    /// Whether a deployment may move from here to `next`. `failed` where the way back would be: there is no release to
    /// return to (the first deployment of an environment).
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use State::{
            Aborted, Failed, Holding, Migrating, NeedsOperator, Paused, Pending, RolledBack, Rolling,
            RollingBack, Sealing, Staging, Starting, Succeeded, SucceededUnproven,
        };
        match self {
            Pending => matches!(next, Staging | SucceededUnproven | Failed | Aborted),
            Staging => matches!(next, Rolling | Holding | Failed | Aborted | RolledBack),
            Rolling => matches!(next, Paused | RollingBack | Succeeded | SucceededUnproven | Failed),
            Paused => matches!(next, Rolling | RollingBack | Failed),
            Holding => matches!(next, Sealing | RollingBack | Failed),
            Sealing => matches!(next, Migrating | Starting | RollingBack | Failed),
            Migrating => matches!(next, Starting | RollingBack | NeedsOperator | Failed),
            NeedsOperator => matches!(next, Migrating | Starting | RollingBack | Failed),
            Starting => matches!(next, Succeeded | RollingBack | Failed),
            RollingBack => matches!(next, RolledBack | Aborted | Failed),
            Succeeded | SucceededUnproven | RolledBack | Aborted | Failed => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Staging => "staging",
            Self::Rolling => "rolling",
            Self::Paused => "paused",
            Self::Holding => "holding",
            Self::Sealing => "sealing",
            Self::Migrating => "migrating",
            Self::NeedsOperator => "needs-operator",
            Self::Starting => "starting",
            Self::RollingBack => "rolling-back",
            Self::Succeeded => "succeeded",
            Self::SucceededUnproven => "succeeded-unproven",
            Self::RolledBack => "rolled-back",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
        })
    }
}
