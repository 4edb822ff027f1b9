//! What a coordinator was told, by messages that came through: what nobody could know is asked of nobody.
//!
//! It is noted where the engine takes it, so that there is no moment between the two. Nothing here reads what the engine
//! made of it.

use crate::trace::HostNo;
use everup_core::fleet::Members;
use everup_core::ids::{InstanceId, Rev};
use everup_core::instance::{Phase, View};
use std::collections::BTreeMap;

/// By coordinator.
#[derive(Debug, Default)]
pub(crate) struct Told {
    heard: BTreeMap<(HostNo, InstanceId), Heard>,
    ended: BTreeMap<(HostNo, InstanceId), u64>,
    /// The revision of the record that it showed last.
    shown: BTreeMap<HostNo, Rev>,
}

/// The last that an instance said.
#[derive(Debug)]
struct Heard {
    run: u64,
    seq: u64,
    /// When it was heard last, whatever it said.
    at: u64,
    /// Since when it has said that its app runs and fails its checks.
    ill: Option<u64>,
}

impl Told {
    /// `id` told `by` what it does.
    pub(crate) fn hear(&mut self, by: HostNo, id: &InstanceId, view: &View, now: u64) {
        let ill = view.running && view.phase == Phase::Ill;
        let fresh = Heard { run: view.run, seq: view.seq, at: now, ill: ill.then_some(now) };
        match self.heard.get_mut(&(by, id.clone())) {
            // Answers overtake each other.
            Some(known) if known.run == view.run && known.seq > view.seq => known.at = now,
            Some(known) => {
                let since = known.ill.filter(|_| ill);
                *known = Heard { ill: since.or(fresh.ill), ..fresh };
            }
            None => drop(self.heard.insert((by, id.clone()), fresh)),
        }
    }

    /// The fleet's engine told `by` who there is.
    pub(crate) fn list(&mut self, by: HostNo, members: &Members, now: u64) {
        let ending = members.members.iter().filter(|(_, member)| member.terminating).map(|(id, _)| id);
        let ended: Vec<InstanceId> = ending.chain(&members.gone).cloned().collect();
        self.ended.retain(|(to, id), _| *to != by || ended.contains(id));
        for id in ended {
            self.ended.entry((by, id)).or_insert(now);
        }
    }

    /// `by` begins anew with `id`: what it knew of it does not count any more.
    pub(crate) fn greet(&mut self, by: HostNo, id: &InstanceId) {
        self.heard.remove(&(by, id.clone()));
    }

    /// `by` begins anew with everybody.
    pub(crate) fn forget(&mut self, by: HostNo) {
        self.heard.retain(|(to, _), _| *to != by);
        self.ended.retain(|(to, _), _| *to != by);
        self.shown.remove(&by);
    }

    /// Whether `by` knew before `at` that the app of `id` runs and is ill.
    pub(super) fn is_ill(&self, by: HostNo, id: &InstanceId, at: u64) -> bool {
        self.heard.get(&(by, id.clone())).and_then(|heard| heard.ill).is_some_and(|since| since < at)
    }

    /// Whether `by` has heard of `id` within `span` before `at`.
    pub(super) fn hears(&self, by: HostNo, id: &InstanceId, at: u64, span: u64) -> bool {
        self.heard.get(&(by, id.clone())).is_some_and(|heard| heard.at + span >= at)
    }

    /// Whether `by` knew before `at` that the group ends `id`, or has ended it.
    pub(super) fn has_ended(&self, by: HostNo, id: &InstanceId, at: u64) -> bool {
        self.ended.get(&(by, id.clone())).is_some_and(|since| *since < at)
    }

    /// `by` shows the record's revision `rev`; whether it showed the same before.
    pub(super) fn show(&mut self, by: HostNo, rev: Rev) -> bool {
        self.shown.insert(by, rev) == Some(rev)
    }
}
