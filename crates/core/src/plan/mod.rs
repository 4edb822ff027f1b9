//! Decides what a fleet does next; the only place that does.
//!
//! [`plan`] is a pure function of what was written (head, record) and what was seen (observation). It yields the
//! record as it should be next, with every grant in it, and for all that does not happen yet what it waits for.
//! Whoever runs it on the same facts gets the same answer: that makes takeover trivial.
//!
//! Laws: a grant is in the record before it is sent, so nothing here speaks to anybody. Capacity is counted
//! pessimistically: what was granted is out, what does not answer is out *and* able to act.

mod all_at_once;
mod end;
mod judge;
pub mod report;
mod rolling;
mod safety;
mod staging;
mod way_back;

pub use end::{head_after, head_before};
pub use report::WaitingOn;
pub use safety::min_in_service;

use crate::deployment::State;
use crate::fleet::{Observation, Seen};
use crate::head::{Head, TakeBack};
use crate::ids::{Fence, InstanceId, Rev};
use crate::instance::{Problem, View};
use crate::order::{Limits, Task};
use crate::policy::{Policy, Strategy};
use crate::record::{Entry, Grant, PhaseEntry, Progress, Record, Say};
use crate::release::ReleaseRef;
use crate::time::{Millis, Wall};

/// What the planner knows.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Head, as last read or written.
    pub head: &'a Head,
    /// The record, as last written by this coordinator's term.
    pub record: &'a Record,
    /// What was seen of the fleet.
    pub seen: &'a Observation,
    /// The deployment's counted time now.
    pub elapsed: Millis,
    /// Time in the present state.
    pub in_state: Millis,
    /// For the story.
    pub wall: Wall,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The record as it is to be written; the old one, if nothing changed.
    pub next: Record,
    /// Whether it has to be written.
    pub changed: bool,
    /// What does not happen yet, and why.
    pub waiting: Vec<WaitingOn>,
    /// Whose hold has to be renewed.
    pub renew: Vec<InstanceId>,
}

/// The next step of the deployment.
#[must_use]
pub fn plan(facts: Facts<'_>) -> Plan {
    let mut planner = Planner::new(facts);
    planner.meet();
    planner.judge();
    planner.hear();
    if planner.next.state != facts.record.state {
        // One move a write: whoever reads the record sees each.
        return planner.finish();
    }
    match planner.next.state {
        State::Pending => planner.begin(),
        State::Staging => planner.stage(),
        State::Rolling => planner.roll(),
        State::Paused => planner.stay_paused(),
        State::Holding => planner.hold(),
        State::Sealing => planner.seal(),
        State::Migrating => planner.migrate(),
        State::NeedsOperator => planner.ask(),
        State::Starting => planner.start(),
        State::RollingBack => planner.roll_back(),
        State::Succeeded | State::SucceededUnproven | State::RolledBack | State::Aborted | State::Failed => {}
    }
    planner.finish()
}

/// The record being worked on. Each step sees what the steps before it decided.
struct Planner<'a> {
    facts: Facts<'a>,
    next: Record,
    waiting: Vec<WaitingOn>,
    renew: Vec<InstanceId>,
}

impl<'a> Planner<'a> {
    fn new(facts: Facts<'a>) -> Self {
        let mut next = facts.record.clone();
        next.waiting.clear();
        Self { facts, next, waiting: Vec::new(), renew: Vec::new() }
    }

    /// Writes the revision into what was changed; grants of this plan already carry it.
    fn finish(mut self) -> Plan {
        let before = self.facts.record;
        let changed = {
            let mut comparable = self.next.clone();
            comparable.waiting.clone_from(&before.waiting);
            comparable != *before
        };
        if changed {
            self.next.rev = before.rev.next();
            self.next.elapsed = self.facts.elapsed;
        }
        Plan { next: self.next, changed, waiting: self.waiting, renew: self.renew }
    }

    /// The fence of what is granted by this plan.
    const fn fence(&self) -> Fence {
        Fence { term: self.next.term, rev: Rev(self.facts.record.rev.0 + 1) }
    }

    fn seen(&self, id: &InstanceId) -> Option<&'a Seen> {
        self.facts.seen.seen.get(id)
    }

    fn view(&self, id: &InstanceId) -> Option<&'a View> {
        self.seen(id).filter(|seen| seen.greeted)?.view.as_ref()
    }

    fn in_service(&self, id: &InstanceId) -> bool {
        let observed = self.facts.seen;
        self.seen(id).is_some_and(|seen| seen.in_service(observed.now, observed.silence))
    }

    /// Whether it does not answer this coordinator: not greeted, or silent since.
    fn silent(&self, id: &InstanceId) -> Option<String> {
        let seen = self.seen(id)?;
        let observed = self.facts.seen;
        let heard = seen.heard.is_some_and(|at| observed.now.since(at) <= observed.silence);
        let why = || seen.trouble.clone().unwrap_or_else(|| "it has not answered yet".to_owned());
        if seen.greeted && heard { None } else { Some(why()) }
    }

    /// The instances that take part: not gone, and not about to be ended by the fleet.
    fn present(&self) -> Vec<InstanceId> {
        let leaves = |id: &InstanceId| {
            let member = self.seen(id).and_then(|seen| seen.member.as_ref());
            member.is_some_and(|member| member.terminating)
        };
        let here = |(id, entry): &(&InstanceId, &Entry)| entry.progress != Progress::Gone && !leaves(id);
        self.next.instances.iter().filter(here).map(|(id, _)| id.clone()).collect()
    }

    fn entry(&mut self, id: &InstanceId) -> &mut Entry {
        self.next.instances.get_mut(id).expect("only ids of the record are passed here")
    }

    fn grant(&mut self, id: &InstanceId, task: Task) {
        let grant = Grant { fence: self.fence(), at: self.facts.elapsed, task };
        self.entry(id).granted = Some(grant);
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.next.tell(self.facts.wall, what);
    }

    fn wait(&mut self, on: WaitingOn) {
        self.waiting.push(on);
    }

    /// Moves the deployment on.
    fn enter(&mut self, state: State, because: impl Into<String>) {
        let from = self.next.state;
        debug_assert!(from.may_become(state), "{from} may not become {state}");
        let because = because.into();
        self.tell(format!("{state}: {because}"));
        self.next.phases.push(PhaseEntry { state, at: self.facts.wall });
        self.next.state = state;
        self.next.because = because;
        self.next.stuck_since = None;
    }

    /// Whether `id` starts the new release beside the old one, and so costs no capacity.
    fn overlaps(&self, id: &InstanceId) -> bool {
        let cramped = self.next.instances.get(id).is_some_and(|entry| entry.cramped.is_some());
        self.limits().overlap && !cramped
    }

    fn limits(&self) -> Limits {
        let policy = &self.next.policy;
        Limits {
            overlap: policy.overlap && policy.strategy == Strategy::Rolling,
            min: min_in_service(&Policy { overlap: false, ..policy.clone() }, self.facts.seen.desired),
            prove: policy.prove,
            ..Limits::of(policy)
        }
    }

    /// The longest that one instance's whole update may take before the coordinator calls it failed although the
    /// instance says nothing: the sum of its own limits, and 30 s for what has none.
    fn patience(&self) -> Millis {
        let policy = &self.next.policy;
        policy.drain + policy.quiet + policy.stop + policy.start + policy.prove + Millis::from_secs(30)
    }

    fn late(&self) -> bool {
        self.facts.elapsed > self.next.until()
    }

    /// Takes up what operators said, each word once.
    fn hear(&mut self) {
        for word in &self.facts.head.words {
            if word.deployment != self.next.id || !self.next.heard.insert(word.id.clone()) {
                continue;
            }
            let by = &word.by;
            match (word.what, self.next.state) {
                (Say::Pause, State::Rolling) => self.enter(State::Paused, format!("{by} paused it")),
                (Say::Resume, State::Paused) => {
                    self.next.instances.values_mut().for_each(|entry| entry.vanished = false);
                    self.enter(State::Rolling, format!("{by} resumed it"));
                }
                (Say::Abort, state) if state.may_abort() => {
                    self.next.aborted_by = Some(by.clone());
                    self.tell(format!("{by} asked for its end"));
                }
                (say, State::NeedsOperator) => self.answer(say, by),
                (say, state) => self.tell(format!("{by} said {say:?}, which has no meaning in {state}")),
            }
        }
    }

    fn begin(&mut self) {
        if self.next.aborted_by.is_some() {
            return self.enter(State::Aborted, "ended before anything was touched");
        }
        let present = self.present();
        if present.is_empty() && self.facts.seen.desired == 0 {
            // Who boots from now on waits for the next state; who read head before that has announced itself.
            let nobody_comes = self.facts.seen.announced.is_some() && self.strangers().is_empty();
            return if nobody_comes { self.begin_with_nobody() } else { self.await_strangers() };
        }
        if let Some(refusal) = self.cannot_keep_min() {
            return self.enter(State::Failed, refusal);
        }
        self.enter(State::Staging, "every instance makes the release ready while it serves");
    }

    fn await_strangers(&mut self) {
        if self.late() {
            return self.enter(State::Failed, "the deployment's time is over; nothing was touched");
        }
        for (id, why) in self.strangers() {
            self.wait(WaitingOn::Answer(id, why));
        }
    }

    fn begin_with_nobody(&mut self) {
        if self.next.migration.is_some() {
            let what = match self.next.take_back {
                None => "to run the migration",
                Some(TakeBack::Undo) => "to take the migration back",
                Some(TakeBack::Restored) => "to start on the restored database",
            };
            self.enter(
                State::Failed,
                format!("there is no instance {what}; scale out first, then ask for it again"),
            );
        } else {
            self.enter(State::SucceededUnproven, "the fleet is empty; the first newcomer proves the release");
        }
    }

    /// How many may move at once.
    fn batch_size(&self) -> usize {
        let present = u32::try_from(self.present().len()).unwrap_or(u32::MAX);
        self.next.policy.batch.of(present).max(1) as usize
    }

    fn fallback(&self) -> Option<ReleaseRef> {
        self.next.from.clone().filter(|from| *from != self.next.to)
    }

    fn fail(&mut self, id: &InstanceId, problem: Problem) {
        self.tell(format!("{id} failed: {problem}"));
        let entry = self.entry(id);
        entry.progress = Progress::Failed;
        entry.steady = false;
        entry.problem = Some(problem);
    }
}
