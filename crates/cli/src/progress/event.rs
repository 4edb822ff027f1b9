//! What happened between two statuses, as past facts: one line each for people, one JSON object each for programs.

use crate::output::paint;
use everup_core::deployment::State;
use everup_core::ids::{DeploymentId, InstanceId, Version};
use everup_core::instance::{Phase, Problem};
use everup_core::status::{Line, Status};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// The deployment is in another state, or there for another reason.
    State {
        /// Which.
        deployment: DeploymentId,
        /// Where it is.
        state: State,
        /// Why.
        because: String,
    },
    /// It waits for something that it did not wait for before.
    Waiting {
        /// Which.
        deployment: DeploymentId,
        /// What of whom until when.
        waiting: Vec<String>,
    },
    /// Another agent coordinates.
    Coordinator {
        /// Who.
        coordinator: InstanceId,
    },
    /// An instance changed.
    Instance {
        /// Who.
        instance: InstanceId,
        /// Where it is in its procedure; nothing if it is not heard.
        phase: Option<Phase>,
        /// What it runs.
        release: Option<Version>,
        /// Whether it serves.
        in_service: bool,
        /// What it waits for.
        waiting: Option<String>,
        /// What is wrong with it.
        problem: Option<Problem>,
    },
    /// An instance ended.
    Gone {
        /// Who.
        instance: InstanceId,
    },
    /// The agent that answers cannot see everything, or can again.
    Trouble {
        /// What.
        trouble: Option<String>,
    },
}

/// What changed from `before` to `now`; everything, if there was nothing before.
#[must_use]
pub fn between(before: Option<&Status>, now: &Status) -> Vec<Event> {
    let mut events = deployment(before, now);
    let known = |id: &InstanceId| before.and_then(|status| line(status, id));
    // Whoever has just begun to look has heard nobody yet.
    for instance in now.instances.iter().filter(|line| line.phase.is_some()) {
        let before = known(&instance.id);
        if before.is_none_or(|before| differs(before, instance)) {
            events.push(Event::of(instance));
        }
    }
    let gone = before.iter().flat_map(|status| &status.instances).map(|line| &line.id);
    let looks = now.desired > 0 || !now.instances.is_empty();
    let gone = gone.filter(|id| looks && line(now, id).is_none());
    events.extend(gone.map(|id| Event::Gone { instance: id.clone() }));
    if before.map_or(now.trouble.is_some(), |before| before.trouble != now.trouble) {
        events.push(Event::Trouble { trouble: now.trouble.clone() });
    }
    events
}

fn deployment(before: Option<&Status>, now: &Status) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(coordinator) = now.coordinator.clone()
        && before.and_then(|status| status.coordinator.as_ref()) != Some(&coordinator)
    {
        events.push(Event::Coordinator { coordinator });
    }
    let Some(record) = &now.record else { return events };
    let old = before.and_then(|status| status.record.as_ref()).filter(|old| old.id == record.id);
    if old.is_none_or(|old| (old.state, &old.because) != (record.state, &record.because)) {
        let (deployment, because) = (record.id.clone(), record.because.clone());
        events.push(Event::State { deployment, state: record.state, because });
    }
    let known: BTreeSet<&str> = old.iter().flat_map(|old| &old.waiting).map(|wait| lasting(wait)).collect();
    let fresh = record.waiting.iter().filter(|wait| !known.contains(lasting(wait)));
    let waiting: Vec<String> = fresh.cloned().collect();
    if !record.state.is_final() && !waiting.is_empty() {
        events.push(Event::Waiting { deployment: record.id.clone(), waiting });
    }
    events
}

/// A wait without its countdown, which alone is no news: "i2 to answer, 4.2 s left".
pub(super) fn lasting(wait: &str) -> &str {
    match wait.strip_suffix(" left").and_then(|rest| rest.rsplit_once(", ")) {
        Some((lasting, _)) => lasting,
        None => wait,
    }
}

fn line<'s>(status: &'s Status, id: &InstanceId) -> Option<&'s Line> {
    status.instances.iter().find(|line| line.id == *id)
}

/// Its wait counts down; that alone is no change.
fn differs(before: &Line, now: &Line) -> bool {
    (before.phase, &before.release, before.in_service, &before.problem)
        != (now.phase, &now.release, now.in_service, &now.problem)
}

impl Event {
    fn of(line: &Line) -> Self {
        Self::Instance {
            instance: line.id.clone(),
            phase: line.phase,
            release: line.release.as_ref().map(|release| release.version.clone()),
            in_service: line.in_service,
            waiting: line.waiting.clone(),
            problem: line.problem.clone(),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State { state, because, .. } => write!(f, "{}: {because}", super::frame::state(*state)),
            Self::Waiting { waiting, .. } => f.write_str(
                &waiting.iter().map(|wait| format!("waiting: {wait}")).collect::<Vec<_>>().join("\n"),
            ),
            Self::Coordinator { coordinator } => write!(f, "{coordinator} coordinates"),
            Self::Instance { instance, phase, release, in_service, problem, .. } => {
                let release = release.as_ref().map_or("no release".to_owned(), |v| format!("release {v}"));
                let service = if *in_service { paint::good(", in service") } else { String::new() };
                write!(f, "{instance}: {}, {release}{service}", super::frame::phase(*phase))?;
                let problem = problem.as_ref().map(|p| format!(", {}", paint::bad(p)));
                f.write_str(&problem.unwrap_or_default())
            }
            Self::Gone { instance } => write!(f, "{instance}: gone"),
            Self::Trouble { trouble: Some(trouble) } => write!(f, "{}: {trouble}", paint::bad("trouble")),
            Self::Trouble { trouble: None } => f.write_str("the whole fleet can be seen again"),
        }
    }
}
