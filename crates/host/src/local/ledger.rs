//! What the keeper knows of its fleet and must not forget: `run/keeper.json`.
//!
//! Law: an instance's number, and so its name, is given once; `seq` rises with each change that others can see.

use super::files::{self, FileError};
use super::ports::Block;
use crate::proc::Identity;
use everup_core::fleet::{Member, Members};
use everup_core::ids::{InstanceId, Zone};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The form of the document.
pub const FORM: u32 = 1;
/// Its name.
pub(super) const FILE: &str = "keeper.json";

/// So many ended instances are named; older ones were in no deployment that still runs.
const GONE: usize = 256;

/// One process that the keeper keeps alive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The embedded load balancer.
    Balancer,
    /// An instance's agent.
    Agent(InstanceId),
    /// An instance's own proxy.
    Proxy(InstanceId),
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Balancer => f.write_str("the balancer"),
            Self::Agent(id) => write!(f, "the agent of {id}"),
            Self::Proxy(id) => write!(f, "the proxy of {id}"),
        }
    }
}

/// The whole fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The form of this document.
    pub form: u32,
    /// Rises with each change of membership.
    pub seq: u64,
    /// The number of the instance that was made last.
    pub last: u64,
    /// How many instances are wanted; as the settings say until somebody scales.
    pub desired: Option<u32>,
    /// Whether every instance that ever was is known: not so when an earlier ledger was lost.
    pub complete: bool,
    /// Whether everything is being ended.
    #[serde(default)]
    pub closing: bool,
    /// The balancer's process.
    pub balancer: Option<Identity>,
    /// The instances that exist.
    pub seats: BTreeMap<InstanceId, Seat>,
    /// Those that ended, oldest first.
    pub gone: Vec<InstanceId>,
    /// Those of them that nobody had asked to end: their agents died at once, again and again.
    #[serde(default)]
    pub given_up: BTreeSet<InstanceId>,
}

/// One instance, as the keeper knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// A later one is newer.
    pub number: u64,
    /// Its pretended zone.
    pub zone: Zone,
    /// The first port of its block.
    pub port: u16,
    /// Not to be ended by scaling in.
    pub protected: bool,
    /// Whether it is being ended.
    pub terminating: bool,
    /// Its agent's process.
    pub agent: Option<Identity>,
    /// Its own proxy's process.
    pub proxy: Option<Identity>,
}

impl Seat {
    /// Its ports.
    #[must_use]
    pub const fn block(&self) -> Block {
        Block(self.port)
    }
}

impl Ledger {
    /// Makes a new instance, with a name that none had before.
    pub fn add(&mut self, zone: Zone, block: Block) -> InstanceId {
        self.last += 1;
        let id = InstanceId::new(format!("i{}", self.last)).expect("a letter and digits are an id");
        let seat = Seat {
            number: self.last,
            zone,
            port: block.0,
            protected: false,
            terminating: false,
            agent: None,
            proxy: None,
        };
        self.seats.insert(id.clone(), seat);
        self.seq += 1;
        id
    }

    /// Marks an instance as being ended; it learns it from its membership.
    pub fn end(&mut self, id: &InstanceId) {
        if let Some(seat) = self.seats.get_mut(id).filter(|seat| !seat.terminating) {
            seat.terminating = true;
            self.seq += 1;
        }
    }

    /// The same where nobody asked for it, and it does not live.
    pub fn give_up(&mut self, id: &InstanceId) {
        if self.seats.get(id).is_some_and(|seat| !seat.terminating) {
            self.given_up.insert(id.clone());
        }
        self.end(id);
    }

    /// The instance that ended so many others ago.
    #[must_use]
    pub fn ended_before(&self, others: usize) -> Option<&InstanceId> {
        self.gone.iter().rev().nth(others)
    }

    /// An instance has ended: nothing of it runs.
    pub fn forget(&mut self, id: &InstanceId) {
        if self.seats.remove(id).is_some() {
            self.gone.push(id.clone());
            self.gone.drain(..self.gone.len().saturating_sub(GONE));
            self.given_up.retain(|id| self.seats.contains_key(id) || self.gone.contains(id));
            self.seq += 1;
        }
    }

    /// What the last keeper of the folder `run` has noted, if there was one.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn noted(run: &Path) -> Result<Option<Self>, FileError> {
        files::read(&run.join(FILE))
    }

    /// Of the processes that are noted, those that run.
    pub fn living(&self) -> impl Iterator<Item = &Identity> {
        let seats = self.seats.values().flat_map(|seat| [&seat.agent, &seat.proxy]);
        seats.chain([&self.balancer]).flatten().filter(|noted| noted.lives())
    }

    /// Where `who`'s process is noted; nothing if its instance is not there.
    pub fn process(&mut self, who: &Who) -> Option<&mut Option<Identity>> {
        match who {
            Who::Balancer => Some(&mut self.balancer),
            Who::Agent(id) => self.seats.get_mut(id).map(|seat| &mut seat.agent),
            Who::Proxy(id) => self.seats.get_mut(id).map(|seat| &mut seat.proxy),
        }
    }

    /// The instances that are to stay.
    pub fn staying(&self) -> impl Iterator<Item = (&InstanceId, &Seat)> {
        self.seats.iter().filter(|(_, seat)| !seat.terminating)
    }

    /// What everybody may know, without the balancer's part in it.
    #[must_use]
    pub fn members(&self, desired: u32) -> Members {
        let member = |seat: &Seat| Member {
            zone: seat.zone.clone(),
            address: seat.block().api().to_string(),
            balanced: false,
            terminating: seat.terminating,
        };
        Members {
            seq: self.seq,
            desired,
            members: self.seats.iter().map(|(id, seat)| (id.clone(), member(seat))).collect(),
            gone: self.gone.iter().cloned().collect(),
            // Who dies is started again: one that is gone was asked to end, or was given up.
            ended: self.gone.iter().filter(|id| !self.given_up.contains(*id)).cloned().collect(),
            complete: self.complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_given_twice_and_every_visible_change_has_a_number() {
        let mut ledger = Ledger::default();
        let zone = Zone::new("a").unwrap();
        let first = ledger.add(zone.clone(), Block(20_000));
        ledger.end(&first);
        ledger.end(&first);
        ledger.forget(&first);
        ledger.forget(&first);
        assert_ne!(ledger.add(zone, Block(20_000)), first);
        assert_eq!(ledger.seq, 4);
        assert!(ledger.members(1).gone.contains(&first));
    }

    #[test]
    fn who_was_given_up_has_vanished_and_who_was_asked_to_end_has_not() {
        let mut ledger = Ledger::default();
        let [asked, given_up, both] = [0; 3].map(|_| ledger.add(Zone::new("a").unwrap(), Block(20_000)));
        ledger.end(&asked);
        ledger.give_up(&given_up);
        ledger.end(&both);
        ledger.give_up(&both);
        for id in [&asked, &given_up, &both] {
            ledger.forget(id);
        }
        let members = ledger.members(0);
        assert_eq!(members.gone, BTreeSet::from([asked.clone(), given_up, both.clone()]));
        assert_eq!(members.ended, BTreeSet::from([asked, both]));
    }

    #[test]
    fn the_list_of_the_ended_is_bounded() {
        let mut ledger = Ledger::default();
        for _ in 0..GONE + 10 {
            let id = ledger.add(Zone::new("a").unwrap(), Block(20_000));
            ledger.give_up(&id);
            ledger.forget(&id);
        }
        assert_eq!((ledger.gone.len(), ledger.given_up.len()), (GONE, GONE));
        assert_eq!(ledger.gone.last().unwrap().as_str(), format!("i{}", GONE + 10));
    }
}
