//! Rolling: one batch at a time.

use super::{Planner, WaitingOn, report};
use crate::deployment::State;
use crate::ids::InstanceId;
use crate::instance::Phase;
use crate::order::Task;
use crate::record::{MOST_VANISHED, Progress};
use crate::time::Millis;
use crate::words;

impl Planner<'_> {
    /// Grants the next moves, or ends.
    pub(super) fn roll(&mut self) {
        self.prove();
        self.take_back_what_is_needed();
        if let Some(by) = self.next.aborted_by.clone() {
            return self.go_back(format!("{by} asked for its end"));
        }
        if self.late() {
            return self.go_back_in_time();
        }
        if let Some(why) = self.shared_illness() {
            self.next.stuck_since = None;
            self.say_who_moves();
            return self.wait(WaitingOn::Everybody(why));
        }
        if let Some(because) = self.failed_too_often() {
            return self.go_back(because);
        }
        if self.next.vanished().len() > MOST_VANISHED {
            return self.pause_for_the_vanished();
        }
        let to = self.next.to.clone();
        let (candidates, at_most) = (self.candidates(), self.batch());
        let short = self.move_on(candidates, &to, at_most);
        self.say_who_moves();
        match (self.moving().is_empty(), short) {
            (false, _) => self.next.stuck_since = None,
            (true, Some(why)) if self.nobody_comes() => self.maybe_short_for_good(&why),
            (true, Some(_)) => self.next.stuck_since = None,
            (true, None) => self.maybe_arrived(),
        }
    }

    /// Whether all that the fleet is to have are there and have answered: then no more capacity comes by itself, but for
    /// what was given up.
    pub(super) fn nobody_comes(&self) -> bool {
        let present = self.present();
        let answers = present.iter().all(|id| self.silent(id).is_none());
        let comes = |id: &InstanceId| {
            let phase = self.view(id).map(|view| view.phase);
            phase.is_some_and(|phase| {
                matches!(
                    phase,
                    Phase::Announced | Phase::Waiting | Phase::Starting | Phase::Healthy | Phase::Joining
                )
            })
        };
        let settles = self.with(Progress::Done).iter().any(|id| !self.next.instances[id].steady);
        present.len() >= self.facts.seen.desired as usize
            && answers
            && !present.iter().any(comes)
            && !settles
            && self.strangers().is_empty()
    }

    /// None of those that are left can leave. A person may scale out meanwhile, or somebody heal: that is waited for as
    /// long as one update may take, not until the bound is over.
    fn maybe_short_for_good(&mut self, short: &str) {
        let since = *self.next.stuck_since.get_or_insert(self.facts.elapsed);
        if self.facts.elapsed.0.saturating_sub(since.0) <= self.patience().0 {
            return;
        }
        let behind: Vec<InstanceId> = [Progress::Untouched, Progress::Staged]
            .into_iter()
            .flat_map(|progress| self.with(progress))
            .collect();
        let who = words::list(behind.iter(), 5);
        if behind.iter().all(|id| self.next.instances[id].retried) {
            let since = self.who_fell_since();
            let why = format!("all but {who} serve {}, and more cannot leave{since}", self.next.to);
            return self.enter(State::Failed, why);
        }
        self.go_back(format!("{who} cannot leave: {short}"));
    }

    /// Nothing new is granted; what was granted is carried out.
    pub(super) fn stay_paused(&mut self) {
        if let Some(by) = self.next.aborted_by.clone() {
            return self.go_back(format!("{by} asked for its end"));
        }
        // Who is asked whether the release made instances vanish need not be asked whether it fails.
        if let Some(because) = self.failed_too_often().filter(|_| self.next.asks()) {
            return self.go_back(because);
        }
        self.prove();
        self.take_back_what_is_needed();
        self.say_who_moves();
        self.wait(WaitingOn::Operator("everup resume, or everup abort".to_owned()));
    }

    fn failed_too_often(&self) -> Option<String> {
        let failed = self.failed();
        let too_often = failed.len() > self.next.policy.max_failures as usize;
        too_often.then(|| format!("{} failed: {}", words::list(failed.iter(), 3), self.why(&failed)))
    }

    fn pause_for_the_vanished(&mut self) {
        let who = words::list(self.next.vanished(), 5);
        self.enter(
            State::Paused,
            format!(
                "{who} vanished on the way to {}, and the fleet had not ended them; look whether the release did, then `everup resume`, or `everup abort`",
                self.next.to
            ),
        );
    }

    /// The first instance that served long enough proves the release: from now on newcomers take it.
    fn prove(&mut self) {
        let proof = |id: &InstanceId| self.next.instances[id].steady;
        if !self.next.proven && self.with(Progress::Done).iter().any(proof) {
            self.next.proven = true;
            self.tell("the first batch is proven: newcomers take the new release");
        }
    }

    /// Everyone who is not on the new release and can be told to move.
    fn candidates(&self) -> Vec<InstanceId> {
        let ready = |id: &InstanceId| {
            let waits = matches!(self.next.instances[id].progress, Progress::Untouched | Progress::Staged);
            waits && !self.makes_ready(id) && self.silent(id).is_none()
        };
        self.present().into_iter().filter(ready).collect()
    }

    /// Whether it was told to make the release ready, and has not yet. Whoever comes later does so as it moves, and so does
    /// one that has not heard of it for as long as that may take.
    fn makes_ready(&self, id: &InstanceId) -> bool {
        let entry = &self.next.instances[id];
        let Some(grant) = &entry.granted else { return false };
        let told = matches!(grant.task, Task::Stage { .. }) && entry.progress == Progress::Untouched;
        let is_lost = !self.has_obeyed(id, grant) && self.told_for(id) > self.next.policy.stage;
        told && !is_lost
    }

    /// How many may move at once. The first batch goes alone until it is proven; without an old release there is
    /// nothing to protect.
    fn batch(&self) -> usize {
        if self.next.from.is_none() {
            return self.present().len();
        }
        if self.next.proven {
            return self.batch_size().saturating_sub(self.unproven());
        }
        // What failed proves nothing; while failures are tolerated another one goes in its place.
        self.batch_size().saturating_sub(self.with(Progress::Done).len())
    }

    /// How many of a batch serve the new release, and have not served it for long enough: until they have, nobody goes in
    /// their place. Where the old app lingers beside the new one until then, a death costs a switch back and no restart; and
    /// who does not answer is gone round.
    fn unproven(&self) -> usize {
        let is_open = |id: &InstanceId| {
            let lingers = self.overlaps(id) && self.next.policy.linger >= self.next.policy.prove;
            !self.next.instances[id].steady && !lingers && self.silent(id).is_none()
        };
        let serving = self.with(Progress::Done);
        serving.into_iter().filter(|id| self.next.policy.prove > Millis::ZERO && is_open(id)).count()
    }

    /// Capacity fell while somebody was on its way out: who has not stopped its app yet comes back.
    fn take_back_what_is_needed(&mut self) {
        if self.facts.seen.in_service().len() >= self.limits().min as usize {
            return;
        }
        for id in self.moving().into_iter().filter(|id| !self.overlaps(id)).collect::<Vec<_>>() {
            let leaving =
                self.view(&id).is_some_and(|view| matches!(view.phase, Phase::Leaving | Phase::Idle));
            let told =
                matches!(self.next.instances[&id].granted.as_ref().map(|g| &g.task), Some(Task::TakeBack));
            if leaving && !told {
                self.tell(format!("{id} shall come back: too few are in service"));
                self.grant(&id, Task::TakeBack);
                return;
            }
        }
    }

    /// What everybody who was told to move does not do yet, and who is not proven.
    pub(super) fn say_who_moves(&mut self) {
        let at_it = |id: &InstanceId| self.makes_ready(id) && self.silent(id).is_none();
        for id in self.present().into_iter().filter(at_it).collect::<Vec<_>>() {
            let left = self.left_of(self.next.policy.stage, &id);
            self.wait(WaitingOn::Stage(id, left));
        }
        for id in self.moving() {
            let grant = self.next.instances[&id].granted.as_ref();
            let what = match (self.silent(&id), self.view(&id)) {
                (Some(why), _) => why,
                (None, Some(view)) => report::of_itself(view, grant),
                (None, None) => "it has said nothing yet".to_owned(),
            };
            let left = self.left_of(self.patience(), &id);
            self.wait(WaitingOn::Update(id, what, left));
        }
        for id in self.with(Progress::Done) {
            let entry = &self.next.instances[&id];
            if entry.steady {
                continue;
            }
            // The time of a whole update has room for its proof.
            let left = self.left_of(self.patience(), &id);
            let what = format!("to serve for {} as proof", self.next.policy.prove);
            self.wait(WaitingOn::Update(id, what, left));
        }
    }

    fn maybe_arrived(&mut self) {
        if !self.moving().is_empty()
            || self.with(Progress::Done).iter().any(|id| !self.next.instances[id].steady)
        {
            return;
        }
        // A newcomer may have read head before that named the new release, and not be listed by the fleet yet.
        if self.next.is_for_newcomers() && self.facts.seen.announced.is_none() {
            return;
        }
        let behind: Vec<InstanceId> = [Progress::Untouched, Progress::Staged]
            .into_iter()
            .flat_map(|progress| self.with(progress))
            .collect();
        let strangers = self.strangers();
        let failed = self.failed();
        if !behind.is_empty() || !strangers.is_empty() {
            return self.maybe_stuck(&behind, strangers);
        }
        if self.with(Progress::Done).is_empty() && failed.is_empty() {
            return self.nobody_left();
        }
        let elsewhere = self.elsewhere();
        if elsewhere.is_empty() {
            let since = self.who_fell_since();
            self.enter(State::Succeeded, format!("every instance serves {}{since}", self.next.to));
        } else if !self.tell_once_more(&elsewhere) {
            let (who, why) = (words::list(elsewhere.iter(), 5), self.why(&elsewhere));
            if self.with(Progress::Done).is_empty() {
                return self.go_back(format!("nobody serves {}; {who} failed: {why}", self.next.to));
            }
            let since = self.who_fell_since();
            self.enter(State::Failed, format!("all but {who} serve {}: {why}{since}", self.next.to));
        }
    }

    /// Who got there, and says that it does not serve now: the update is done, and a person wants to know.
    pub(super) fn who_fell_since(&self) -> String {
        let fell = |id: &InstanceId| self.view(id).is_some() && !self.in_service(id);
        let fell: Vec<InstanceId> = self.with(Progress::Done).into_iter().filter(fell).collect();
        if fell.is_empty() {
            return String::new();
        }
        format!("; but not in service now: {}", words::list(fell.iter(), fell.len()))
    }

    /// A failure that was tolerated may have had a reason that has passed since. Says whether anybody is told once more.
    fn tell_once_more(&mut self, failed: &[InstanceId]) -> bool {
        let again =
            |id: &&InstanceId| !self.next.instances[*id].retried && self.silent(id).is_none() && !self.late();
        let again: Vec<InstanceId> = failed.iter().filter(again).cloned().collect();
        for id in &again {
            let entry = self.entry(id);
            entry.retried = true;
            entry.progress = Progress::Untouched;
            let granted = entry.granted.take().map(|grant| grant.task);
            if matches!(granted, Some(Task::Stage { .. })) {
                self.grant(id, self.stage_task());
            }
            self.tell(format!("all others are there: {id} is told once more"));
        }
        !again.is_empty()
    }

    /// What failed; and of what was ill before, and is no failure, that which does not even run the new release.
    fn elsewhere(&self) -> Vec<InstanceId> {
        let there = |id: &InstanceId| {
            self.next.instances[id].ill_before
                && self
                    .view(id)
                    .is_some_and(|view| view.running && view.release.as_ref() == Some(&self.next.to))
        };
        self.with(Progress::Failed).into_iter().filter(|id| !there(id)).collect()
    }

    fn nobody_left(&mut self) {
        if self.facts.seen.desired == 0 && !self.next.offered {
            // Who boots while the end is written takes what head says: head first, then the end.
            self.next.offered = true;
            self.tell("nobody is left: newcomers take the new release");
        } else if self.facts.seen.desired == 0 {
            self.enter(State::SucceededUnproven, "the fleet is empty; the first newcomer proves the release");
        } else if self.present().is_empty() {
            self.wait(WaitingOn::Capacity { serving: 0, min: self.min(), left: None });
        } else {
            self.maybe_nobody_healed();
        }
    }

    /// All were ill before and are ill on the new release: neither failure nor proof. Their database may be away, so they
    /// get the time of an update to recover, and nobody is rolled back for it.
    fn maybe_nobody_healed(&mut self) {
        let ill = self.with(Progress::Failed);
        let (who, why) = (words::list(ill.iter(), 3), self.why(&ill));
        let since = *self.next.stuck_since.get_or_insert(self.facts.elapsed);
        if self.facts.elapsed.0.saturating_sub(since.0) > self.patience().0 {
            self.enter(State::Failed, format!("ill before, and ill on {}: {who}: {why}", self.next.to));
        } else {
            self.wait(WaitingOn::Everybody(format!("ill before, and still ill: {who}: {why}")));
        }
    }

    /// Only instances that do not answer are left. They are waited for as long as one update may take.
    fn maybe_stuck(&mut self, behind: &[InstanceId], strangers: Vec<(InstanceId, String)>) {
        let silent: Vec<(InstanceId, String)> =
            behind.iter().filter_map(|id| Some((id.clone(), self.silent(id)?))).collect();
        if silent.len() < behind.len() {
            self.next.stuck_since = None;
            return;
        }
        let since = *self.next.stuck_since.get_or_insert(self.facts.elapsed);
        let missing: Vec<(InstanceId, String)> = silent.into_iter().chain(strangers).collect();
        for (id, why) in &missing {
            self.wait(WaitingOn::Answer(id.clone(), why.clone()));
        }
        if self.facts.elapsed.0.saturating_sub(since.0) > self.patience().0 {
            let who = words::list(missing.iter().map(|(id, _)| id), 5);
            let why = missing.into_iter().map(|(_, why)| why).next().unwrap_or_default();
            let since = self.who_fell_since();
            self.enter(
                State::Failed,
                format!("{who} did not answer: {why}; all others serve {}{since}", self.next.to),
            );
        }
    }
}
