//! What the demo showed: every deployment with its receipt, what was killed, what the users counted, and which
//! promises were not kept.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::load::{Plan, Tally};
use crate::output::FailureFields;
use crate::progress::document;
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use everup_core::plan::min_in_service;
use everup_core::policy::Strategy;
use everup_core::receipt::Verdict;
use everup_core::record::Record;
use everup_core::words;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// What the demo showed.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The deployment of release 1, before there were users.
    pub first_deployment: Option<Value>,
    /// Those that users were served through, each with every field of its receipt.
    pub deployments: Vec<Value>,
    /// The instance that was killed.
    pub instance_killed: Option<InstanceKilled>,
    /// The coordinator that was killed.
    pub coordinator_killed: Option<CoordinatorKilled>,
    /// What the users counted, from the first second to the last.
    pub users: Option<Tally>,
    /// The promises that were not kept.
    pub broken: Vec<String>,
    /// Why the story broke off, if it did.
    #[serde(serialize_with = "why")]
    pub error: Option<Failure>,
}

fn why<S: Serializer>(error: &Option<Failure>, to: S) -> Result<S::Ok, S::Error> {
    error.as_ref().map(FailureFields::of).serialize(to)
}

/// An instance that was killed.
#[derive(Debug, Serialize)]
pub struct InstanceKilled {
    /// Which.
    pub instance: InstanceId,
    /// The main process of its app.
    pub app: u32,
    /// That of the app which serves in its place.
    pub new_app: Option<u32>,
    /// Requests that were inside it and failed with it.
    pub lost: u64,
    /// Until all instances were in service again.
    pub back_ms: u64,
}

/// A coordinator that was killed in the middle of a deployment.
#[derive(Debug, Serialize)]
pub struct CoordinatorKilled {
    /// Which.
    pub instance: InstanceId,
    /// Who finished it.
    pub successor: Option<InstanceId>,
}

impl Report {
    /// Adds the first deployment: nothing served before it, so that it has only to end well.
    pub fn first(&mut self, record: &Record) {
        if record.receipt.as_ref().is_some_and(|receipt| receipt.verdict == Verdict::Broken) {
            self.broken(format!("requests failed while release {} was deployed", record.to));
        }
        self.first_deployment = Some(document::of(record));
    }

    /// Adds a deployment that should have ended in `expected`, without a failed request and, in a rolling one, with as
    /// many of the fleet's instances in service all the time as its policy says.
    pub fn deployment(&mut self, record: &Record, expected: State, instances: u32) {
        let to = &record.to;
        let promised = min_in_service(&record.policy, instances);
        let lowest = record.receipt.as_ref().and_then(|receipt| receipt.lowest_in_service);
        if record.policy.strategy == Strategy::Rolling && lowest.is_none_or(|lowest| lowest < promised) {
            let seen = lowest.map_or("an unknown number".to_owned(), |lowest| lowest.to_string());
            self.broken(format!(
                "{seen} of {instances} were in service at some time while release {to} was deployed, not {promised}"
            ));
        }
        if record.state != expected {
            self.broken(format!("release {to} ended {}, not {expected}: {}", record.state, record.because));
        }
        match record.receipt.as_ref().map(|receipt| receipt.verdict) {
            Some(Verdict::Kept) => {}
            Some(Verdict::Broken) => self.broken(format!("requests failed while release {to} was deployed")),
            Some(Verdict::NotMeasured) => self.broken(format!("the receipt of release {to} has a hole")),
            None => self.broken(format!("release {to} has no receipt")),
        }
        self.deployments.push(document::of(record));
    }

    /// Adds a promise that was not kept.
    pub fn broken(&mut self, promise: String) {
        self.broken.push(promise);
    }

    /// The story ended before its end; what was shown until then stands.
    pub fn broke_off(&mut self, failure: Failure) {
        self.error.get_or_insert(failure);
    }

    /// What the users counted, whose last request has ended. Failed ones are told where they are due: those of a
    /// deployment with it, those that were inside an instance that was killed with that.
    pub fn users(&mut self, tally: Tally, plan: &Plan, told: u64) {
        self.broken.extend(tally.empty(plan));
        let rest = tally.failed().saturating_sub(told);
        if rest > 0 {
            self.broken(format!("{} failed while nothing was done", words::count(rest as usize, "request")));
        }
        self.users = Some(tally);
    }

    /// What the process says.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match &self.error {
            Some(failure) => failure.exit,
            None if self.broken.is_empty() => Exit::Done,
            None => Exit::PromiseBroken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;
    use everup_core::head::Request;
    use everup_core::ids::{DeploymentId, Environment, Term, Version, WriteId};
    use everup_core::policy::Policy;
    use everup_core::receipt::{Held, Percentile, Receipt, Requests, Sources};
    use everup_core::release::{Digest, ReleaseRef};
    use everup_core::time::Wall;
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::{Duration, Instant};

    fn record(state: State, verdict: Option<Verdict>) -> Record {
        let manifest = Digest::new("0".repeat(64)).unwrap();
        let request = Request {
            to: ReleaseRef { version: Version::new("2").unwrap(), manifest },
            policy: Policy::default(),
            by: "ann".into(),
            at: Wall(0),
            from: None,
            idempotency: None,
            migration: None,
            applied_before: None,
            take_back: None,
        };
        let (environment, id) = (Environment::new("demo").unwrap(), DeploymentId::new("d-7").unwrap());
        let mut record = Record::first(&environment, &id, Term(1), &request, WriteId::new("w").unwrap());
        record.state = state;
        record.receipt = verdict.map(|verdict| Receipt {
            verdict,
            requests: Requests::default(),
            held: Held::default(),
            longest_gap_ms: 0,
            p50_ms: Percentile::default(),
            p99_ms: Percentile::default(),
            lowest_in_service: Some(3),
            duration_ms: 0,
            phases: Vec::new(),
            instances_ms: BTreeMap::new(),
            migration: None,
            bytes: None,
            sources: Sources::default(),
        });
        record
    }

    fn after(state: State, verdict: Option<Verdict>) -> Report {
        let mut report = Report::default();
        report.deployment(&record(state, verdict), State::Succeeded, 4);
        report
    }

    /// One that could be planned as it was, and one that could not.
    #[test]
    fn capacity_is_a_promise_of_rolling_deployments() {
        let ends = |strategy: Strategy, lowest: Option<u32>| {
            let mut record = record(State::Succeeded, Some(Verdict::Kept));
            record.policy.strategy = strategy;
            record.receipt.as_mut().unwrap().lowest_in_service = lowest;
            let mut report = Report::default();
            report.deployment(&record, State::Succeeded, 4);
            report.exit()
        };
        assert_eq!(ends(Strategy::Rolling, Some(3)), Exit::Done);
        assert_eq!(ends(Strategy::Rolling, Some(2)), Exit::PromiseBroken);
        assert_eq!(ends(Strategy::Rolling, None), Exit::PromiseBroken);
        assert_eq!(ends(Strategy::AllAtOnce, Some(0)), Exit::Done);
    }

    #[test]
    fn the_first_deployment_has_only_to_end_well() {
        for (verdict, exit) in [
            (Verdict::Kept, Exit::Done),
            (Verdict::NotMeasured, Exit::Done),
            (Verdict::Broken, Exit::PromiseBroken),
        ] {
            let mut report = Report::default();
            report.first(&record(State::Succeeded, Some(verdict)));
            assert_eq!(report.exit(), exit);
            assert_eq!(report.first_deployment.unwrap()["id"], "d-7");
        }
    }

    #[test]
    fn kept_promises_end_with_0() {
        assert_eq!(after(State::Succeeded, Some(Verdict::Kept)).exit(), Exit::Done);
    }

    #[test]
    fn any_broken_promise_ends_with_another_code() {
        for (state, verdict) in [
            (State::RolledBack, Some(Verdict::Kept)),
            (State::Failed, Some(Verdict::Kept)),
            (State::NeedsOperator, None),
            (State::Succeeded, Some(Verdict::Broken)),
            (State::Succeeded, Some(Verdict::NotMeasured)),
            (State::Succeeded, None),
        ] {
            assert_eq!(after(state, verdict).exit(), Exit::PromiseBroken, "{state} {verdict:?}");
        }
    }

    #[test]
    fn a_story_that_breaks_off_is_not_done_and_says_what_it_showed() {
        for exit in [Exit::StillRunning, Exit::Internal, Exit::Unreachable] {
            let mut report = after(State::Succeeded, Some(Verdict::Kept));
            report.broke_off(Failure::new(exit, "the demo could not go on", "nobody took over"));
            report.broke_off(Failure::new(Exit::Busy, "the fleet could not be ended", "said later"));
            assert_eq!(report.exit(), exit);
            let document = serde_json::to_value(&report).unwrap();
            assert_eq!(document["error"]["happened"], "nobody took over");
            assert_eq!(document["error"]["exit"], exit.code());
            assert_eq!(document["deployments"][0]["id"], "d-7");
        }
    }

    /// Requests that fail between two deployments are nobody's receipt's, and broken promises all the same.
    #[test]
    fn users_whose_requests_failed_end_it_with_another_code() {
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let plan = Plan::gets(nobody, 100);
        let load = Load::start(plan.clone()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while load.figures().1 < 3 && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let tally = load.end();
        let failed = tally.failed();
        assert!(failed >= 3, "{tally:?}");
        let broken = |told: u64| {
            let mut report = Report::default();
            report.users(tally.clone(), &Plan { gets: 0, ..plan.clone() }, told);
            report
        };
        assert_eq!(broken(failed).exit(), Exit::Done);
        assert_eq!(broken(failed - 1).broken, ["1 request failed while nothing was done"]);
        assert_eq!(broken(failed - 1).exit(), Exit::PromiseBroken);
        let mut nobody_served = Report::default();
        nobody_served.users(tally.clone(), &plan, failed);
        assert_eq!(nobody_served.exit(), Exit::PromiseBroken);
    }
}
