//! Rule 2: a second deployment is refused with who holds the environment, and leaves no trace.

use crate::fault::Fault;
use crate::trace::{Event, What};
use crate::world::World;
use crate::world::releases::number;
use everup_core::deployment::State;
use everup_core::head::{Current, Head};
use everup_core::ids::DeploymentId;
use everup_core::words;
use std::collections::{BTreeMap, BTreeSet};

/// What the environment has been asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Every deployment that head ever named.
    named: BTreeMap<DeploymentId, Named>,
    /// The states that each had, and when they were written.
    states: BTreeMap<DeploymentId, Vec<(u64, State)>>,
    /// The releases that head ever named.
    releases: BTreeSet<u16>,
    /// Who was refused.
    refused: BTreeSet<String>,
    /// The last refusal.
    pub(crate) last: Option<Refusal>,
}

/// A deployment, and the time in which head named it.
#[derive(Debug)]
struct Named {
    current: Current,
    since: u64,
    until: Option<u64>,
}

/// What somebody was told who asked for a second deployment.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// Who asked.
    pub(crate) by: String,
    /// When.
    pub(crate) asked: u64,
    /// Which deployment runs, he was told.
    pub(crate) current: Current,
    /// And where it is.
    pub(crate) phase: State,
    /// The sentence.
    pub(crate) text: String,
}

impl Asked {
    pub(super) fn head(&mut self, head: &Head, now: u64) {
        let request = head.current.as_ref().map(|current| &current.request);
        let wanted = request.into_iter().flat_map(|request| [Some(&request.to), request.from.as_ref()]);
        let all = wanted.chain([head.newcomers.as_ref(), head.proven.as_ref()]).flatten();
        self.releases.extend(all.map(number));
        let current = head.current.as_ref().map(|current| &current.id);
        for (_, named) in self.named.iter_mut().filter(|(id, _)| Some(*id) != current) {
            named.until.get_or_insert(now);
        }
        if let Some(current) = &head.current {
            let named = || Named { current: current.clone(), since: now, until: None };
            self.named.entry(current.id.clone()).or_insert_with(named);
        }
    }

    /// Whether the last one that was refused had asked before that for which it was refused had begun.
    pub(crate) fn lost_the_race(&self) -> bool {
        let Some(last) = &self.last else { return false };
        self.named.get(&last.current.id).is_some_and(|named| last.asked <= named.since)
    }

    pub(super) fn state(&mut self, id: &DeploymentId, state: State, now: u64) {
        let states = self.states.entry(id.clone()).or_default();
        if states.last().map(|(_, last)| *last) != Some(state) {
            states.push((now, state));
        }
    }

    /// Whether the deployment was in `state` at any time from `from` on.
    fn was(&self, id: &DeploymentId, state: State, from: u64) -> bool {
        let states = self.states.get(id).map_or(&[][..], Vec::as_slice);
        let first = states.partition_point(|(at, _)| *at <= from).saturating_sub(1);
        let unwritten = state == State::Pending && states.first().is_none_or(|(at, _)| *at >= from);
        unwritten || states[first..].iter().any(|(_, was)| *was == state)
    }
}

/// Who is refused is told which deployment runs, who asked for it, since when, and where it is: as head and the record said
/// while it was asked. An agent that sleeps, or does not reach the store, may answer with what was true before.
pub(super) fn refused_with_who_holds_it(world: &World, event: &Event) -> Result<(), String> {
    let (What::Refused(_), Some(refusal)) = (&event.what, &world.law.asked.last) else { return Ok(()) };
    let Refusal { by, asked, current, phase, text } = refusal;
    let id = &current.id;
    let Some(named) = world.law.asked.named.get(id) else {
        return Err(format!("{by} was refused for {id}, which head never named"));
    };
    if named.current != *current {
        return Err(format!("{by} was told of {current:?}; head said {:?}", named.current));
    }
    let from = if answers_may_be_old(world) { 0 } else { *asked };
    if named.until.is_some_and(|until| until < from) {
        return Err(format!("{by} was refused for {id}, which was over before it was asked"));
    }
    if !world.law.asked.was(id, *phase, from) {
        return Err(format!("{by} was told that {id} is {phase}, which it was not while it was asked"));
    }
    let since = words::moment(current.request.at);
    let facts = [id.as_str(), &current.request.by, &since, &phase.to_string()];
    match facts.into_iter().find(|fact| !text.contains(fact)) {
        Some(fact) => Err(format!("{by} was refused without a word of {fact}: {text}")),
        None => Ok(()),
    }
}

fn answers_may_be_old(world: &World) -> bool {
    use Fault::{AgentPause, StoreAway, StoreCutOff, StoreFails, StoreLies, StoreStalls};
    [AgentPause, StoreAway, StoreCutOff, StoreFails, StoreLies, StoreStalls]
        .iter()
        .any(|fault| world.setting.rate(*fault) > 0)
}

/// What was refused never runs, neither before nor after: not a word of it is written.
pub(super) fn the_refused_leave_no_trace(world: &World, event: &Event) -> Result<(), String> {
    let Asked { named, refused, .. } = &world.law.asked;
    if !matches!(event.what, What::Head { .. } | What::Refused(_)) {
        return Ok(());
    }
    let runs = |named: &&Named| refused.contains(&named.current.request.by);
    match named.values().find(runs) {
        Some(Named { current, .. }) => {
            Err(format!("{} was refused, and {} runs for it", current.request.by, current.id))
        }
        None => Ok(()),
    }
}

/// Not a byte of a release is downloaded before head names it: only a deployment that has begun makes ready.
pub(super) fn nothing_is_fetched_unasked(world: &World, event: &Event) -> Result<(), String> {
    let What::Staged(no) = &event.what else { return Ok(()) };
    if world.law.asked.releases.contains(no) {
        return Ok(());
    }
    Err(format!("release {no} was downloaded, and no deployment to it has begun"))
}

/// Remembers who was refused.
pub(super) fn remember(asked: &mut Asked, event: &Event) {
    if let What::Refused(by) = &event.what {
        asked.refused.insert(by.clone());
    }
}
