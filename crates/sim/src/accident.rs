//! The accidents that the design's rules exist for, each as a world of its own: many chances for just this one to
//! happen, and nothing else that would hide it.

use crate::fault::Fault;
use crate::moment::Moment;
use crate::run::{Outcome, run_setting};
use crate::setting::Setting;
use everup_core::deployment::State;
use std::collections::BTreeMap;

/// An accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accident {
    /// A late copy of an order undoes what a newer one did.
    LateCopy,
    /// An instance is cut off while the fleet is being sealed.
    Unsealed,
    /// The coordinator dies between two seals, or in any other moment of an all-at-once deployment.
    SealedAndNobodyLeads,
    /// Instances boot while the fleet is being sealed and migrated.
    Newcomer,
    /// A release with a migration is deployed again.
    MigrationAgain,
    /// Two operators press at once, at two agents, and the store's answers get lost.
    TwoDeployments,
    /// The coordinator's zone goes, and with it the deputies that were in it.
    ZoneOfTheCoordinator,
    /// A coordinator sleeps through its lease and wakes in the middle of a step.
    SleepingCoordinator,
    /// An order reaches another instance than it was meant for.
    OrderAstray,
    /// A write lands long after its writer gave up.
    LateWrite,
    /// Coordinators sleep before they write `version.properties`, and others deploy meanwhile.
    StaleMirror,
    /// A migration is killed, or its runner is lost, or its runner's agent sleeps.
    MigrationNotKnown,
    /// Two instances in two zones, one of which is ill.
    TwoOneIll,
    /// The group grows and shrinks in the middle.
    Scaling,
    /// The new release turns out to be bad after its migration.
    BadAfterMigration,
    /// The database is away for everybody.
    DatabaseAway,
    /// The balancer's list is old, and its engine's calls fail.
    StaleBalancer,
    /// Overlap is wanted, and most instances have no room for a second app.
    NoRoomForOverlap,
    /// Clocks are off by minutes, and coordinators die meanwhile: nobody is gone for that.
    ClocksOff,
    /// The store goes away while the fleet is being sealed, and coordinators die.
    StoreAwayWhileSealed,
    /// The store is away, or one instance does not reach it, in the middle of a roll.
    StoreAwayInARoll,
    /// A gate's process is lost with what it holds.
    GateLostWhileHeld,
    /// An app dies while its gate holds.
    AppDiedWhileHeld,
    /// Machines boot again while the fleet is sealed, also the one that migrates the database.
    RebootedWhileSealed,
    /// Apps, agents and gates are killed one at a time.
    ProcessKilled,
    /// Instances vanish without a word while they are updated.
    Vanished,
    /// Apps and agents die while their instances make a release ready.
    DeathWhileStaging,
    /// A migration is taken back, by coordinators and runners that die.
    TakenBack,
    /// A fleet of none takes a release, and the first newcomer proves it.
    TrialPassed,
    /// The same, and it does not serve.
    TrialFailed,
}

impl Accident {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::LateCopy,
        Self::Unsealed,
        Self::SealedAndNobodyLeads,
        Self::Newcomer,
        Self::MigrationAgain,
        Self::TwoDeployments,
        Self::ZoneOfTheCoordinator,
        Self::SleepingCoordinator,
        Self::OrderAstray,
        Self::LateWrite,
        Self::StaleMirror,
        Self::MigrationNotKnown,
        Self::TwoOneIll,
        Self::Scaling,
        Self::BadAfterMigration,
        Self::DatabaseAway,
        Self::StaleBalancer,
        Self::NoRoomForOverlap,
        Self::ClocksOff,
        Self::StoreAwayWhileSealed,
        Self::StoreAwayInARoll,
        Self::GateLostWhileHeld,
        Self::AppDiedWhileHeld,
        Self::RebootedWhileSealed,
        Self::ProcessKilled,
        Self::Vanished,
        Self::DeathWhileStaging,
        Self::TakenBack,
        Self::TrialPassed,
        Self::TrialFailed,
    ];

    /// Its faults: chances in a thousand for calls, mean seconds between two for what comes by itself.
    fn faults(self) -> &'static [(Fault, u32)] {
        use Fault::{
            AgentCrash, AgentPause, AppDies, AppIll, BadMigration, BadRelease, ClockJumps, FleetFails,
            GateLost, HostLost, MessageAstray, MessageLate, MessageLost, MessageRepeated, Partition, Reboot,
            ScaleIn, ScaleOut, SlowStart, StaleMembers, StoreAway, StoreCutOff, StoreLies, StoreLostOwn,
            StoreStalls, ZoneLost,
        };
        match self {
            Self::LateCopy => &[(MessageRepeated, 500), (MessageLate, 200)],
            Self::Unsealed => &[(Partition, 3), (MessageLost, 50)],
            Self::SealedAndNobodyLeads => &[(AgentCrash, 3)],
            Self::Newcomer => &[(ScaleOut, 4), (ScaleIn, 6), (StaleMembers, 200)],
            Self::MigrationAgain => &[(BadMigration, 1)],
            Self::TwoDeployments => &[(StoreLies, 200), (StoreLostOwn, 200)],
            Self::ZoneOfTheCoordinator => &[(ZoneLost, 20)],
            Self::SleepingCoordinator => &[(AgentPause, 6)],
            Self::OrderAstray => {
                &[(MessageRepeated, 400), (MessageAstray, 800), (ScaleOut, 15), (ScaleIn, 15)]
            }
            Self::LateWrite => &[(StoreStalls, 80), (StoreLies, 80)],
            Self::StaleMirror => &[(StoreStalls, 30), (StoreLies, 30)],
            Self::MigrationNotKnown => {
                &[(BadMigration, 1), (HostLost, 15), (AgentPause, 15), (AgentCrash, 8)]
            }
            Self::TwoOneIll => &[(AppIll, 5)],
            Self::Scaling => &[(ScaleIn, 6), (ScaleOut, 6)],
            Self::BadAfterMigration => &[(BadRelease, 1)],
            Self::DatabaseAway => &[(Fault::DatabaseAway, 15)],
            Self::StaleBalancer => &[(StaleMembers, 400), (FleetFails, 100)],
            Self::NoRoomForOverlap => &[(AppDies, 15), (SlowStart, 50)],
            Self::ClocksOff => &[(ClockJumps, 8), (AgentCrash, 12)],
            Self::StoreAwayWhileSealed => &[(StoreAway, 6), (AgentCrash, 12)],
            Self::StoreAwayInARoll => &[(StoreAway, 12), (StoreCutOff, 10)],
            Self::GateLostWhileHeld => &[(GateLost, 3)],
            Self::AppDiedWhileHeld => &[(AppDies, 2)],
            Self::RebootedWhileSealed => &[(Reboot, 2)],
            Self::ProcessKilled => &[(AppDies, 8), (AgentCrash, 8), (GateLost, 12)],
            Self::Vanished => &[(HostLost, 12)],
            Self::DeathWhileStaging => &[(AppDies, 2), (AgentCrash, 2)],
            Self::TakenBack => &[(BadMigration, 1), (AgentCrash, 12), (HostLost, 40)],
            Self::TrialPassed => &[(ScaleIn, 10), (ScaleOut, 10)],
            Self::TrialFailed => &[(BadRelease, 1), (ScaleIn, 10), (ScaleOut, 10)],
        }
    }

    /// What shows that it happened: all of these moments, in one world.
    const fn moments(self) -> &'static [Moment] {
        match self {
            Self::LateCopy => &[Moment::OlderOrderRefused],
            Self::Unsealed => &[Moment::CutOffWhileSealing],
            Self::SealedAndNobodyLeads => &[Moment::LeaderDiedWhileSealing],
            Self::Newcomer => &[Moment::BootedWhileSealed],
            Self::MigrationAgain => &[Moment::MigrationAsAgain],
            Self::TwoDeployments => &[Moment::LostTheRace],
            Self::ZoneOfTheCoordinator => &[Moment::LeaderLostWithZone],
            Self::SleepingCoordinator => &[Moment::WokeDeposed],
            Self::OrderAstray => &[Moment::OrderAstray],
            Self::LateWrite => &[Moment::WriteCameLate],
            Self::StaleMirror => &[Moment::MirrorLost],
            Self::MigrationNotKnown => &[],
            Self::TwoOneIll => &[Moment::OneOfTwoIll],
            Self::Scaling => &[Moment::EndedInARoll, Moment::LaunchedInARoll],
            Self::BadAfterMigration => &[Moment::BadAfterMigration],
            Self::DatabaseAway => &[Moment::RollWaitedForDatabase],
            Self::StaleBalancer => &[Moment::StaleListInARoll],
            Self::NoRoomForOverlap => &[Moment::MovedWithoutRoom],
            Self::ClocksOff => &[Moment::ClocksApart, Moment::LeaderDied],
            Self::StoreAwayWhileSealed => &[Moment::StoreAwayWhileSealing],
            Self::StoreAwayInARoll => &[Moment::StoreAwayInARoll, Moment::CutOffFromStoreInARoll],
            Self::GateLostWhileHeld => &[Moment::GateLostWithRequests],
            Self::AppDiedWhileHeld => &[Moment::AppDiedWhileHeld],
            Self::RebootedWhileSealed => &[Moment::BootedAsSealed],
            Self::ProcessKilled => {
                &[Moment::AppDiedInARoll, Moment::AgentDiedInARoll, Moment::GateLostInARoll]
            }
            Self::Vanished => &[Moment::VanishedInUpdate, Moment::PausedForTheVanished],
            Self::DeathWhileStaging => &[Moment::DiedWhileStaging],
            Self::TakenBack => &[Moment::TakenBack],
            Self::TrialPassed => &[Moment::TrialPassed],
            Self::TrialFailed => &[Moment::FellBackFromTrial],
        }
    }

    /// And these steps, with them.
    const fn steps(self) -> &'static [(State, State)] {
        match self {
            Self::Unsealed => &[(State::Sealing, State::RollingBack)],
            Self::MigrationNotKnown => &[(State::Migrating, State::NeedsOperator)],
            Self::BadAfterMigration => &[(State::Starting, State::Failed)],
            _ => &[],
        }
    }

    /// Whether it happened in the world of `outcome`, and was not only possible there.
    #[must_use]
    pub fn happened(self, outcome: &Outcome) -> bool {
        self.moments().iter().all(|moment| outcome.moments.contains_key(moment))
            && self.steps().iter().all(|step| outcome.transitions.contains_key(step))
    }

    fn setting(self, seed: u64) -> Setting {
        let mut setting = Setting::draw(seed);
        setting.faults = BTreeMap::from_iter(self.faults().iter().copied());
        setting.instances = setting.instances.clamp(2, 8);
        setting.deployments = 4;
        (setting.empty, setting.first, setting.none) = (false, false, false);
        setting.migrations = match self {
            Self::Unsealed
            | Self::SealedAndNobodyLeads
            | Self::Newcomer
            | Self::MigrationAgain
            | Self::ZoneOfTheCoordinator
            | Self::SleepingCoordinator
            | Self::MigrationNotKnown
            | Self::BadAfterMigration
            | Self::StoreAwayWhileSealed
            | Self::GateLostWhileHeld
            | Self::AppDiedWhileHeld
            | Self::RebootedWhileSealed
            | Self::TakenBack => 800,
            _ => 300,
        };
        match self {
            Self::TwoOneIll => (setting.instances, setting.zones, setting.migrations) = (2, 2, 0),
            Self::TwoDeployments => setting.meddling = true,
            Self::StaleMirror => {
                (setting.deployments, setting.migrations, setting.trouble) = (40, 0, 400_000);
                (setting.naps, setting.instances, setting.longest_start) = (800, 3, 200);
            }
            Self::TakenBack => (setting.deployments, setting.trouble) = (6, 150_000),
            Self::ZoneOfTheCoordinator => setting.zones = setting.zones.max(2),
            Self::DatabaseAway => setting.migrations = 0,
            Self::StoreAwayInARoll => (setting.aimed_at, setting.migrations) = (Some(State::Rolling), 0),
            Self::NoRoomForOverlap => {
                (setting.overlap, setting.cramped, setting.migrations) = (1_000, 600, 0);
            }
            Self::Unsealed | Self::StoreAwayWhileSealed => setting.aimed_at = Some(State::Sealing),
            Self::GateLostWhileHeld => {
                (setting.aimed_at, setting.between_requests) = (Some(State::Holding), 50);
            }
            Self::AppDiedWhileHeld => {
                (setting.aimed_at, setting.between_requests) = (Some(State::Holding), 50);
                (setting.instances, setting.longest_start) = (1 + seed as u32 % 2, 3_000);
            }
            Self::RebootedWhileSealed => {
                let states = [State::Sealing, State::Migrating, State::Starting];
                setting.aimed_at = states.get(seed as usize % 3).copied();
            }
            Self::MigrationNotKnown => setting.aimed_at = Some(State::Migrating),
            Self::DeathWhileStaging => setting.aimed_at = Some(State::Staging),
            Self::Vanished => {
                (setting.aimed_at, setting.migrations) = (Some(State::Rolling), 0);
            }
            Self::TrialPassed | Self::TrialFailed => {
                (setting.none, setting.instances, setting.migrations) = (true, 2, 0);
                setting.trouble = 150_000;
            }
            _ => {}
        }
        setting
    }
}

/// Runs the world of `seed` in which `accident` may happen.
#[must_use]
pub fn run_accident(accident: Accident, seed: u64) -> Outcome {
    run_setting(accident.setting(seed))
}
