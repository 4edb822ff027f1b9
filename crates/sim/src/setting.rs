//! What kind of world a seed makes: its size, its releases, its operators' taste, and which faults it has.

use crate::fault::Fault;
use crate::rng::Rng;
use everup_core::deployment::State;
use std::collections::BTreeMap;

/// Everything that is drawn before a world begins.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// The seed.
    pub(crate) seed: u64,
    /// How many instances there are at first.
    pub(crate) instances: u32,
    /// In how many zones.
    pub(crate) zones: u8,
    /// How long faults happen.
    pub(crate) trouble: u64,
    /// Which, and how often: in a thousand chances for those of single calls, a mean number of seconds between two
    /// for those that come by themselves.
    pub(crate) faults: BTreeMap<Fault, u32>,
    /// The mean time between two requests.
    pub(crate) between_requests: u64,
    /// The longest that an app takes for one.
    pub(crate) longest_request: u64,
    /// The longest that an app takes to start.
    pub(crate) longest_start: u64,
    /// How long the balancer goes on sending to who has left.
    pub(crate) late: u64,
    /// How many deployments operators want while there is trouble.
    pub(crate) deployments: u32,
    /// How many of a thousand of them bring a migration.
    pub(crate) migrations: u32,
    /// Whether operators pause, resume, abort and press twice.
    pub(crate) meddling: bool,
    /// How many of a thousand deployments want overlap.
    pub(crate) overlap: u32,
    /// How many of a thousand instances have no room for a second app.
    pub(crate) cramped: u32,
    /// Faults that come by themselves wait for a deployment in this state.
    pub(crate) aimed_at: Option<State>,
    /// Agents fall asleep as they are about to read `version.properties`: so many times in a thousand.
    pub(crate) naps: u32,
    /// Whether the environment begins empty, without a release.
    pub(crate) empty: bool,
    /// Whether its first deployments are what it is about: an environment that begins empty, in which much goes wrong before
    /// there is anything to go back to, under operators who cannot wait.
    pub(crate) first: bool,
    /// Whether the group may shrink to nothing, and somebody deploys then.
    pub(crate) none: bool,
}

impl Setting {
    /// Draws the world of `seed`.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Rng::of(seed, "setting");
        let instances = match rng.below(10) {
            0 => 1,
            1..=2 => 2,
            3..=7 => rng.between(3, 6) as u32,
            _ => rng.between(7, 20) as u32,
        };
        let drawn = Self {
            seed,
            instances,
            zones: rng.between(1, 3) as u8,
            trouble: rng.between(40, 150) * 1_000,
            faults: faults(seed, &mut rng),
            between_requests: rng.between(200, 1_500),
            longest_request: rng.between(20, 3_000),
            longest_start: rng.between(100, 4_000),
            late: if rng.chance(300) { rng.between(100, 5_000) } else { 0 },
            deployments: rng.between(1, 4) as u32,
            migrations: if rng.chance(600) { 500 } else { 0 },
            meddling: rng.chance(300),
            overlap: 300,
            cramped: 150,
            aimed_at: None,
            naps: 0,
            empty: rng.chance(100),
            first: false,
            none: false,
        };
        // Streams of their own: the other worlds stay as they are.
        if Rng::of(seed, "first").chance(100) {
            drawn.of_first_deployments()
        } else if Rng::of(seed, "none").chance(40) {
            drawn.down_to_none()
        } else if Rng::of(seed, "runners").chance(30) {
            drawn.of_lost_runners()
        } else {
            drawn
        }
    }

    /// Where it is about the first deployments.
    fn of_first_deployments(mut self) -> Self {
        (self.first, self.empty, self.meddling, self.deployments) = (true, true, true, 4);
        self.longest_start = self.longest_start.max(3_000);
        self.migrations = self.migrations.min(400);
        let faults = [(Fault::BadMigration, 1), (Fault::BadRelease, 1), (Fault::StoreStalls, 60)];
        self.faults.extend(faults);
        self
    }

    /// Where what goes wrong does so while a migration runs.
    fn of_lost_runners(mut self) -> Self {
        (self.aimed_at, self.migrations, self.instances) =
            (Some(State::Migrating), 800, self.instances.max(2));
        self.faults.insert(Fault::HostLost, 3);
        self
    }

    /// Where the group may end all of them.
    fn down_to_none(mut self) -> Self {
        (self.none, self.instances, self.deployments) = (true, self.instances.min(4), 4);
        self.late = self.late.max(1_000);
        self.faults.extend([(Fault::ScaleIn, 10), (Fault::ScaleOut, 25)]);
        self
    }

    /// Whether `fault` belongs to this world, and how often.
    pub(crate) fn rate(&self, fault: Fault) -> u32 {
        self.faults.get(&fault).copied().unwrap_or(0)
    }

    /// Whether nothing is injected at all.
    pub(crate) fn is_calm(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Few kinds a world, so that each is seen without the noise of the others, too; a tenth of the worlds has none.
fn faults(seed: u64, rng: &mut Rng) -> BTreeMap<Fault, u32> {
    let share = match rng.below(10) {
        0 => 0,
        1..=4 => 100,
        5..=7 => 250,
        _ => 500,
    };
    let of = |fault: &Fault| {
        let mut rng = Rng::of(seed, &format!("fault {fault:?}"));
        rng.chance(share).then(|| (*fault, rate(*fault, &mut rng)))
    };
    Fault::ALL.iter().filter_map(of).collect()
}

fn rate(fault: Fault, rng: &mut Rng) -> u32 {
    use Fault::{
        AgentCrash, AgentPause, AppDies, AppIll, ClockJumps, DatabaseAway, DiskRot, GateLost, HostLost,
        Partition, Reboot, ScaleIn, ScaleOut, StageFails, StoreAway, StoreCutOff, ZoneLost,
    };
    let seconds = match fault {
        AgentCrash => (3, 40),
        AgentPause | Partition | StoreCutOff | AppDies | AppIll => (8, 60),
        HostLost | Reboot | ScaleIn | ScaleOut | StageFails | GateLost => (15, 90),
        StoreAway | DatabaseAway | ZoneLost | ClockJumps | DiskRot => (40, 150),
        _ => return rng.between(5, 120) as u32,
    };
    rng.between(seconds.0, seconds.1) as u32
}
