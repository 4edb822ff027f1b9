//! What many worlds came to: counts that add up, and the failures.

use crate::fault::Fault;
use crate::run::Outcome;
use everup_core::deployment::State;
use std::collections::BTreeMap;
use std::fmt;

/// Every state, in the order of the design.
const STATES: [State; 15] = [
    State::Pending,
    State::Staging,
    State::Rolling,
    State::Paused,
    State::Holding,
    State::Sealing,
    State::Migrating,
    State::NeedsOperator,
    State::Starting,
    State::RollingBack,
    State::Succeeded,
    State::SucceededUnproven,
    State::RolledBack,
    State::Aborted,
    State::Failed,
];

/// Legal, and never made, with the reason.
const NEVER: [(State, State, &str); 1] = [(
    State::Staging,
    State::RolledBack,
    "nothing is touched in `staging`, so nothing goes back: it ends as failed or aborted",
)];

/// So many worlds have to see everything that can happen.
pub(crate) const ENOUGH: u64 = 1_000;

/// The sum of many outcomes.
#[derive(Debug, Default)]
pub struct Report {
    /// How many worlds.
    pub worlds: u64,
    /// Events in all of them.
    pub events: u64,
    /// Polls in all of them.
    pub polls: u64,
    /// Virtual milliseconds in all of them.
    pub lasted: u64,
    /// Requests: served, failed.
    pub requests: (u64, u64),
    /// Worlds in which an operator had to deploy once more after the faults, by why.
    pub helped: BTreeMap<String, (u64, u64)>,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Transitions of deployments.
    pub transitions: BTreeMap<(State, State), u64>,
    /// Worlds that broke a rule.
    pub failures: Vec<Outcome>,
}

impl Report {
    /// Adds one world.
    pub fn add(&mut self, outcome: Outcome) {
        self.worlds += 1;
        self.events += outcome.events;
        self.polls += outcome.polls;
        self.lasted += outcome.lasted;
        self.requests.0 += outcome.requests.0;
        self.requests.1 += outcome.requests.1;
        if let Some(why) = outcome.helped.first() {
            self.helped.entry(why.clone()).or_insert((0, outcome.seed)).0 += 1;
        }
        for (fault, n) in &outcome.faults {
            *self.faults.entry(fault.clone()).or_default() += n;
        }
        for (step, n) in &outcome.transitions {
            *self.transitions.entry(*step).or_default() += n;
        }
        if outcome.broken.is_some() {
            self.failures.push(outcome);
        }
    }

    /// Adds the sum of other worlds.
    pub fn merge(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.events += other.events;
        self.polls += other.polls;
        self.lasted += other.lasted;
        self.requests.0 += other.requests.0;
        self.requests.1 += other.requests.1;
        for (why, (n, seed)) in other.helped {
            self.helped.entry(why).or_insert((0, seed)).0 += n;
        }
        for (fault, n) in other.faults {
            *self.faults.entry(fault).or_default() += n;
        }
        for (step, n) in other.transitions {
            *self.transitions.entry(step).or_default() += n;
        }
        self.failures.extend(other.failures);
    }

    /// The legal transitions that no world made.
    #[must_use]
    pub fn missing(&self) -> Vec<(State, State)> {
        legal().into_iter().filter(|step| !self.transitions.contains_key(step)).collect()
    }
}

impl Report {
    /// What has to happen in so many worlds, and did not, a sentence each; nothing to say of fewer than [`ENOUGH`].
    #[must_use]
    pub fn not_covered(&self) -> Vec<String> {
        if self.worlds < ENOUGH {
            return Vec::new();
        }
        let never = |from: State, to: State| NEVER.iter().any(|(f, t, _)| (*f, *t) == (from, to));
        let steps = self.missing().into_iter().filter(|(from, to)| !never(*from, *to));
        let steps = steps.map(|(from, to)| format!("no deployment went from {from} to {to}"));
        let made = self.transitions.keys().filter(|(from, to)| never(*from, *to));
        let made =
            made.map(|(from, to)| format!("a deployment went from {from} to {to}, which never happens"));
        let faults = Fault::ALL.map(|fault| format!("{fault:?}"));
        let faults = faults.into_iter().filter(|fault| !self.faults.contains_key(fault));
        let faults = faults.map(|fault| format!("the fault {fault} struck nowhere"));
        steps.chain(made).chain(faults).map(|what| format!("in {} worlds {what}", self.worlds)).collect()
    }
}

fn legal() -> Vec<(State, State)> {
    let to =
        |from: State| STATES.into_iter().filter(move |to| from.may_become(*to)).map(move |to| (from, to));
    STATES.into_iter().flat_map(to).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} worlds, {} h of their time; {} events, {} polls",
            self.worlds,
            self.lasted / 3_600_000,
            self.events,
            self.polls
        )?;
        let (served, failed) = self.requests;
        writeln!(f, "requests: {served} served, {failed} failed by a fault of the world's")?;
        writeln!(f, "\nworlds in which an operator had to deploy once more after the faults, for")?;
        for (why, (n, seed)) in &self.helped {
            writeln!(f, "  {n:>7}  {why} (seed {seed})")?;
        }
        writeln!(f, "\ntransitions ({} of {} legal ones):", self.transitions.len(), legal().len())?;
        for ((from, to), n) in &self.transitions {
            writeln!(f, "  {n:>7}  {from} > {to}")?;
        }
        for (from, to) in self.missing() {
            let never = NEVER.iter().find(|(f, t, _)| (*f, *t) == (from, to));
            let why = never.map_or(String::new(), |(_, _, why)| format!(": {why}"));
            writeln!(f, "     none  {from} > {to}{why}")?;
        }
        writeln!(f, "\nfaults:")?;
        for (fault, n) in &self.faults {
            writeln!(f, "  {n:>7}  {fault}")?;
        }
        for failure in &self.failures {
            let Some(broken) = &failure.broken else { continue };
            writeln!(f, "\nseed {} broke rule {}\n  {}", failure.seed, broken.rule, broken.how)?;
        }
        Ok(())
    }
}
