//! The way back: what was touched, and only that, returns to the old release. A roll returns by the rules of a roll.

use super::{Planner, WaitingOn};
use crate::deployment::State;
use crate::head::TakeBack;
use crate::ids::InstanceId;
use crate::instance::View;
use crate::order::Task;
use crate::policy::Strategy;
use crate::record::Progress;
use crate::time::Millis;
use crate::words;

impl Planner<'_> {
    /// The way back, if there is one; else the end.
    pub(super) fn go_back(&mut self, because: impl Into<String>) {
        let mut because = because.into();
        if self.next.take_back == Some(TakeBack::Restored)
            && let Some(from) = &self.next.from
        {
            because = format!("{because}; release {from} runs on, on a database that is said to be older");
        }
        match self.next.from.clone() {
            Some(from) if self.facts.head.allows(&from) => {
                self.next.until = Some(self.facts.elapsed + self.time_back());
                self.enter(State::RollingBack, because);
            }
            Some(from) => {
                let left = self.who_is_left();
                self.enter(
                    State::Failed,
                    format!("{because}; release {from} is forbidden since a migration{left}"),
                );
            }
            None => {
                let left = self.who_is_left();
                self.enter(State::Failed, format!("{because}; there is no release to go back to{left}"));
            }
        }
    }

    /// Where there is no way back, who did not get there is named, and who got there and is not seen in service now.
    fn who_is_left(&self) -> String {
        let there =
            |id: &InstanceId| self.next.instances[id].progress == Progress::Done && self.in_service(id);
        let is_left = |id: &InstanceId| !there(id);
        let left: Vec<InstanceId> = self.present().into_iter().filter(is_left).collect();
        if left.is_empty() {
            return String::new();
        }
        format!("; not in service on {}: {}", self.next.to, words::list(left.iter(), left.len()))
    }

    pub(super) fn go_back_in_time(&mut self) {
        self.go_back(format!("it took longer than its bound of {}", self.next.policy.bound));
    }

    /// How long the way back may take: a bound of its own, since it may begin when the deployment's is over, or after a
    /// migration, which has none. Each batch of what was touched gets the time of one update, and so does what comes
    /// between (an order that reaches its instance late, a coordinator that is lost). Never more than the bound once more.
    fn time_back(&self) -> Millis {
        let moves = |id: &InstanceId| self.is_affected(id);
        let touched = self.present().into_iter().filter(moves).count();
        let batches = match self.next.policy.strategy {
            Strategy::Rolling => touched.div_ceil(self.batch_size()) as u64,
            Strategy::AllAtOnce => 1,
        };
        self.patience().times(batches + 1).min(self.next.policy.bound)
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
                None
            }
        };
        self.say_who_moves();
        self.maybe_back(short.as_deref());
    }

    /// Whether those that are left cannot leave, and nobody has come, for as long as one update may take.
    fn short_for_long(&mut self, short: Option<&str>) -> bool {
        if short.is_none() || !self.moving().is_empty() || !self.nobody_comes() {
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

    fn maybe_back(&mut self, short: Option<&str>) {
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
        let (strangers, unheard) = (self.strangers(), self.unheard_newcomers());
        if !late && self.facts.seen.announced.is_none() {
            return;
        }
        let has_come = strangers.is_empty() && unheard.is_empty();
        if !late && self.facts.in_state <= self.patience() && !has_come {
            for (id, why) in strangers.into_iter().chain(unheard) {
                self.wait(WaitingOn::Answer(id, why));
            }
            return;
        }
        let is_back = |id: &InstanceId| self.next.instances[id].progress == Progress::Back;
        let not_back: Vec<InstanceId> = affected
            .into_iter()
            .filter(|id| !is_back(id))
            .chain(strangers.into_iter().map(|(id, _)| id))
            // Who answers, and boots, takes what head says.
            .chain(unheard.into_iter().map(|(id, _)| id).filter(|id| self.silent(id).is_some()))
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

    /// Who was met before it ran the release to go back to, has been told nothing, and has not said since that it runs
    /// that one. What it said last may be old.
    fn unheard_newcomers(&self) -> Vec<(InstanceId, String)> {
        let is_there = |view: &View| view.release == self.next.from;
        let came = |id: &InstanceId| {
            let is_old = self.next.instances[id].before == self.next.from;
            !is_old && !self.is_affected(id) && !self.view(id).is_some_and(is_there)
        };
        let why = |id: &InstanceId| {
            self.silent(id).unwrap_or_else(|| "it has not said yet which release it takes".to_owned())
        };
        self.present().into_iter().filter(came).map(|id| (id.clone(), why(&id))).collect()
    }

    fn why_not_back(&self, not_back: &[InstanceId], short: Option<&str>) -> String {
        let known =
            |id: &InstanceId| self.next.instances.get(id).is_some_and(|entry| entry.problem.is_some());
        if not_back.iter().any(known) {
            return self.why(not_back);
        }
        let silent = not_back.iter().find_map(|id| self.silent(id));
        silent.or_else(|| short.map(str::to_owned)).unwrap_or_else(|| self.why(not_back))
    }

    fn end_back(&mut self, not_back: &[InstanceId], short: Option<&str>) {
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
