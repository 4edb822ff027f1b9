//! What the users counted.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The most misses that are kept with their reasons; all are counted.
const MOST_MISSES: usize = 50;

/// What the users counted.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    /// By kind of request.
    pub kinds: BTreeMap<&'static str, Count>,
    /// The first of those that failed.
    pub misses: Vec<Miss>,
    /// Why requests failed, and how many for each reason; of all.
    #[serde(skip)]
    pub reasons: BTreeMap<String, u64>,
    /// The ids of POSTs that were sent.
    #[serde(skip)]
    pub sent: BTreeSet<String>,
    /// Of those, the ones that were answered with 200.
    #[serde(skip)]
    pub answered: BTreeSet<String>,
    /// Requests that were begun and have not ended.
    #[serde(skip)]
    pub under_way: u64,
}

/// Requests of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// All that ended.
    pub total: u64,
    /// Of those, the ones that failed.
    pub failed: u64,
    /// Of those, the ones that a drain ended cleanly.
    pub ended_by_design: u64,
    /// The longest, from when it was due to the end of its answer.
    pub longest_ms: u64,
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// What it was.
    pub kind: &'static str,
    /// What happened.
    pub reason: String,
}

impl Tally {
    /// All that ended.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.kinds.values().map(|count| count.total).sum()
    }

    /// All that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.kinds.values().map(|count| count.failed).sum()
    }

    /// Why the sample proves nothing, if it does not: nothing of a kind of `plan` was answered.
    #[must_use]
    pub fn empty(&self, plan: &super::Plan) -> Option<String> {
        let wanted = [
            ("GET", plan.gets),
            ("slow GET", plan.slow),
            ("POST", plan.posts),
            ("stream", plan.streams),
            ("WebSocket", plan.sockets),
        ];
        let none = |name: &str| self.kinds.get(name).is_none_or(|count| count.total == count.failed);
        let missing = wanted.into_iter().find(|(name, rate)| *rate > 0 && none(name));
        missing.map(|(name, _)| format!("not one {name} was answered"))
    }

    /// What is wrong with the app's own count: an answered POST that it has not, or any that it has twice.
    #[must_use]
    pub fn compare(&self, counted: &[String]) -> Vec<String> {
        let mut times: BTreeMap<&str, u32> = BTreeMap::new();
        for id in counted {
            *times.entry(id).or_default() += 1;
        }
        let lost = self.answered.iter().filter(|id| !times.contains_key(id.as_str()));
        let lost = lost.map(|id| format!("POST {id} was answered and is not counted"));
        let twice = times.iter().filter(|(_, n)| **n > 1);
        let twice = twice.map(|(id, n)| format!("POST {id} is counted {n} times"));
        lost.chain(twice).collect()
    }

    pub(super) fn hit(&mut self, kind: &'static str, took_ms: u64, by_design: bool) {
        let count = self.kinds.entry(kind).or_default();
        count.total += 1;
        count.ended_by_design += u64::from(by_design);
        count.longest_ms = count.longest_ms.max(took_ms);
    }

    pub(super) fn miss(&mut self, kind: &'static str, reason: &str) {
        let count = self.kinds.entry(kind).or_default();
        count.total += 1;
        count.failed += 1;
        *self.reasons.entry(reason.to_owned()).or_default() += 1;
        if self.misses.len() < MOST_MISSES {
            self.misses.push(Miss { kind, reason: reason.to_owned() });
        }
    }

    pub(super) fn posting(&mut self, id: &str) {
        self.sent.insert(id.to_owned());
    }

    pub(super) fn posted(&mut self, id: String) {
        self.answered.insert(id);
    }
}
