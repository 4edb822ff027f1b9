//! Documents in which nothing is left out that can be there.

use crate::common::{NOW, instance, release};
use everup_core::deployment::State;
use everup_core::head::{Asked, Change, Current, Head, Lease, Request, TakeBack};
use everup_core::ids::{DeploymentId, Fence, HoldId, MigrationId, Term, WriteId};
use everup_core::instance::{Outcome, Problem, Run};
use everup_core::order::Task;
use everup_core::policy::{Policy, Size};
use everup_core::receipt::{Percentile, Receipt, SchemaChange, SchemaOutcome, Source, Sources, Window};
use everup_core::record::{Arrival, Entry, Grant, Progress, Record, RunEntry, Say, Word};
use everup_core::release::{Command, Fetched, Migration, OnFailure};
use everup_core::time::{Millis, Wall};
use std::collections::{BTreeMap, BTreeSet};

fn migration() -> MigrationId {
    MigrationId::new("orders").unwrap()
}

fn write(name: &str) -> WriteId {
    WriteId::new(name).unwrap()
}

pub(crate) fn policy() -> Policy {
    Policy { min_in_service: Some(Size::Percent(50)), max_overlap: Some(Size::Count(1)), ..Policy::default() }
}

pub(crate) fn current() -> Current {
    let request = Request {
        to: release("2"),
        policy: policy(),
        by: "ann".into(),
        at: Wall(NOW),
        from: Some(release("1")),
        migration: Some(Migration {
            id: migration(),
            command: Command("up".into()),
            undo: Some(Command("down".into())),
            on_failure: OnFailure::GoBack,
        }),
        applied_before: Some(migration()),
        take_back: Some(TakeBack::Undo),
        idempotency: Some("ci-7".into()),
    };
    Current { id: DeploymentId::new("d7").unwrap(), request }
}

pub(crate) fn head() -> Head {
    let Current { id, request } = current();
    let change = Change { migration: migration(), forbade: BTreeSet::from([release("1").version]) };
    let mut head = Head::first(write("w1"));
    head.lease = Some(Lease { holder: instance("i1"), beat: 3 });
    head.words = vec![Word {
        id: write("w2"),
        deployment: id.clone(),
        what: Say::Pause,
        by: "ann".into(),
        at: Wall(NOW),
    }];
    head.asked = vec![Asked { key: "ci-7".into(), deployment: id.clone(), to: request.to.clone() }];
    (head.newcomers, head.proven) = (Some(release("2")), Some(release("1")));
    (head.forbidden, head.deployed) = (change.forbade.clone(), change.forbade.clone());
    (head.changes, head.taken_back) = (vec![change.clone()], vec![change]);
    head.applied = BTreeMap::from([(migration(), id.clone())]);
    head.current = Some(Current { id, request });
    head
}

pub(crate) fn record() -> Record {
    let Current { id, request } = current();
    let mut record = Record::first(&"production".parse().unwrap(), &id, Term(3), &request, write("w3"));
    record.instances = BTreeMap::from([(instance("i1"), entry())]);
    record.waiting = vec!["i1 drains, 3 s left".into()];
    record.hold = Some(HoldId::new("h1").unwrap());
    record.runs = vec![run()];
    record.aborted_by = Some("bob".into());
    record.heard = BTreeSet::from([write("w2")]);
    (record.stuck_since, record.shared_illness_at) = (Some(Millis(5)), Some(Millis(6)));
    (record.until, record.lowest_in_service) = (Some(Millis(7)), Some(1));
    record.tell(Wall(NOW), "it began");
    record.receipt = Some(receipt());
    record
}

pub(crate) fn problem() -> Problem {
    Problem { check: "start".into(), reason: "it ended".into(), log: vec!["oh".into()] }
}

fn entry() -> Entry {
    Entry {
        zone: "a".parse().unwrap(),
        before: Some(release("1")),
        ill_before: false,
        starting_before: false,
        was_well: true,
        granted: Some(Grant { fence: Fence::default(), at: Millis(1), task: Task::TakeBack }),
        progress: Progress::Done,
        touched: true,
        recalled: Some(Millis(2)),
        retried: false,
        steady: true,
        problem: Some(problem()),
        arrival: Some(Arrival { at: Wall(NOW), took: Millis(3) }),
        ill_since: Some(Millis(4)),
        fetched: Some(Fetched { bytes: 1, of: 2 }),
        cramped: Some("there is no memory".into()),
        objected: false,
        vanished: false,
    }
}

fn run() -> RunEntry {
    RunEntry {
        runner: instance("i1"),
        run: Run {
            migration: migration(),
            release: release("2"),
            deployment: current().id,
            environment: "production".parse().unwrap(),
            attempt: 1,
            command: Command("up".into()),
            undo: false,
        },
        fence: Fence::default(),
        outcome: Some(Outcome::Exited { code: 0, log: Vec::new() }),
    }
}

fn receipt() -> Receipt {
    let some = Percentile { before: Some(3), during: Some(4), after: Some(5) };
    let missing = vec![Window { from: Wall(NOW), to: Wall(NOW + 1) }];
    let source = Source { p50_ms: some, p99_ms: some, missing, ..Source::default() };
    let sources = Sources::from([("gates".to_owned(), source.clone()), ("prober".to_owned(), source)]);
    Receipt {
        verdict: Receipt::verdict(&sources),
        requests: sources["gates"].requests,
        held: sources["gates"].held,
        longest_gap_ms: 31,
        p50_ms: some,
        p99_ms: some,
        lowest_in_service: Some(1),
        duration_ms: 14_200,
        phases: vec![(State::Staging.to_string(), Millis(200)), (State::Rolling.to_string(), Millis(14_000))],
        instances_ms: BTreeMap::from([(instance("i1"), Millis(4_200))]),
        migration: Some(SchemaChange { id: migration(), outcome: SchemaOutcome::Skipped }),
        bytes: Some(Fetched { bytes: 1, of: 2 }),
        sources,
    }
}
