//! All at once: hold, seal, migrate, start.
//!
//! Until a migration is granted everything can return to the old release; after it there is only forward. The grant
//! and the return are writes of the same record, so neither can follow the other. Without a migration it can return for
//! as long as nobody serves the new release: the two are never to serve side by side.

use super::{Planner, WaitingOn};
use crate::deployment::State;
use crate::fleet::Observation;
use crate::head::TakeBack;
use crate::ids::{HoldId, InstanceId};
use crate::instance::{Outcome, Phase, Problem, Run, RunStage};
use crate::order::Task;
use crate::record::{Progress, RunEntry, Say};
use crate::release::{Migration, OnFailure, ReleaseRef};
use crate::time::Millis;
use crate::words;

/// A migration that could not even be begun is tried so often: another runner may be able to.
const MOST_TRIES: usize = 3;

impl Planner<'_> {
    /// A hold never survives its coordinator's term by name: a successor's orders name it again.
    pub(super) fn begin_to_hold(&mut self) {
        let id = format!("{}-{}", self.next.id, self.fence());
        self.next.hold = HoldId::new(id).ok();
        self.enter(State::Holding, "new requests wait, the old apps finish theirs");
        self.hold();
    }

    fn hold_task(&self) -> Option<Task> {
        let policy = &self.next.policy;
        let hold = self.next.hold.clone()?;
        Some(Task::Hold { hold, lapse: policy.lapse, limits: policy.hold })
    }

    /// Waits until every gate holds and every app is idle.
    pub(super) fn hold(&mut self) {
        if let Some(by) = self.next.aborted_by.clone() {
            return self.go_back(format!("{by} asked for its end"));
        }
        if let Some((id, why)) = self.lost_hold() {
            return self.go_back(format!("the hold of {id} ended: {why}"));
        }
        if self.late() {
            return self.go_back_in_time();
        }
        if self.was(State::Holding) && self.facts.in_state > self.next.policy.drain {
            return self.give_up_holding();
        }
        let Some(task) = self.hold_task() else { return };
        let mut idle = self.strangers().is_empty();
        for id in self.present() {
            let held =
                matches!(self.next.instances[&id].granted.as_ref().map(|g| &g.task), Some(Task::Hold { .. }));
            // Nobody is ordered who has not been greeted in this term.
            if self.view(&id).is_some() {
                if !held {
                    self.grant(&id, task.clone());
                }
                self.renew.push(id.clone());
            }
            if !self.is_held(&id) {
                idle = false;
                let left = self.next.policy.drain.0.saturating_sub(self.facts.in_state.0);
                self.wait(WaitingOn::Idle(id, Some(Millis(left))));
            }
        }
        for (id, why) in self.strangers() {
            self.wait(WaitingOn::Answer(id, why));
        }
        if idle && !self.present().is_empty() {
            self.begin_to_seal();
        }
    }

    /// Whether the state was entered before this plan: only then do its times count.
    fn was(&self, state: State) -> bool {
        self.facts.record.state == state
    }

    fn give_up_holding(&mut self) {
        let busy: Vec<InstanceId> = self.present().into_iter().filter(|id| !self.is_held(id)).collect();
        let who = words::list(busy.iter(), 3);
        self.go_back(format!(
            "requests inside {who} outlasted the drain time of {}; they were not cut",
            self.next.policy.drain
        ));
    }

    /// An instance whose hold was granted, was stored, and is over: it serves the old release again.
    fn lost_hold(&self) -> Option<(InstanceId, String)> {
        let lost = |id: InstanceId| {
            let grant = self.next.instances[&id].granted.as_ref()?;
            let view = self.view(&id)?;
            let told = matches!(grant.task, Task::Hold { .. } | Task::Seal { .. });
            let over = view.done >= grant.fence
                && !matches!(view.phase, Phase::Held | Phase::Sealed | Phase::Stopped);
            let said = view.problem.as_ref().map(|problem| problem.reason.clone());
            (told && over).then(|| (id, said.unwrap_or_else(|| "it let go".to_owned())))
        };
        self.present().into_iter().find_map(lost)
    }

    fn is_held(&self, id: &InstanceId) -> bool {
        let view = self.view(id).filter(|_| self.silent(id).is_none());
        view.is_some_and(|view| view.phase == Phase::Held && view.idle && view.hold == self.next.hold)
    }

    fn begin_to_seal(&mut self) {
        self.enter(State::Sealing, "the old apps are being stopped");
        // Nothing is sent before this is written. Who announced itself is listed after that, and only then can all
        // be sealed.
        self.seal();
    }

    /// Seals everyone; whoever is announced and not gone has to be among them.
    pub(super) fn seal(&mut self) {
        // What was said to be restored is in head before the record has moved on: then there is only forward.
        let is_restored = self.is_restored();
        if let Some(by) = self.next.aborted_by.clone().filter(|_| !is_restored) {
            return self.go_back(format!("{by} asked for its end"));
        }
        if let Some((id, why)) = self.lost_hold().filter(|_| !is_restored) {
            return self.go_back(format!("{id} did not seal: {why}"));
        }
        if self.late() && !is_restored {
            return self.go_back_in_time();
        }
        if !is_restored
            && self.was(State::Sealing)
            && self.facts.in_state > self.next.policy.stop + self.next.policy.drain
        {
            let open: Vec<InstanceId> = self.unsealed();
            return self.go_back(format!("{} did not seal in time", words::list(open.iter(), 3)));
        }
        let Some(hold) = self.next.hold.clone() else { return };
        for id in self.present() {
            let told =
                matches!(self.next.instances[&id].granted.as_ref().map(|g| &g.task), Some(Task::Seal { .. }));
            if !told && self.view(&id).is_some() {
                self.grant(&id, Task::Seal { hold: hold.clone() });
            }
        }
        let open = self.unsealed();
        for id in &open {
            self.wait(WaitingOn::Seal(id.clone()));
        }
        if open.is_empty()
            && self.was(State::Sealing)
            && self.facts.seen.announced.is_some()
            && !self.present().is_empty()
        {
            self.all_sealed();
        }
    }

    fn is_restored(&self) -> bool {
        let applied = |migration: &Migration| self.facts.head.applied.contains_key(&migration.id);
        self.next.take_back == Some(TakeBack::Restored) && !self.next.migration.as_ref().is_some_and(applied)
    }

    /// Everyone who could run the old release and has not stored the seal: members, those about to be ended too, and
    /// whoever announced itself, unless the fleet says that it is gone.
    fn unsealed(&self) -> Vec<InstanceId> {
        let seen: &Observation = self.facts.seen;
        let announced = seen.announced.iter().flatten();
        let members = seen.seen.iter().filter(|(_, met)| met.member.is_some()).map(|(id, _)| id);
        let known = self.next.instances.keys();
        let mut all: Vec<InstanceId> = announced.chain(members).chain(known).cloned().collect();
        all.sort();
        all.dedup();
        let sealed = |id: &InstanceId| {
            self.view(id).is_some_and(|view| view.phase == Phase::Sealed || view.phase == Phase::Migrating)
        };
        all.into_iter().filter(|id| !seen.is_gone(id) && !sealed(id)).collect()
    }

    fn all_sealed(&mut self) {
        match (&self.next.migration, self.next.take_back) {
            (Some(migration), Some(TakeBack::Restored)) => {
                let by = &self.next.by;
                let why = format!("{by} says that the database is as it was before {}", migration.id);
                self.begin_to_start(why);
            }
            (Some(_), _) => self.grant_run(1),
            (None, _) => self.begin_to_start("no migration: the new apps are started".to_owned()),
        }
    }

    /// Grants the migration to one runner: preferably one that has not failed to begin it, and not the coordinator, for
    /// one death shall not be both.
    fn grant_run(&mut self, attempt: u32) {
        let Some(migration) = self.next.migration.clone() else { return };
        let Some(runner) = self.runner() else {
            return self
                .wait(WaitingOn::Operator("no sealed instance answers that could run the migration".into()));
        };
        // What takes a migration back comes with the release that brought it.
        let undo = self.next.take_back.is_some();
        let from = self.next.from.as_ref().filter(|_| undo);
        let run = Run {
            migration: migration.id.clone(),
            release: from.unwrap_or(&self.next.to).clone(),
            deployment: self.next.id.clone(),
            environment: self.next.environment.clone(),
            attempt,
            command: migration.command,
            undo,
        };
        self.grant(&runner, Task::Migrate { run: run.clone() });
        self.next.runs.push(RunEntry { runner: runner.clone(), run, fence: self.fence(), outcome: None });
        let what = if undo { "takes back" } else { "runs" };
        self.enter_migrating(format!("{runner} {what} migration {}", migration.id));
    }

    fn enter_migrating(&mut self, because: String) {
        if self.next.state == State::Migrating {
            self.tell(because.clone());
            self.next.because = because;
        } else {
            self.enter(State::Migrating, because);
        }
    }

    fn runner(&self) -> Option<InstanceId> {
        let holder = self.facts.head.lease.as_ref().map(|lease| &lease.holder);
        let fit = |id: &&InstanceId| {
            self.silent(id).is_none() && self.view(id).is_some_and(|view| view.phase == Phase::Sealed)
        };
        let present = self.present();
        let fits: Vec<&InstanceId> = present.iter().filter(fit).collect();
        let tried = |id: &InstanceId| self.next.runs.iter().any(|run| run.runner == *id);
        fits.into_iter().min_by_key(|id| (tried(id), Some(*id) == holder)).cloned()
    }

    /// Waits for the migration, however long it takes.
    pub(super) fn migrate(&mut self) {
        let Some(run) = self.next.run().cloned() else {
            return self.enter(State::NeedsOperator, "the record names no run of the migration");
        };
        if self.facts.seen.is_gone(&run.runner) && self.outcome_of(&run).is_none() {
            let reason = format!("{} is gone, and with it what became of the migration", run.runner);
            return self.settle(&run, Outcome::Unknown { reason, log: Vec::new() });
        }
        match self.outcome_of(&run) {
            Some(outcome) => self.settle(&run, outcome),
            None => self.await_run(&run),
        }
    }

    fn outcome_of(&self, run: &RunEntry) -> Option<Outcome> {
        let granted = self.view(&run.runner)?.migration.as_ref().filter(|granted| granted.run == run.run)?;
        match &granted.stage {
            RunStage::Ended(outcome) => Some(outcome.clone()),
            RunStage::Accepted | RunStage::Spawned => None,
        }
    }

    fn await_run(&mut self, run: &RunEntry) {
        let what =
            match (self.silent(&run.runner), self.view(&run.runner).and_then(|view| view.migration.as_ref()))
            {
                (Some(why), _) => format!("its runner does not answer ({why})"),
                (None, Some(granted)) if granted.run == run.run => {
                    format!("running for {}", self.facts.in_state)
                }
                _ => "not accepted yet".to_owned(),
            };
        // A grant of an earlier term is asked for again under this one. The runner answers what became of it: a run
        // that it has accepted is never begun a second time, one that it never saw begins now.
        let stale = run.fence.term < self.next.term;
        let granted = self.next.instances.get(&run.runner).and_then(|entry| entry.granted.as_ref());
        let again = stale && granted.is_none_or(|grant| grant.fence.term < self.next.term);
        if again && self.view(&run.runner).is_some() {
            self.grant(&run.runner.clone(), Task::Migrate { run: run.run.clone() });
        }
        self.wait(WaitingOn::Migration(run.runner.clone(), what));
    }

    fn settle(&mut self, run: &RunEntry, outcome: Outcome) {
        if let Some(last) = self.next.runs.last_mut() {
            last.outcome = Some(outcome.clone());
        }
        let on_failure =
            self.next.migration.as_ref().map(|migration| migration.on_failure).unwrap_or_default();
        match outcome {
            Outcome::Exited { code: 0, .. } => {
                let what = if run.run.undo { "taken back" } else { "applied" };
                self.begin_to_start(format!("migration {} is {what}", run.run.migration));
            }
            Outcome::Exited { code, log } => {
                let last = log.last().map_or(String::new(), |line| format!(", its last line: {line}"));
                let why = format!("{} failed with exit status {code}{last}", run.run.what());
                match on_failure {
                    OnFailure::GoBack => self.go_back(why),
                    OnFailure::Stop => self.ask_about(run, &why),
                }
            }
            Outcome::NeverBegan { reason } => self.try_again(run, &reason),
            Outcome::Unknown { reason, .. } => self.ask_about(run, &reason),
        }
    }

    fn ask_about(&mut self, run: &RunEntry, why: &str) {
        let because = format!("{why}. look at the database, then say: {}", run.run.words());
        self.enter(State::NeedsOperator, because);
    }

    /// A run that never began has changed nothing: it is tried again, and then it was nothing.
    fn try_again(&mut self, run: &RunEntry, reason: &str) {
        let began = |run: &&RunEntry| run.outcome.as_ref().is_some_and(Outcome::is_never_begun);
        let tries = self.next.runs.iter().filter(began).count();
        if tries < MOST_TRIES {
            return self.grant_run(run.run.attempt + 1);
        }
        self.go_back(format!("{} could not be begun in {tries} tries: {reason}", run.run.what()));
    }

    /// A migration may have taken longer than the bound: the start has the time of one update all the same.
    fn begin_to_start(&mut self, because: String) {
        self.next.until = Some(self.next.policy.bound.max(self.facts.elapsed + self.patience()));
        self.enter(State::Starting, because);
        let to = self.next.to.clone();
        self.start_all(&to);
    }

    /// Waits for a person.
    pub(super) fn ask(&mut self) {
        self.wait(WaitingOn::Operator(self.next.because.clone()));
    }

    /// What a person said of a migration whose outcome was not known.
    pub(super) fn answer(&mut self, say: Say, by: &str) {
        let Some(run) = self.next.run().cloned() else { return };
        let what = run.run.what();
        if say.of_an_undo() != Some(run.run.undo) {
            return self.tell(format!("{by} said {say:?}, but the question is what became of {what}"));
        }
        match say {
            Say::MigrationApplied | Say::UndoApplied => {
                if let Some(last) = self.next.runs.last_mut() {
                    let log = vec![format!("{by} says that it was applied")];
                    last.outcome = Some(Outcome::Exited { code: 0, log });
                }
                self.begin_to_start(format!("{by} says that {what} was applied"));
            }
            Say::MigrationNotApplied | Say::UndoNotApplied => {
                self.go_back(format!("{by} says that {what} was not applied"));
            }
            Say::MigrationRunAgain | Say::UndoRunAgain if self.may_run_again(&run) => {
                self.grant_run(run.run.attempt + 1);
            }
            _ => {
                let runner = &run.runner;
                let refusal = format!(
                    "it cannot run again while {runner} may still begin it: {runner} has to answer, or to be ended in the fleet"
                );
                self.tell(refusal.clone());
                self.next.because = refusal;
            }
        }
    }

    /// Only when the old runner cannot act any more: it has answered in this term that its run is over (what is written
    /// down as ended never begins), or the fleet says that it is gone.
    fn may_run_again(&self, run: &RunEntry) -> bool {
        let over = self.outcome_of(run).is_some() && self.silent(&run.runner).is_none();
        over || self.facts.seen.is_gone(&run.runner)
    }

    /// Orders everyone who has not been told to start `release`.
    pub(super) fn start_all(&mut self, release: &ReleaseRef) {
        let back = self.next.state == State::RollingBack;
        for id in self.present() {
            let granted = self.next.instances[&id].granted.as_ref().map(|grant| &grant.task);
            let told = matches!(granted, Some(Task::Start { release: to, .. }) if to == release);
            if told || self.view(&id).is_none() {
                continue;
            }
            let (limits, now) = (self.limits(), self.facts.elapsed);
            self.grant(&id, Task::Start { release: release.clone(), limits });
            let entry = self.entry(&id);
            entry.steady = false;
            if !back {
                entry.problem = None;
            }
            entry.touched = true;
            entry.recalled = back.then_some(now);
            entry.progress = if back { Progress::GoingBack } else { Progress::Updating };
        }
    }

    /// Starts everywhere and waits.
    pub(super) fn start(&mut self) {
        let to = self.next.to.clone();
        self.start_all(&to);
        self.say_who_moves();
        let is_open = |id: &InstanceId| !self.next.instances[id].steady;
        let unsteady = self.with(Progress::Done).iter().any(is_open);
        self.give_up_on_the_silent();
        let open = !self.moving().is_empty()
            || unsteady
            || !self.with(Progress::Untouched).is_empty()
            || !self.with(Progress::Staged).is_empty();
        if open && !self.late() {
            return;
        }
        self.end_start();
    }

    fn give_up_on_the_silent(&mut self) {
        if self.facts.in_state <= self.patience() {
            return;
        }
        for id in self.present() {
            let arrived = matches!(self.next.instances[&id].progress, Progress::Done | Progress::Failed);
            if !arrived && let Some(why) = self.silent(&id) {
                self.fail(&id, Problem::new("start", format!("it does not answer: {why}")));
            }
        }
    }

    fn end_start(&mut self) {
        let to = self.next.to.clone();
        let ill: Vec<InstanceId> = self
            .present()
            .into_iter()
            .filter(|id| self.next.instances[id].progress != Progress::Done)
            .collect();
        let since = self.who_fell_since();
        if ill.is_empty() {
            return self.enter(State::Succeeded, format!("every instance serves {to}{since}"));
        }
        let (who, why) = (words::list(ill.iter(), 5), self.why(&ill));
        let because = format!("{who} did not start {to}: {why}");
        if self.nobody_serves_the_new_one() && self.fallback().is_some() && !self.next.migrated() {
            return self.go_back(because);
        }
        let ways = if self.next.migrated() {
            "there is only forward: deploy a release that mends it".to_owned()
        } else {
            let from = self.next.from.as_ref().map_or_else(String::new, |from| format!(" {from} again, or"));
            format!("deploy{from} a release that mends it, all at once")
        };
        self.enter(State::Failed, format!("{because}{since}; {ways}"));
    }

    fn nobody_serves_the_new_one(&self) -> bool {
        let serves = |id: &InstanceId| self.in_service(id) && self.took_the_new_one(id);
        self.with(Progress::Done).is_empty() && !self.present().iter().any(serves)
    }
}
