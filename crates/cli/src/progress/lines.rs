//! Progress where nothing can be drawn over (a file, a pipe, CI): one appended line for each thing that happened, and
//! for a wait that lasts. What comes and goes within a moment is no line: a roll has some ten of those an instance.

use super::event::{Event, between, lasting};
use super::frame::waits;
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use everup_core::instance::{Phase, Problem};
use everup_core::release::ReleaseRef;
use everup_core::status::{Line, Status};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A wait is told when it has lasted for so long.
const LASTS: Duration = Duration::from_secs(3);

/// What was told so far.
#[derive(Debug, Default)]
pub struct Lines {
    last: Option<Status>,
    told: BTreeMap<InstanceId, Milestone>,
    waits: BTreeMap<String, Wait>,
    /// Whoever asked tells the end of the deployment itself.
    silent_end: bool,
}

/// What of an instance is worth a line when it changes.
type Milestone = (Option<ReleaseRef>, bool, Option<Problem>);

#[derive(Debug)]
struct Wait {
    since: Instant,
    told: bool,
}

/// A deployment is followed until it is over, or a person has to decide.
fn ends_following(state: State, status: &Status) -> bool {
    state.is_final() || status.record.as_ref().is_some_and(|record| record.state == state && record.asks())
}

impl Lines {
    /// The end of the deployment is told elsewhere.
    pub const fn leave_out_the_end(&mut self) {
        self.silent_end = true;
    }

    /// What is new in `status`.
    pub fn show(&mut self, status: Status, now: Instant) -> Vec<String> {
        let events = between(self.last.as_ref(), &status);
        let mut lines: Vec<String> =
            events.into_iter().filter(|event| self.is_told(event, &status)).map(|e| e.to_string()).collect();
        self.note_waits(&status, now);
        self.last = Some(status);
        lines.extend(self.tick(now));
        lines
    }

    /// The waits that have lasted.
    pub fn tick(&mut self, now: Instant) -> Vec<String> {
        let waiting = self.last.iter().flat_map(|status| &status.record).flat_map(waits);
        let mut lines = Vec::new();
        for text in waiting {
            if let Some(wait) = self.waits.get_mut(lasting(text))
                && !wait.told
                && now.duration_since(wait.since) >= LASTS
            {
                wait.told = true;
                lines.push(format!("waiting: {text}"));
            }
        }
        lines
    }

    fn is_told(&mut self, event: &Event, status: &Status) -> bool {
        match event {
            Event::Waiting { .. } => false,
            Event::State { state, .. } => !(self.silent_end && ends_following(*state, status)),
            Event::Instance { instance, .. } => {
                let line = status.instances.iter().find(|line| line.id == *instance);
                line.is_some_and(|line| self.is_milestone(line))
            }
            Event::Gone { instance } => self.told.remove(instance).is_some(),
            Event::Coordinator { .. } | Event::Trouble { .. } => true,
        }
    }

    fn is_milestone(&mut self, line: &Line) -> bool {
        // The balancer says that it is out and it has not said why: that comes.
        let half_told = line.phase == Some(Phase::Serving) && !line.in_service;
        if line.phase.is_none() || half_told {
            return false;
        }
        let now = (line.release.clone(), line.in_service, line.problem.clone());
        self.told.insert(line.id.clone(), now.clone()) != Some(now)
    }

    fn note_waits(&mut self, status: &Status, now: Instant) {
        let waiting: Vec<&str> = status.record.iter().flat_map(waits).map(|wait| lasting(wait)).collect();
        self.waits.retain(|wait, _| waiting.contains(&wait.as_str()));
        for wait in waiting {
            self.waits.entry(wait.to_owned()).or_insert(Wait { since: now, told: false });
        }
    }
}
