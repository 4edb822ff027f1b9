//! Everything that can be done before anything is touched.

use super::{Planner, WaitingOn};
use crate::deployment::State;
use crate::ids::InstanceId;
use crate::instance::Problem;
use crate::order::Task;
use crate::policy::Strategy;
use crate::record::Progress;
use crate::time::Millis;
use crate::words;

impl Planner<'_> {
    /// Every instance makes the release ready while it serves.
    pub(super) fn stage(&mut self) {
        if self.next.aborted_by.is_some() {
            return self.enter(State::Aborted, "ended before anything was touched");
        }
        self.order_staging();
        self.give_up_on_late_staging();
        let failed = self.failed();
        if failed.len() > self.tolerated() {
            let who = words::list(failed.iter(), 3);
            let why = self.why(&failed);
            return self.enter(
                State::Failed,
                format!("{who} could not make the release ready: {why}; nothing was touched"),
            );
        }
        let all_staged = self.all_staged();
        if self.late() {
            return self.enter(State::Failed, "the deployment's time is over; nothing was touched");
        }
        match self.next.policy.strategy {
            _ if !all_staged => {}
            Strategy::Rolling => self.enter(State::Rolling, "batch by batch"),
            Strategy::AllAtOnce => self.begin_to_hold(),
        }
    }

    fn tolerated(&self) -> usize {
        match self.next.policy.strategy {
            Strategy::Rolling => self.next.policy.max_failures as usize,
            Strategy::AllAtOnce => 0,
        }
    }

    fn order_staging(&mut self) {
        let task = self.stage_task();
        for id in self.present() {
            if self.next.instances[&id].granted.is_none() && self.view(&id).is_some() {
                self.grant(&id, task.clone());
            }
        }
    }

    pub(super) fn stage_task(&self) -> Task {
        Task::Stage { release: self.next.to.clone(), fallback: self.fallback() }
    }

    /// Who does not answer is gone round by a rolling deployment; all at once waits for it, as long as staging may
    /// take. Whoever was told late has as long from then on, within the deployment's bound.
    fn give_up_on_late_staging(&mut self) {
        if self.facts.in_state <= self.next.policy.stage {
            return;
        }
        let all_at_once = self.next.policy.strategy == Strategy::AllAtOnce;
        for id in self.present() {
            let silent = self.silent(&id);
            let granted = self.next.instances[&id].granted.as_ref();
            let is_over = match granted.filter(|grant| self.has_obeyed(&id, grant)) {
                Some(grant) => self.spent(&id, grant) > self.next.policy.stage,
                None => (all_at_once || silent.is_none()) && self.told_for(&id) > self.next.policy.stage,
            };
            if is_over && self.next.instances[&id].progress == Progress::Untouched {
                let why = silent.unwrap_or_else(|| "it is still at it".to_owned());
                self.fail(
                    &id,
                    Problem::new("stage", format!("not ready after {}: {why}", self.next.policy.stage)),
                );
            }
        }
    }

    /// How long ago it was granted what it was granted; never greeted, as long as the state lasts.
    pub(super) fn told_for(&self, id: &InstanceId) -> Millis {
        let granted = self.next.instances[id].granted.as_ref();
        granted.map_or(self.facts.in_state, |grant| Millis(self.facts.elapsed.0.saturating_sub(grant.at.0)))
    }

    /// Whether everyone who can answer is ready; says for whom it waits. A roll goes round those who do not answer, but
    /// not round those who have only not answered yet.
    fn all_staged(&mut self) -> bool {
        let all_at_once = self.next.policy.strategy == Strategy::AllAtOnce;
        let mut ready = true;
        for id in self.present() {
            // All at once needs everyone's answer in this term, ready or not: who was not greeted can act.
            let staged = self.next.instances[&id].progress != Progress::Untouched;
            match self.silent(&id) {
                Some(_) if staged && !all_at_once => {}
                None if staged => {}
                Some(why) => {
                    ready &= !all_at_once && !self.may_yet_answer(&id);
                    self.wait(WaitingOn::Answer(id, why));
                }
                None => {
                    let left = self.left_of(self.next.policy.stage, &id);
                    self.wait(WaitingOn::Stage(id, left));
                    ready = false;
                }
            }
        }
        // Members that were never greeted have no entry yet.
        for (id, why) in self.strangers() {
            ready &= !all_at_once && !self.may_yet_answer(&id);
            self.wait(WaitingOn::Answer(id, why));
        }
        ready && !self.present().is_empty()
    }

    /// Whether nothing is known against an instance that is silent, and it has had less time than an answer may take.
    fn may_yet_answer(&self, id: &InstanceId) -> bool {
        let troubled = self.seen(id).is_some_and(|seen| seen.trouble.is_some());
        !troubled && self.facts.in_state <= self.facts.seen.silence
    }
}
