//! Reads progress off what the instances say.

use super::Planner;
use crate::deployment::State;
use crate::fleet::Seen;
use crate::ids::InstanceId;
use crate::instance::{Phase, Problem, View};
use crate::order::Task;
use crate::record::{Arrival, Entry, Grant, Progress};
use crate::time::Millis;

/// Three failed checks, a second apart, make an app ill; and a message has to come.
const SHARED_WITHIN: Millis = Millis(5_000);

impl Planner<'_> {
    /// Writes down who is new, and who is gone because the fleet says so.
    pub(super) fn meet(&mut self) {
        let seen = self.facts.seen;
        for (id, met) in &seen.seen {
            let Some(member) = &met.member else { continue };
            if seen.is_gone(id) || self.next.instances.contains_key(id) || member.terminating || !met.greeted
            {
                continue;
            }
            let Some(view) = &met.view else { continue };
            let entry = Entry {
                zone: member.zone.clone(),
                before: view.release.clone(),
                ill_before: view.phase == Phase::Ill,
                starting_before: view.phase == Phase::Starting && !view.healthy,
                granted: None,
                progress: Progress::Untouched,
                touched: false,
                recalled: None,
                retried: false,
                steady: false,
                problem: None,
                arrival: None,
                ill_since: None,
                fetched: None,
                cramped: None,
                objected: false,
                was_well: false,
                vanished: false,
            };
            self.next.instances.insert(id.clone(), entry);
        }
        let ids: Vec<InstanceId> = self.next.instances.keys().cloned().collect();
        for id in ids {
            // What it failed at while it was ill stays no failure.
            let serves = self.in_service(&id);
            let entry = self.entry(&id);
            if serves && !entry.touched {
                entry.was_well = true;
                if entry.progress != Progress::Failed {
                    (entry.ill_before, entry.starting_before) = (false, false);
                }
            }
            if seen.is_gone(&id) && self.entry(&id).progress != Progress::Gone {
                self.lose(&id);
            }
        }
    }

    /// What the fleet ended is no failure of the release. What ended without its word, on the way to the release or before
    /// it was proven there, may have been ended by it: a kernel that ran out of memory, a machine that it brought down.
    fn lose(&mut self, id: &InstanceId) {
        let rolls = matches!(self.next.state, State::Rolling | State::Paused);
        // Of whom an engine that knows everybody lists no end, that end is long past.
        let seen = self.facts.seen;
        let ended = seen.ended.contains(id) || !seen.gone.contains(id);
        let entry = self.entry(id);
        let moved = match entry.progress {
            Progress::Updating => true,
            Progress::Done => entry.touched && !entry.steady,
            _ => false,
        };
        entry.vanished = rolls && moved && !ended;
        entry.progress = Progress::Gone;
        let how = if entry.vanished { ", on its way, and nobody had ended it" } else { "" };
        self.tell(format!("{id} is gone, the fleet says{how}"));
    }

    /// Reads what each instance made of its last grant.
    pub(super) fn judge(&mut self) {
        self.note_lowest();
        self.note_shared_illness();
        for id in self.present() {
            let Some(grant) = self.next.instances[&id].granted.clone() else { continue };
            if grant.fence.term < self.next.term && !self.is_settled(&id, &grant) {
                self.grant_again(&id, grant);
                continue;
            }
            let Some(view) = self.view(&id) else { continue };
            if view.fence >= grant.fence {
                self.judge_one(&id, view, &grant);
            }
        }
    }

    /// What arrived or failed under an earlier coordinator needs no new grant, but its proof, or its death, may have come
    /// since.
    fn is_settled(&self, id: &InstanceId, grant: &Grant) -> bool {
        let moved = matches!(grant.task, Task::Update { .. } | Task::Start { .. });
        let progress = self.next.instances[id].progress;
        moved && matches!(progress, Progress::Done | Progress::Back | Progress::Failed)
    }

    /// A grant of an earlier coordinator: the instance refuses its fence since it was greeted, so it is granted anew.
    /// If the instance has carried it out, doing it again changes nothing.
    fn grant_again(&mut self, id: &InstanceId, grant: Grant) {
        let moot = match grant.task {
            Task::Hold { .. } => self.next.state != State::Holding,
            Task::Seal { .. } => self.next.state != State::Sealing,
            // A migration is never granted anew here: its run is asked for, and decided in `migrate`.
            Task::Migrate { .. } => true,
            _ => self.next.instances[id].progress == Progress::Staged,
        };
        if !moot && self.view(id).is_some() {
            self.grant(id, grant.task);
        }
    }

    fn judge_one(&mut self, id: &InstanceId, view: &View, grant: &Grant) {
        let done = view.done >= grant.fence;
        match &grant.task {
            Task::Stage { .. } if done => self.staged(id, view),
            Task::Stage { .. } => self.maybe_ill(id, view, grant),
            Task::Update { release, .. } | Task::Start { release, .. } => {
                if objects(view, grant) {
                    return self.sustain(id, view, grant);
                }
                let arrived = done && view.release.as_ref() == Some(release) && self.in_service(id);
                if arrived {
                    self.arrived(id, view);
                } else {
                    self.maybe_ill(id, view, grant);
                }
            }
            Task::TakeBack if done => self.came_back(id, view, grant),
            Task::TakeBack => self.maybe_late(id, view, grant, self.patience()),
            Task::Hold { .. } | Task::Seal { .. } | Task::Migrate { .. } => {}
        }
    }

    fn staged(&mut self, id: &InstanceId, view: &View) {
        let entry = self.entry(id);
        if entry.progress == Progress::Untouched {
            entry.progress = Progress::Staged;
            entry.fetched = view.fetched;
        }
    }

    /// It serves on, and is granted its move again when the others can spare it.
    fn sustain(&mut self, id: &InstanceId, view: &View, grant: &Grant) {
        let why = view.objects.clone().unwrap_or_default();
        self.tell(format!("{id} objects: {why}"));
        let entry = self.entry(id);
        if matches!(&grant.task, Task::Update { limits, .. } if limits.overlap) {
            entry.cramped = Some(why);
        } else {
            entry.objected = true;
        }
        entry.progress = Progress::Staged;
        entry.granted = None;
    }

    fn arrived(&mut self, id: &InstanceId, view: &View) {
        let (at, now) = (self.facts.wall, self.facts.elapsed);
        let entry = self.entry(id);
        let back = entry.recalled.is_some();
        let progress = if back { Progress::Back } else { Progress::Done };
        entry.steady = view.steady;
        entry.ill_since = None;
        if entry.progress != progress {
            entry.progress = progress;
            entry.arrival = entry
                .granted
                .as_ref()
                .map(|grant| Arrival { at, took: Millis(now.0.saturating_sub(grant.at.0)) });
            // Whoever is back keeps what went wrong: that is why the deployment ended as it did.
            if !back {
                entry.problem = None;
            }
            let release = view.release.as_ref().map_or_else(String::new, ToString::to_string);
            self.tell(format!("{id} is in service on {release}"));
        }
    }

    /// A drain that was taken back: it serves the old release again, or was past the point and went on.
    fn came_back(&mut self, id: &InstanceId, view: &View, grant: &Grant) {
        let to = self.next.to.clone();
        if view.release.as_ref() == Some(&to) && self.in_service(id) {
            self.arrived(id, view);
        } else if view.release.as_ref() == Some(&to) {
            self.maybe_ill(id, view, grant);
        } else if view.running && view.release.as_ref() != Some(&to) {
            let entry = self.entry(id);
            entry.progress = Progress::Staged;
            entry.granted = None;
            entry.touched = false;
            self.tell(format!("{id} came back before its app was stopped"));
        }
    }

    /// An order that ended in a problem, or did not end in the time that all its parts may take.
    fn maybe_ill(&mut self, id: &InstanceId, view: &View, grant: &Grant) {
        let entry = &self.next.instances[id];
        if entry.progress == Progress::Failed || (entry.steady && entry.progress == Progress::Done) {
            return;
        }
        let staging = matches!(grant.task, Task::Stage { .. });
        // An agent that has just begun may not know yet which of two apps serves.
        let has_settled = matches!(view.phase, Phase::Serving | Phase::Ill);
        let is_over = has_settled && view.done >= grant.fence && !is_there(view, grant);
        let meant = |problem: &Problem| {
            if staging { problem.check.starts_with("stage") } else { view.phase == Phase::Ill || is_over }
        };
        let unsaid = || Problem::new("update", "it went back by itself, and does not say why any more");
        let problem = view.problem.clone().filter(meant).or_else(|| is_over.then(unsaid));
        if let Some(problem) = problem {
            let may_be_shared = view.running && problem.check.starts_with("health check");
            if !self.is_excused() && (!may_be_shared || self.is_ill_for_long(id)) {
                self.fail(id, problem);
            }
            return;
        }
        if entry.ill_since.is_some() {
            self.entry(id).ill_since = None;
        }
        // A roll goes round who does not answer: nobody knows whether it has made ready.
        if staging && self.next.state != State::Staging && self.silent(id).is_some() {
            return;
        }
        let limit = if staging { self.next.policy.stage } else { self.patience() };
        self.maybe_late(id, view, grant, limit);
    }

    fn maybe_late(&mut self, id: &InstanceId, view: &View, grant: &Grant, limit: Millis) {
        if self.next.instances[id].progress == Progress::Failed {
            return;
        }
        if self.spent(id, grant) > limit {
            let what = format!("did not finish within {limit}; it is {:?} now", view.phase).to_lowercase();
            self.fail(id, Problem::new("time limit", what));
        }
    }

    /// How long it has been at what it was granted: counted from when it obeyed, for an order may have been on its way for
    /// long; and not while the deployment's time stands still.
    pub(super) fn spent(&self, id: &InstanceId, grant: &Grant) -> Millis {
        let granted = Millis(self.facts.elapsed.0.saturating_sub(grant.at.0));
        let obeyed = self.seen(id).and_then(|seen| seen.obeyed).filter(|_| self.has_obeyed(id, grant));
        obeyed.map_or(Millis::ZERO, |at| self.facts.seen.now.since(at).min(granted))
    }

    pub(super) fn has_obeyed(&self, id: &InstanceId, grant: &Grant) -> bool {
        self.view(id).is_some_and(|view| view.fence >= grant.fence)
    }

    /// What is left of `limit` for what `id` was granted last. One that has not obeyed yet, because it does not answer or
    /// cannot, has no limit of its own: the roll goes round it, or waits within the deployment's bound.
    pub(super) fn left_of(&self, limit: Millis, id: &InstanceId) -> Option<Millis> {
        let grant = self.next.instances[id].granted.as_ref()?;
        self.has_obeyed(id, grant).then(|| Millis(limit.0.saturating_sub(self.spent(id, grant).0)))
    }

    /// Whether a running app has failed its checks for so long that the others would have been seen to fail theirs, too,
    /// if it were not the release's doing: everybody is checked at other moments.
    fn is_ill_for_long(&mut self, id: &InstanceId) -> bool {
        let now = self.facts.elapsed;
        let since = *self.entry(id).ill_since.get_or_insert(now);
        now.0.saturating_sub(since.0) >= SHARED_WITHIN.0
    }

    /// A failure that all share is not the release's: nobody is judged while it lasts, nor until everybody had the time
    /// of a start to recover.
    fn is_excused(&self) -> bool {
        let since = |at: Millis| self.facts.elapsed.0.saturating_sub(at.0);
        self.next.shared_illness_at.is_some_and(|at| since(at) <= self.next.policy.start.0)
    }

    fn note_shared_illness(&mut self) {
        if self.next.state != State::Rolling || self.shared_illness().is_none() {
            return;
        }
        // Not at every look: each change is a write.
        let stale = |at: Millis| self.facts.elapsed.0.saturating_sub(at.0) > self.next.policy.start.0 / 4;
        if self.next.shared_illness_at.is_none_or(stale) {
            self.next.shared_illness_at = Some(self.facts.elapsed);
        }
    }

    fn note_lowest(&mut self) {
        // Whoever has just begun to coordinate does not know yet of those who are to answer its greeting.
        let unknown = |seen: &Seen| seen.member.as_ref().is_some_and(|m| m.balanced) && seen.heard.is_none();
        if matches!(self.next.state, State::Pending) || self.facts.seen.seen.values().any(unknown) {
            return;
        }
        let now = u32::try_from(self.facts.seen.in_service().len()).unwrap_or(u32::MAX);
        let lowest = self.next.lowest_in_service.get_or_insert(now);
        *lowest = now.min(*lowest);
    }
}

/// Whether it is where its order leads; what leads nowhere else is.
fn is_there(view: &View, grant: &Grant) -> bool {
    match &grant.task {
        Task::Update { release, .. } | Task::Start { release, .. } => view.release.as_ref() == Some(release),
        _ => true,
    }
}

fn objects(view: &View, grant: &Grant) -> bool {
    let may = matches!(&grant.task, Task::Update { limits, .. } if limits.overlap || limits.spare);
    may && view.objects.is_some() && view.done < grant.fence
}
