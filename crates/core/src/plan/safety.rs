//! Who may leave now: capacity, zones, and who counts as what.

use super::{Planner, WaitingOn};
use crate::deployment::State;
use crate::ids::{InstanceId, Zone};
use crate::instance::{Phase, View};
use crate::order::{Limits, Task};
use crate::policy::{Policy, Strategy};
use crate::record::{Entry, Progress};
use crate::release::ReleaseRef;
use crate::time::Millis;
use crate::words;
use std::collections::BTreeSet;

/// How many instances stay in service in a rolling deployment of a fleet of `desired`.
///
/// A fleet of one cannot keep one in service and restart it: there, unless the operator asked for a minimum, its gate
/// holds the requests meanwhile, and the answer is 0.
#[must_use]
pub fn min_in_service(policy: &Policy, desired: u32) -> u32 {
    match policy.min_in_service {
        Some(size) => size.of(desired),
        None if desired <= 1 => u32::from(policy.overlap),
        None => desired.saturating_sub(policy.batch.of(desired)).max(1),
    }
}

impl Planner<'_> {
    pub(super) fn min(&self) -> u32 {
        min_in_service(&self.next.policy, self.facts.seen.desired)
    }

    /// Members whose agents never answered this coordinator, and who announced itself and is not listed yet.
    pub(super) fn strangers(&self) -> Vec<(InstanceId, String)> {
        let seen = self.facts.seen;
        let unknown = seen.seen.iter().filter(|(id, met)| {
            let announced = || seen.announced.as_ref().is_some_and(|all| all.contains(*id));
            let is_here = met.member.as_ref().map_or_else(announced, |member| !member.terminating);
            is_here && !self.next.instances.contains_key(*id) && !seen.is_gone(id)
        });
        let why = |met: &crate::fleet::Seen| {
            met.trouble.clone().unwrap_or_else(|| "it has not answered yet".into())
        };
        unknown.map(|(id, met)| (id.clone(), why(met))).collect()
    }

    /// A minimum that the fleet cannot keep while even one instance is out: said before anything is touched.
    pub(super) fn cannot_keep_min(&self) -> Option<String> {
        let policy = &self.next.policy;
        if policy.strategy != Strategy::Rolling || policy.overlap || self.next.from.is_none() {
            return None;
        }
        let (min, desired) = (self.min(), self.facts.seen.desired);
        (desired > 0 && min >= desired).then(|| {
            format!(
                "min_in_service is {min} and the fleet has {desired}: none may leave. Deploy with overlap, scale out by one, or lower min_in_service; nothing was touched"
            )
        })
    }

    /// The instances that serve, without those that were told to leave: they may be out at any moment.
    pub(super) fn surely_serving(&self) -> BTreeSet<InstanceId> {
        let mut serving = self.facts.seen.in_service();
        for (id, entry) in &self.next.instances {
            let target = match entry.progress {
                Progress::Updating => Some(&self.next.to),
                Progress::GoingBack => self.next.from.as_ref(),
                Progress::Failed => self.unfinished(id),
                _ => None,
            };
            // Until it has heard that it shall go back, it may be carrying out the order to leave.
            let unheard = entry.progress == Progress::GoingBack
                && !entry.granted.as_ref().is_some_and(|grant| self.has_obeyed(id, grant));
            let moving = target.is_some_and(|target| !self.runs(id, target) || unheard);
            if (moving && !self.overlaps(id)) || entry.progress == Progress::Gone {
                serving.remove(id);
            }
        }
        serving
    }

    /// Where an instance goes on to although it was given up: it took too long, or its order reached it too late, and
    /// it has not said that it stays.
    fn unfinished(&self, id: &InstanceId) -> Option<&ReleaseRef> {
        let grant = self.next.instances[id].granted.as_ref()?;
        let (Task::Update { release, .. } | Task::Start { release, .. }) = &grant.task else { return None };
        let ended = |view: &View| view.done >= grant.fence || view.problem.is_some();
        (!self.view(id).is_some_and(ended)).then_some(release)
    }

    /// Grants the move to `release` to as many of `candidates` as may go now.
    /// Says why somebody has to wait, if that may last: for capacity, or for an app to end where two run.
    pub(super) fn move_on(
        &mut self,
        mut candidates: Vec<InstanceId>,
        release: &ReleaseRef,
        at_most: usize,
    ) -> Option<String> {
        let back = self.next.state == State::RollingBack;
        let mut serving = self.surely_serving();
        let mut moving = self.moving();
        // Whoever moves already and shall go back takes no other's place, and one that does not answer keeps nobody else
        // from going back: it counts as out of service, that is enough. (But where two apps may run there, it counts.)
        if back {
            moving.retain(|id| self.silent(id).is_none());
        }
        let mut moving: BTreeSet<InstanceId> = moving.into_iter().collect();
        // Some may go although others have to wait: what is out already, and what overlaps.
        let mut short = false;
        let (mut doubled, most) = (self.doubled(), self.max_overlap());
        let mut crowded = false;
        loop {
            let is_full = moving.len() >= at_most;
            let open: Vec<InstanceId> =
                candidates.iter().filter(|id| !is_full || moving.contains(*id)).cloned().collect();
            let Some(next) = self.best(&open, &serving) else { break };
            candidates.retain(|id| *id != next);
            if self.has_objected(&next) {
                serving.insert(next.clone());
            }
            let doubles = self.overlaps(&next) && !self.runs(&next, release);
            if doubles && !doubled.contains(&next) {
                if doubled.len() >= most {
                    crowded = true;
                    continue;
                }
                doubled.insert(next.clone());
            }
            let serves = serving.contains(&next);
            // A newcomer that took this release stays as it is.
            let stays = self.overlaps(&next) || self.runs(&next, release);
            let mut limits = Limits { overlap: self.overlaps(&next), spare: !serves, ..self.limits() };
            if serves && !stays && serving.len() <= limits.min as usize {
                short = true;
                continue;
            }
            limits.leave = limits.min > 0 || serving.len() > 1 || !serves;
            if !stays {
                serving.remove(&next);
            }
            moving.insert(next.clone());
            self.send(&next, release, limits, back);
        }
        if !candidates.is_empty() && at_most > 0 {
            self.wait(WaitingOn::Batch(u32::try_from(at_most).unwrap_or(u32::MAX)));
        }
        let mut why = None;
        // Where nobody moves it lasts no longer than an update may take.
        let since = self.next.stuck_since.filter(|_| self.moving().is_empty());
        let left =
            since.map(|since| Millis((since + self.patience()).0.saturating_sub(self.facts.elapsed.0)));
        if crowded {
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            why = Some(format!("two apps run on {}, and max_overlap is {most}", words::list(&doubled, 5)));
            self.wait(WaitingOn::Overlap(doubled.into_iter().collect(), most, left));
        }
        if short {
            let (serving, min) = (serving.len(), self.limits().min);
            why = Some(format!(
                "{serving} in service, of which {min} must stay, and nobody else comes; scale out by one, or lower min_in_service"
            ));
            self.wait(WaitingOn::Capacity { serving, min, left });
            if !back {
                self.say_who_is_missing();
            }
        }
        why
    }

    /// Who runs both releases, or may: one comes up beside the other, or the other one has not ended, whatever else became
    /// of the move. One that does not answer may still run both, and so may one that is being ended.
    fn doubled(&self) -> BTreeSet<InstanceId> {
        let doubles = |(id, entry): &(&InstanceId, &Entry)| {
            let beside = match &entry.granted {
                // What is told to run what it runs starts nothing; but until it has heard of that it carries out what it was
                // told before.
                Some(grant) => match &grant.task {
                    Task::Update { release, limits } => {
                        limits.overlap && !(self.runs(id, release) && self.has_obeyed(id, grant))
                    }
                    _ => false,
                },
                None => false,
            };
            let moves = match entry.progress {
                Progress::Updating | Progress::GoingBack => true,
                Progress::Failed => self.unfinished(id).is_some(),
                _ => false,
            };
            let says = |view: &View| view.doubled || matches!(view.phase, Phase::Beside | Phase::Lingering);
            let may = (beside && moves) || self.view(id).map_or(beside, says);
            may && entry.progress != Progress::Gone
        };
        self.next.instances.iter().filter(doubles).map(|(id, _)| id.clone()).collect()
    }

    fn max_overlap(&self) -> usize {
        let present = u32::try_from(self.present().len()).unwrap_or(u32::MAX);
        self.next.policy.max_overlap.map_or(usize::MAX, |size| size.of(present).max(1) as usize)
    }

    /// It was taken for out of service, and said that it serves; what was seen of it may still be old.
    fn has_objected(&self, id: &InstanceId) -> bool {
        self.next.instances[id].objected && self.view(id).is_some_and(|view| view.healthy)
    }

    /// Whether its app is of `release`, so that an order to run that stops nothing.
    fn runs(&self, id: &InstanceId, release: &ReleaseRef) -> bool {
        self.view(id).is_some_and(|view| view.running && view.release.as_ref() == Some(release))
    }

    /// Who would be the capacity that is waited for, if it answered.
    fn say_who_is_missing(&mut self) {
        let moving = self.moving();
        let silent = self.present().into_iter().filter(|id| !moving.contains(id));
        let silent = silent.filter_map(|id| self.silent(&id).map(|why| (id, why)));
        let missing: Vec<_> = self.strangers().into_iter().chain(silent).collect();
        for (id, why) in missing {
            self.wait(WaitingOn::Answer(id, why));
        }
    }

    fn send(&mut self, id: &InstanceId, release: &ReleaseRef, limits: Limits, back: bool) {
        self.grant(id, Task::Update { release: release.clone(), limits });
        self.tell(format!("{id} may {} {release}", if back { "go back to" } else { "move to" }));
        let ill = self.view(id).is_some_and(|view| view.phase == Phase::Ill);
        let now = self.facts.elapsed;
        let entry = self.entry(id);
        entry.steady = false;
        if back {
            entry.recalled.get_or_insert(now);
            entry.progress = Progress::GoingBack;
        } else {
            // Who is told once more may be ill on the new release.
            entry.ill_before |= ill && !entry.touched;
            entry.progress = Progress::Updating;
            entry.touched = true;
        }
    }

    /// Who goes next: whatever is out of service, since it takes no capacity; then one whose zone keeps another; then
    /// in the order of zones and names. Ties cannot happen, so every coordinator picks the same.
    fn best(&self, candidates: &[InstanceId], serving: &BTreeSet<InstanceId>) -> Option<InstanceId> {
        let key = |id: &InstanceId| {
            let zone = &self.next.instances[id].zone;
            (serving.contains(id), self.last_of_zone(id, zone, serving), zone.clone(), id.clone())
        };
        candidates.iter().min_by_key(|id| key(id)).cloned()
    }

    fn last_of_zone(&self, id: &InstanceId, zone: &Zone, serving: &BTreeSet<InstanceId>) -> bool {
        let same = |other: &&InstanceId| {
            *other != id && self.next.instances.get(*other).is_some_and(|e| e.zone == *zone)
        };
        serving.contains(id) && !serving.iter().any(|other| same(&other))
    }

    pub(super) fn moving(&self) -> Vec<InstanceId> {
        let moves = |id: &InstanceId| {
            matches!(self.next.instances[id].progress, Progress::Updating | Progress::GoingBack)
        };
        self.present().into_iter().filter(|id| moves(id)).collect()
    }

    pub(super) fn with(&self, progress: Progress) -> Vec<InstanceId> {
        self.present().into_iter().filter(|id| self.next.instances[id].progress == progress).collect()
    }

    /// What failed on the new release, and was not ill before.
    pub(super) fn failed(&self) -> Vec<InstanceId> {
        self.with(Progress::Failed).into_iter().filter(|id| !self.next.instances[id].ill_before).collect()
    }

    /// What the first of `ids` that has a problem says.
    pub(super) fn why(&self, ids: &[InstanceId]) -> String {
        let problem = ids.iter().find_map(|id| self.next.instances.get(id)?.problem.as_ref());
        problem.map_or_else(|| "it does not say why".to_owned(), ToString::to_string)
    }

    /// Whether everyone who still runs the old release has fallen ill as well: then it is not the new release's doing.
    /// A fleet that was ill before the deployment began is what the deployment may have come to mend.
    /// Nor is there anything to wait for where no release was ever believed: the first one is what shall serve at all.
    pub(super) fn shared_illness(&self) -> Option<String> {
        self.next.from.as_ref()?;
        // An app that is still starting says neither.
        let tells = |id: &InstanceId| {
            let starting = [Phase::Announced, Phase::Waiting, Phase::Starting]
                .map(Some)
                .contains(&self.view(id).map(|v| v.phase));
            !starting && self.silent(id).is_none()
        };
        let untouched: Vec<InstanceId> =
            self.present().into_iter().filter(|id| !self.next.instances[id].touched && tells(id)).collect();
        let ill =
            |id: &InstanceId| self.view(id).is_some_and(|view| view.running && view.phase == Phase::Ill);
        let ran = |id: &InstanceId| self.next.instances[id].before.is_some();
        let was_well = |id: &InstanceId| {
            let entry = &self.next.instances[id];
            entry.was_well || (!entry.ill_before && !entry.starting_before)
        };
        let fell = untouched.iter().any(|id| was_well(id) && ran(id));
        if !fell || !untouched.iter().all(ill) {
            return None;
        }
        let first = untouched.first().and_then(|id| self.view(id)).and_then(|view| view.problem.as_ref());
        let said = first.map_or_else(|| "its checks fail".to_owned(), ToString::to_string);
        Some(format!("all instances that still run the old release are ill too ({said})"))
    }
}
