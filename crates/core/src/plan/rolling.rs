//! Rolling: one batch at a time, and the way back, which obeys the same rules.

use super::{Planner, WaitingOn, report};
use crate::deployment::State;
use crate::ids::InstanceId;
use crate::instance::{Phase, View};
use crate::order::Task;
use crate::policy::Strategy;
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
            (true, true) if self.nobody_comes() => self.maybe_short_for_good(),
            (true, true) => self.next.stuck_since = None,
            (true, false) => self.maybe_arrived(),
        }
    }

    /// Whether all that the fleet is to have are there and have answered: then no more capacity comes by itself, but for
    /// what was given up.
    fn nobody_comes(&self) -> bool {
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
    fn maybe_short_for_good(&mut self) {
        let since = *self.next.stuck_since.get_or_insert(self.facts.elapsed);
        if self.facts.elapsed.0.saturating_sub(since.0) <= self.patience().0 {
            return;
        }
        let behind: Vec<InstanceId> = [Progress::Untouched, Progress::Staged]
            .into_iter()
            .flat_map(|progress| self.with(progress))
            .collect();
        let (serving, min) = (self.facts.seen.in_service().len(), self.limits().min);
        let who = words::list(behind.iter(), 5);
        if behind.iter().all(|id| self.next.instances[id].retried) {
            let why = format!("all but {who} serve {}, and more cannot leave", self.next.to);
            return self.enter(State::Failed, why);
        }
        self.go_back(format!(
            "{who} cannot leave: {serving} in service, of which {min} must stay, and nobody else comes; scale out by one, or lower min_in_service"
        ));
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

    /// Whether it was told to make the release ready, and has not yet. Whoever comes later does so as it moves.
    fn makes_ready(&self, id: &InstanceId) -> bool {
        let entry = &self.next.instances[id];
        let told = matches!(entry.granted.as_ref().map(|grant| &grant.task), Some(Task::Stage { .. }));
        told && entry.progress == Progress::Untouched
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
        if self.next.proven && self.facts.seen.announced.is_none() {
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
            self.enter(State::Succeeded, format!("every instance serves {}", self.next.to));
        } else if !self.tell_once_more(&elsewhere) {
            let (who, why) = (words::list(elsewhere.iter(), 5), self.why(&elsewhere));
            if self.with(Progress::Done).is_empty() {
                return self.go_back(format!("nobody serves {}; {who} failed: {why}", self.next.to));
            }
            self.enter(State::Failed, format!("all but {who} serve {}: {why}", self.next.to));
        }
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
        if self.facts.seen.desired == 0 {
            self.enter(State::SucceededUnproven, "the fleet is empty; the first newcomer proves the release");
        } else if self.present().is_empty() {
            self.wait(WaitingOn::Capacity { serving: 0, min: self.min() });
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
            self.enter(
                State::Failed,
                format!("{who} did not answer: {why}; all others serve {}", self.next.to),
            );
        }
    }

    /// Takes what was touched, and only that, back.
    pub(super) fn roll_back(&mut self) {
        let Some(from) = self.next.from.clone() else {
            return self.enter(State::Failed, "there is no release to go back to");
        };
        let short = match self.next.policy.strategy {
            Strategy::Rolling => {
                let candidates = self.to_take_back();
                let at_most = self.batch_size();
                self.move_on(candidates, &from, at_most)
            }
            Strategy::AllAtOnce => {
                self.start_all(&from);
                false
            }
        };
        self.say_who_moves();
        self.maybe_back(short);
    }

    /// Whether those that are left cannot leave, and nobody has come, for as long as one update may take.
    fn short_for_long(&mut self, short: bool) -> bool {
        if !short || !self.moving().is_empty() || !self.nobody_comes() {
            self.next.stuck_since = None;
            return false;
        }
        let since = *self.next.stuck_since.get_or_insert(self.facts.elapsed);
        self.facts.elapsed.0.saturating_sub(since.0) > self.patience().0
    }

    /// What was touched, or took the new release as a newcomer, and is not on its way back.
    fn to_take_back(&self) -> Vec<InstanceId> {
        let touched = |id: &InstanceId| {
            let entry = &self.next.instances[id];
            let settled = matches!(entry.progress, Progress::GoingBack | Progress::Back);
            let waits = entry.progress == Progress::Failed && !self.may_try_again(id);
            (entry.touched || self.took_the_new_one(id) || self.took_what_is_on_trial(id))
                && !settled
                && !waits
                && self.silent(id).is_none()
        };
        self.present().into_iter().filter(touched).collect()
    }

    /// Whether it runs the new release, and that is another than the one to go back to.
    pub(super) fn took_the_new_one(&self, id: &InstanceId) -> bool {
        let to = Some(&self.next.to);
        self.next.from.as_ref() != to && self.view(id).is_some_and(|view| view.release.as_ref() == to)
    }

    /// Whether it runs what an empty fleet had taken before this deployment, and nobody has proven: whoever goes back goes
    /// back to what is proven, and all others with him.
    pub(super) fn took_what_is_on_trial(&self, id: &InstanceId) -> bool {
        let is_another = |view: &View| view.release.is_some() && view.release != self.next.from;
        self.facts.head.unproven && self.view(id).is_some_and(is_another)
    }

    /// What fails on the way back, to a release that was believed, may do so for a reason that passes (its database, its
    /// disk): it is tried again for as long as one update may take, once a start each time.
    fn may_try_again(&self, id: &InstanceId) -> bool {
        let entry = &self.next.instances[id];
        let last = entry.granted.as_ref().map_or(Millis::ZERO, |grant| grant.at);
        let rested = self.facts.elapsed.0.saturating_sub(last.0) > self.next.policy.start.0;
        entry.recalled.is_none() || (rested && !self.is_given_up(id))
    }

    fn is_given_up(&self, id: &InstanceId) -> bool {
        let since = |at: Millis| self.facts.elapsed.0.saturating_sub(at.0);
        self.next.instances[id].recalled.is_some_and(|at| since(at) > self.patience().0)
    }

    fn maybe_back(&mut self, short: bool) {
        let affected: Vec<InstanceId> =
            self.present().into_iter().filter(|id| self.is_affected(id)).collect();
        let open: Vec<&InstanceId> = affected
            .iter()
            .filter(|id| {
                let failed = self.next.instances[*id].progress == Progress::Failed;
                let is_over = failed && self.is_given_up(id);
                !is_over && !self.is_back_for_good(id)
            })
            .collect();
        let late = self.short_for_long(short) || self.late();
        if !open.is_empty() && !late {
            let silent: Vec<InstanceId> =
                open.iter().filter(|id| self.silent(id).is_some()).map(|id| (*id).clone()).collect();
            let lingering: Vec<InstanceId> = open
                .iter()
                .filter(|id| self.next.instances[**id].progress == Progress::Back)
                .map(|id| (*id).clone())
                .collect();
            for id in lingering {
                self.wait(WaitingOn::Proof(id, self.next.policy.linger));
            }
            for id in silent {
                let why = self.silent(&id).unwrap_or_default();
                self.wait(WaitingOn::Answer(id, why));
            }
            self.say_who_is_started_again();
            return;
        }
        // A newcomer that is still to be met, or was met by an earlier coordinator, may have taken the new release when
        // head named it.
        let strangers: Vec<_> = self.strangers().into_iter().chain(self.unheard_newcomers()).collect();
        if !late && self.facts.seen.announced.is_none() {
            return;
        }
        if !late && self.facts.in_state <= self.patience() && !strangers.is_empty() {
            for (id, why) in strangers {
                self.wait(WaitingOn::Answer(id, why));
            }
            return;
        }
        let is_back = |id: &InstanceId| self.next.instances[id].progress == Progress::Back;
        let not_back: Vec<InstanceId> = affected
            .into_iter()
            .filter(|id| !is_back(id))
            .chain(strangers.into_iter().map(|(id, _)| id))
            .collect();
        self.end_back(&not_back, short);
    }

    fn say_who_is_started_again(&mut self) {
        for id in self.with(Progress::Failed) {
            let Some(at) = self.next.instances[&id].recalled.filter(|_| !self.is_given_up(&id)) else {
                continue;
            };
            let left = Millis((at + self.patience()).0.saturating_sub(self.facts.elapsed.0));
            let why = self.why(std::slice::from_ref(&id));
            self.wait(WaitingOn::Update(id, format!("it is started again: {why}"), Some(left)));
        }
    }

    /// With overlap the given-up release lingers beside the old one, and serves again should that die: until it has
    /// ended, nobody can say that the instance is back.
    fn is_back_for_good(&self, id: &InstanceId) -> bool {
        let entry = &self.next.instances[id];
        let granted = entry.granted.as_ref().map(|grant| &grant.task);
        let lingers = matches!(granted, Some(Task::Update { limits, .. }) if limits.overlap);
        entry.progress == Progress::Back && (entry.steady || !lingers)
    }

    /// Whether it has to be back before the way back is over: what was touched, and newcomers that took the new release.
    pub(super) fn is_affected(&self, id: &InstanceId) -> bool {
        let entry = &self.next.instances[id];
        let whole_fleet = self.next.policy.strategy == Strategy::AllAtOnce;
        let took_another = self.took_the_new_one(id) || self.took_what_is_on_trial(id);
        entry.touched || whole_fleet || took_another || entry.progress == Progress::GoingBack
    }

    /// Who was met before it ran the release to go back to, has been told nothing, and does not answer this coordinator.
    fn unheard_newcomers(&self) -> Vec<(InstanceId, String)> {
        let came = |id: &InstanceId| {
            let entry = &self.next.instances[id];
            self.view(id).is_none() && !self.is_affected(id) && entry.before != self.next.from
        };
        let unheard = self.present().into_iter().filter(came);
        unheard.filter_map(|id| self.silent(&id).map(|why| (id, why))).collect()
    }

    fn why_not_back(&self, not_back: &[InstanceId], short: bool) -> String {
        let known =
            |id: &InstanceId| self.next.instances.get(id).is_some_and(|entry| entry.problem.is_some());
        if not_back.iter().any(known) {
            return self.why(not_back);
        }
        let silent = not_back.iter().find_map(|id| self.silent(id));
        let serving = self.facts.seen.in_service().len();
        let too_few = || format!("{serving} in service, of which {} must stay", self.limits().min);
        silent.or_else(|| short.then(too_few)).unwrap_or_else(|| self.why(not_back))
    }

    fn end_back(&mut self, not_back: &[InstanceId], short: bool) {
        let because = self.next.because.clone();
        if !not_back.is_empty() {
            let who = words::list(not_back.iter(), 5);
            let why = self.why_not_back(not_back, short);
            let is_back = |id: &InstanceId| !not_back.contains(id);
            let back: Vec<InstanceId> = self.present().into_iter().filter(is_back).collect();
            let others = match back.is_empty() {
                true => String::new(),
                false => format!("; {} stayed or came back", words::list(back.iter(), 5)),
            };
            self.enter(State::Failed, format!("{because}; {who} did not come back: {why}{others}"));
        } else if self.next.aborted_by.is_some() {
            self.enter(State::Aborted, because);
        } else {
            self.enter(State::RolledBack, because);
        }
    }
}
