//! The faults that a world can have.

/// A kind of fault. Each world has some of them, at its own rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fault {
    /// The store answers late, after the caller gave up; a write lands all the same.
    StoreStalls,
    /// It fails, and nothing was written.
    StoreFails,
    /// It fails, and it was written.
    StoreLies,
    /// It says "lost" of one's own success.
    StoreLostOwn,
    /// Nobody reaches it for a while.
    StoreAway,
    /// One host does not reach it for a while.
    StoreCutOff,
    /// A message, or its answer, is lost.
    MessageLost,
    /// A message comes late.
    MessageLate,
    /// A message comes again later.
    MessageRepeated,
    /// A late order comes to another host than it was meant for.
    MessageAstray,
    /// One host does not reach another, in one direction.
    Partition,
    /// An agent is killed at an await.
    AgentCrash,
    /// An agent does not run for a while (SIGSTOP, a hypervisor's pause).
    AgentPause,
    /// A machine is lost.
    HostLost,
    /// A machine boots again: what was on its disk is there, and nothing else.
    Reboot,
    /// A zone is lost.
    ZoneLost,
    /// The group grows.
    ScaleOut,
    /// The group shrinks.
    ScaleIn,
    /// An app dies by itself.
    AppDies,
    /// An app fails its checks for a while.
    AppIll,
    /// All apps fail their checks for a while: their database is away.
    DatabaseAway,
    /// An app takes long to start.
    SlowStart,
    /// An app does not end when told to.
    SlowStop,
    /// A release cannot be staged for a while.
    StageFails,
    /// A release on a disk is damaged.
    DiskRot,
    /// The list of members is old.
    StaleMembers,
    /// The fleet's engine fails, perhaps after it did what was asked.
    FleetFails,
    /// The gate does not answer.
    GateFails,
    /// A gate's process is lost with what is inside, and comes back from its state file.
    GateLost,
    /// A journal cannot be written for a while.
    JournalFails,
    /// A wall clock jumps.
    ClockJumps,
    /// A release never starts, dies early, or lies about its version.
    BadRelease,
    /// A migration fails, or is killed by a signal.
    BadMigration,
    /// A migration's runner is lost while it runs.
    RunnerLost,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 34] = [
        Self::StoreStalls,
        Self::StoreFails,
        Self::StoreLies,
        Self::StoreLostOwn,
        Self::StoreAway,
        Self::StoreCutOff,
        Self::MessageLost,
        Self::MessageLate,
        Self::MessageRepeated,
        Self::MessageAstray,
        Self::Partition,
        Self::AgentCrash,
        Self::AgentPause,
        Self::HostLost,
        Self::Reboot,
        Self::ZoneLost,
        Self::ScaleOut,
        Self::ScaleIn,
        Self::AppDies,
        Self::AppIll,
        Self::DatabaseAway,
        Self::SlowStart,
        Self::SlowStop,
        Self::StageFails,
        Self::DiskRot,
        Self::StaleMembers,
        Self::FleetFails,
        Self::GateFails,
        Self::GateLost,
        Self::JournalFails,
        Self::ClockJumps,
        Self::BadRelease,
        Self::BadMigration,
        Self::RunnerLost,
    ];
}
