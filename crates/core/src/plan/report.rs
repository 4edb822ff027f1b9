//! Why something does not happen yet, and why something will not.

use crate::ids::InstanceId;
use crate::instance::{Phase, View};
use crate::policy::Policy;
use crate::record::Grant;
use crate::time::Millis;
use crate::words;
use std::fmt;

/// What a deployment waits for: of whom, and for how long at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitingOn {
    /// To make the release ready.
    Stage(InstanceId, Option<Millis>),
    /// To answer at all; it counts as out of service and as able to act.
    Answer(InstanceId, String),
    /// To finish its update; with what it says itself.
    Update(InstanceId, String, Option<Millis>),
    /// To serve long enough that the release counts as proven.
    Proof(InstanceId, Millis),
    /// More instances in service before another may leave.
    Capacity {
        /// How many serve.
        serving: usize,
        /// How many must.
        min: u32,
        /// When nobody comes who could change that: what is left before it ends.
        left: Option<Millis>,
    },
    /// A batch that is full.
    Batch(u32),
    /// Fewer instances on which both releases run: these, and so many may; with what is left as above.
    Overlap(Vec<InstanceId>, u32, Option<Millis>),
    /// The whole fleet, which is ill on the old release too: nothing of this release's doing.
    Everybody(String),
    /// To hold, and to finish what is inside.
    Idle(InstanceId, Option<Millis>),
    /// To seal.
    Seal(InstanceId),
    /// The migration.
    Migration(InstanceId, String),
    /// A person.
    Operator(String),
}

impl WaitingOn {
    /// With until when: by its own limit, or, where it has none, by what is `left` of the deployment's bound. A migration
    /// and a person have no limit.
    #[must_use]
    pub fn until(&self, left: Millis) -> String {
        match self {
            Self::Answer(..)
            | Self::Capacity { left: None, .. }
            | Self::Batch(_)
            | Self::Overlap(_, _, None)
            | Self::Everybody(_)
            | Self::Update(_, _, None)
            | Self::Stage(_, None)
            | Self::Seal(_) => {
                format!("{self}, {left} left")
            }
            Self::Migration(..) => format!("{self}; it has no limit"),
            Self::Operator(_) => format!("{self}; there is no limit"),
            _ => self.to_string(),
        }
    }
}

/// How what an instance says of itself begins when it asks somebody again and again: nothing else ends that.
const ASKS_AGAIN: [&str; 4] =
    ["the store", "the fleet to answer", "its gate to answer", "the balancer to let it"];

/// What an instance says of itself, with until when: by the limits of `policy`, or, where it has none, by what ends it.
#[must_use]
pub fn with_limit(waiting: &str, policy: &Policy) -> String {
    let at_most = |limit: Millis| format!("{waiting}, for at most {limit}");
    match waiting {
        asks if ASKS_AGAIN.iter().any(|words| asks.starts_with(words)) => until_answered(waiting),
        "requests inside its app" | "the balancer, and requests inside its app" => at_most(policy.drain),
        "the old app to end" => at_most(policy.stop),
        "the order to seal" | "the order to start" => format!("{waiting}, until the coordinator gives it"),
        "its end: the fleet's engine asked for it" => at_most(policy.drain + policy.stop),
        leave if leave.starts_with("leave to move") => {
            format!("{waiting}; it serves until the coordinator gives it")
        }
        others if others.starts_with("others in the balancer") => {
            format!("{waiting}; it stays in until they are")
        }
        migration if migration.starts_with("migration ") => format!("{waiting} to end; it has no limit"),
        _ => waiting.to_owned(),
    }
}

/// What is asked again and again.
#[must_use]
pub fn until_answered(waiting: &str) -> String {
    format!("{waiting}; asked again until it answers")
}

/// What an instance on its way waits for: as it says itself, or as its phase has it.
pub(super) fn of_itself(view: &View, grant: Option<&Grant>) -> String {
    if let Some(waiting) = &view.waiting {
        return waiting.clone();
    }
    if let (Phase::Ill, Some(problem)) = (view.phase, &view.problem) {
        return format!("it is ill: {problem}");
    }
    let is_done = grant.is_some_and(|grant| view.done >= grant.fence);
    let what = match view.phase {
        Phase::Announced => "to learn what to run",
        Phase::Waiting => "leave to start its app",
        Phase::Starting | Phase::Beside => "its app to pass its check",
        Phase::Healthy => "its gate to send to its app",
        Phase::Joining => "the balancer to send to it",
        Phase::Serving if is_done => "the balancer to send to it",
        Phase::Serving | Phase::Held => "to begin with its order",
        Phase::Leaving => "the balancer, and requests inside its app",
        Phase::Idle | Phase::Lingering => "its old app to end",
        Phase::Stopped | Phase::Sealed | Phase::Ill => "its app to be started",
        Phase::Migrating => "its migration to end",
    };
    what.to_owned()
}

impl fmt::Display for WaitingOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = |left: &Option<Millis>| left.map_or(String::new(), |left| format!(", {left} left"));
        match self {
            Self::Stage(id, left) => write!(f, "{id} to make the release ready{}", within(left)),
            Self::Answer(id, trouble) => write!(f, "{id} to answer: {trouble}"),
            Self::Update(id, what, left) => {
                let left = left.map_or(String::new(), |left| format!(", in all {left} left"));
                write!(f, "{id}: {what}{left}")
            }
            Self::Proof(id, span) => write!(f, "{id} to serve for {span} as proof"),
            Self::Capacity { serving, min, left } => {
                write!(
                    f,
                    "more capacity: {} in service, of which {min} must stay{}",
                    words::count(*serving, "instance"),
                    within(left)
                )
            }
            Self::Overlap(who, most, left) => write!(
                f,
                "one of two apps to end on {}: both releases may run on {} at once{}",
                words::list(who, 5),
                words::count(*most as usize, "instance"),
                within(left)
            ),
            Self::Batch(size) => write!(f, "the batch of {size} to be in service"),
            Self::Everybody(why) => write!(f, "the fleet to recover: {why}"),
            Self::Idle(id, left) => write!(f, "{id} to finish what is inside{}", within(left)),
            Self::Seal(id) => write!(f, "{id} to stop its app"),
            Self::Migration(id, what) => write!(f, "the migration on {id}: {what}"),
            Self::Operator(what) => write!(f, "a person: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_of_an_instance_says_until_when() {
        let said = |waiting: &str| with_limit(waiting, &Policy::default());
        assert_eq!(said("requests inside its app"), "requests inside its app, for at most 30 s");
        assert_eq!(said("the old app to end"), "the old app to end, for at most 30 s");
        assert_eq!(
            said("its gate to answer: connection refused"),
            "its gate to answer: connection refused; asked again until it answers"
        );
        let own = "its first passed check, 60 s from its start; the last one said: 503";
        assert_eq!(said(own), own);
    }

    #[test]
    fn a_person_and_a_migration_have_no_limit_and_say_so() {
        let person = WaitingOn::Operator("everup resume, or everup abort".into());
        assert_eq!(person.until(Millis(1)), "a person: everup resume, or everup abort; there is no limit");
    }
}
