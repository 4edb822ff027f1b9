//! A host: what is on one machine, and what outlives what.
//!
//! An agent's crash loses its tasks; apps, gate, journal, disk and what minders wrote stay. The host's loss takes
//! all of it.

use super::Bell;
use super::agent::Agent;
use super::app::App;
use super::database::{RunKey, Written};
use super::gate::SimGate;
use crate::rng::Rng;
use crate::setting::Setting;
use crate::trace::{Death, HostNo};
use everup_core::ids::{InstanceId, StartId, Zone};
use everup_core::instance::{Memory, Slot};
use everup_core::release::ReleaseRef;
use std::collections::{BTreeMap, BTreeSet};

/// A machine.
pub(crate) struct Host {
    pub(crate) no: HostNo,
    pub(crate) id: InstanceId,
    pub(crate) zone: u8,
    /// Whether its processes can run.
    pub(crate) alive: bool,
    /// Its own random numbers.
    pub(crate) rng: Rng,
    /// There is no room for a second app.
    pub(crate) cramped: bool,
    /// What its clock is ahead of the truth, in milliseconds.
    pub(crate) clock_off: i64,
    /// Its journal, as it is on disk.
    pub(crate) journal: Option<Memory>,
    /// Until when the journal cannot be written.
    pub(crate) journal_fails_until: u64,
    /// Releases that are complete on its disk.
    pub(crate) disk: BTreeSet<ReleaseRef>,
    /// Until when nothing can be staged.
    pub(crate) staging_fails_until: u64,
    /// Until when its apps fail their checks.
    pub(crate) ill_until: u64,
    pub(crate) apps: BTreeMap<Slot, App>,
    /// How the apps that were have ended, and when.
    pub(crate) graves: BTreeMap<StartId, (Death, u64)>,
    pub(crate) gate: SimGate,
    /// What minders wrote of migrations.
    pub(crate) runs: BTreeMap<RunKey, Written>,
    pub(crate) agent: Option<Agent>,
    /// Rung when anything on it changed that a task may wait for.
    pub(crate) bell: Bell,
    /// How many runs its agent had.
    pub(crate) agent_runs: u32,
}

impl Host {
    /// A new machine.
    pub(crate) fn new(setting: &Setting, no: HostNo, zone: u8) -> Self {
        Self {
            no,
            id: name(no),
            zone,
            alive: true,
            rng: Rng::of(setting.seed, &format!("host {no}")),
            cramped: Rng::of(setting.seed, &format!("room of host {no}")).chance(setting.cramped),
            clock_off: 0,
            journal: None,
            journal_fails_until: 0,
            disk: BTreeSet::new(),
            staging_fails_until: 0,
            ill_until: 0,
            apps: BTreeMap::new(),
            graves: BTreeMap::new(),
            gate: SimGate::default(),
            runs: BTreeMap::new(),
            agent: None,
            bell: Bell::default(),
            agent_runs: 0,
        }
    }

    /// The app that is `start`, if it lives.
    pub(crate) fn app(&self, start: &StartId) -> Option<&App> {
        self.apps.values().find(|app| app.start() == start)
    }

    /// The zone's name.
    pub(crate) fn zone(&self) -> Zone {
        zone_name(self.zone)
    }
}

/// A host's name.
pub(crate) fn name(no: HostNo) -> InstanceId {
    InstanceId::new(format!("i{no}")).expect("it is a good name")
}

/// The number in a host's name.
pub(crate) fn number(id: &InstanceId) -> Option<HostNo> {
    id.as_str().strip_prefix('i')?.parse().ok()
}

/// A zone's name.
pub(crate) fn zone_name(zone: u8) -> Zone {
    Zone::new(char::from(b'a' + zone).to_string()).expect("a letter is a good name")
}
