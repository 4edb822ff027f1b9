//! Ten deliberate bugs, each breaking one rule of the design, behind the feature `planted-bugs`: the simulation has to
//! find every one of them. Without the feature [`planted`] is the constant `false`.

/// A deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A new coordinator acts on what it sees without greeting anybody.
    SkipGreeting,
    /// An instance obeys an order of a lower revision of the same term.
    AcceptLowerRev,
    /// A watcher judges the lease by its wall clock.
    TrustWallClock,
    /// An order is sent before the grant is in the record.
    OrderBeforeGrant,
    /// An instance seals although its hold has lapsed.
    SealAfterLapse,
    /// A newcomer does not announce itself before it reads head.
    SilentNewcomer,
    /// A sealed instance grows tired of waiting and starts the old release by itself, also after a grant.
    StartOldAfterGrant,
    /// A migration is run again by the next deployment that brings it.
    MigrateAgain,
    /// Forbidden releases are known to the record only, not to head.
    ForbiddenInRecord,
    /// A rollback takes back instances that were not touched.
    RollBackUntouched,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::SkipGreeting,
        Self::AcceptLowerRev,
        Self::TrustWallClock,
        Self::OrderBeforeGrant,
        Self::SealAfterLapse,
        Self::SilentNewcomer,
        Self::StartOldAfterGrant,
        Self::MigrateAgain,
        Self::ForbiddenInRecord,
        Self::RollBackUntouched,
    ];
}

#[cfg(feature = "planted-bugs")]
mod planting {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants `bug` in the engines of this thread, or removes the one that is there.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether `bug` is planted in this thread.
    #[must_use]
    pub fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "planted-bugs")]
pub use planting::{plant, planted};

/// Whether `bug` is planted: never, without the feature.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn planted(_bug: Bug) -> bool {
    false
}
