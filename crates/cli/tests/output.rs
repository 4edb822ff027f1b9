//! What a person sees of a fleet, on narrow and on wide terminals, and where there is none.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use everup_cli::progress::lines::Lines;
use everup_cli::progress::{document, event, frame, receipt};
use everup_core::deployment::State;
use everup_core::head::Request;
use everup_core::ids::{DeploymentId, Environment, InstanceId, MigrationId, Term, Version, WriteId, Zone};
use everup_core::instance::{Phase, Problem};
use everup_core::policy::Policy;
use everup_core::receipt::{
    Held, Percentile, Receipt, Requests, SchemaChange, SchemaOutcome, Source, Sources,
};
use everup_core::record::Record;
use everup_core::release::{Digest, Fetched, ReleaseRef};
use everup_core::status::{Line, Status};
use everup_core::time::{Millis, Wall};
use snapbox::str;
use std::time::{Duration, Instant};

fn release(version: &str) -> ReleaseRef {
    ReleaseRef { version: Version::new(version).unwrap(), manifest: Digest::new("0".repeat(64)).unwrap() }
}

fn record() -> Record {
    let request = Request {
        to: release("2026.11.2"),
        policy: Policy::default(),
        by: "anna".into(),
        at: Wall(1_000_000),
        from: Some(release("2026.11.1")),
        idempotency: None,
        migration: None,
        applied_before: None,
        take_back: None,
    };
    let (environment, id) = (Environment::new("production").unwrap(), DeploymentId::new("d-7").unwrap());
    let mut record = Record::first(&environment, &id, Term(3), &request, WriteId::new("w").unwrap());
    record.state = State::Rolling;
    record.because = "1 of 3 instances is on release 2026.11.2".into();
    record.waiting = vec!["i2 drains: 3 requests are in flight, at most 24 s more".into()];
    record
}

fn line(id: &str, zone: &str, version: &str, phase: Phase) -> Line {
    Line {
        id: InstanceId::new(id).unwrap(),
        zone: Zone::new(zone).unwrap(),
        address: "127.0.0.1:20000".into(),
        phase: Some(phase),
        release: Some(release(version)),
        in_service: phase == Phase::Serving,
        waiting: None,
        problem: None,
    }
}

fn status() -> Status {
    let mut leaving = line("i2", "b", "2026.11.1", Phase::Leaving);
    leaving.waiting = Some("3 requests are in flight, at most 24 s more".into());
    let mut ill = line("i3", "a", "2026.11.1", Phase::Ill);
    let reason = "GET /healthz on 127.0.0.1:20009 answered 500 Internal Server Error: no database";
    ill.problem = Some(Problem::new("health check", reason));
    Status {
        seq: 1,
        instance: InstanceId::new("i1").unwrap(),
        environment: Environment::new("production").unwrap(),
        coordinator: Some(InstanceId::new("i1").unwrap()),
        head: None,
        record: Some(record()),
        desired: 3,
        instances: vec![line("i1", "a", "2026.11.2", Phase::Serving), leaving, ill],
        trouble: None,
    }
}

fn plain(lines: &[String]) -> String {
    anstream::adapter::strip_str(&lines.join("\n")).to_string()
}

#[test]
fn a_status_on_80_columns() {
    let text = plain(&frame::lines(&status(), Wall(1_012_000), 80));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    snapbox::assert_data_eq!(
        text,
        str![[r#"
production: 1 of 3 in service, i1 coordinates
rolling: 2026.11.1 > 2026.11.2, rolling, 12 s of at most 1 h, by anna
  1 of 3 instances is on release 2026.11.2
  waiting: i2 drains: 3 requests are in flight, at most 24 s more

INSTANCE  ZONE  RELEASE    PHASE    SERVICE  REASON
i1        a     2026.11.2  serving  in
i2        b     2026.11.1  leaving  out      3 requests are in flight, at most …
i3        a     2026.11.1  ill      out      health check: GET /healthz on 127.…
i3: health check: GET /healthz on 127.0.0.1:20009 answered 500 Internal Server
  Error: no database
"#]]
    );
}

#[test]
fn a_status_on_200_columns() {
    let text = plain(&frame::lines(&status(), Wall(1_012_000), 200));
    snapbox::assert_data_eq!(
        text,
        str![[r#"
production: 1 of 3 in service, i1 coordinates
rolling: 2026.11.1 > 2026.11.2, rolling, 12 s of at most 1 h, by anna
  1 of 3 instances is on release 2026.11.2
  waiting: i2 drains: 3 requests are in flight, at most 24 s more

INSTANCE  ZONE  RELEASE    PHASE    SERVICE  REASON
i1        a     2026.11.2  serving  in
i2        b     2026.11.1  leaving  out      3 requests are in flight, at most 24 s more
i3        a     2026.11.1  ill      out      health check: GET /healthz on 127.0.0.1:20009 answered 500 Internal Server Error: no database
"#]]
    );
}

/// A coordinator that has just begun to look has heard nobody: that says nothing of who serves.
#[test]
fn who_was_not_heard_yet_is_not_called_out_of_service() {
    let unheard = |line: &mut Line| {
        (line.phase, line.release, line.in_service, line.waiting, line.problem) =
            (None, None, false, None, None);
    };
    let mut now = status();
    now.instances.iter_mut().for_each(unheard);
    let text = plain(&frame::lines(&now, Wall(1_012_000), 80));
    assert!(text.starts_with("production: looking for its instances, i1 coordinates\n"), "{text}");
    assert!(!text.contains(" out"), "{text}");
    let told = plain(&Lines::default().show(now.clone(), Instant::now()));
    assert!(!told.contains("i2"), "{told}");
    let told = serde_json::to_string(&event::between(None, &now)).unwrap();
    assert!(!told.contains("in_service"), "{told}");
    now = status();
    unheard(&mut now.instances[1]);
    let text = plain(&frame::lines(&now, Wall(1_012_000), 80));
    assert!(text.starts_with("production: 1 of 3 in service, i2 not heard yet, i1 coordinates\n"), "{text}");
    // Who does not answer is known not to.
    now.instances[1].waiting = Some("cannot reach the agent at i2".into());
    let text = plain(&frame::lines(&now, Wall(1_012_000), 80));
    assert!(text.starts_with("production: 1 of 3 in service, i1 coordinates\n"), "{text}");
}

#[test]
fn instances_stand_in_the_order_of_their_numbers() {
    let mut now = status();
    now.instances = ["i10", "i11", "i7"].map(|id| line(id, "a", "2026.11.2", Phase::Serving)).to_vec();
    let text = plain(&frame::lines(&now, Wall(1_012_000), 80));
    let ids: Vec<&str> =
        text.lines().filter_map(|line| line.split(' ').next()).filter(|word| word.starts_with('i')).collect();
    assert_eq!(ids, ["i7", "i10", "i11"], "{text}");
}

#[test]
fn what_a_person_is_asked_is_said_once() {
    let mut now = status();
    now.instances.clear();
    let record = now.record.as_mut().unwrap();
    record.state = State::NeedsOperator;
    record.because = "migration m1 was ended by signal 9 (KILL). look at the database, then say: everup resume --migration=applied, not-applied or run-again".into();
    record.waiting = vec![format!("a person: {}", record.because)];
    snapbox::assert_data_eq!(
        plain(&frame::lines(&now, Wall(1_012_000), 100)),
        str![[r#"
production: 0 of 3 in service, i1 coordinates
needs-operator: 2026.11.1 > 2026.11.2, rolling, 12 s of at most 1 h, by anna
  migration m1 was ended by signal 9 (KILL). look at the database, then say: everup resume
    --migration=applied, not-applied or run-again
  users' requests wait meanwhile, each for at most 25 s, and are refused then

INSTANCE  ZONE  RELEASE  PHASE  SERVICE  REASON
"#]]
    );
    let began = Instant::now();
    let mut lines = Lines::default();
    lines.leave_out_the_end();
    let mut told = lines.show(now, began);
    told.extend(lines.tick(began + Duration::from_secs(9)));
    assert!(!plain(&told).contains("signal 9"), "whoever follows tells it: {told:?}");
}

#[test]
fn elsewhere_each_change_is_one_line() {
    let before = status();
    let mut now = status();
    now.seq = 2;
    now.instances[1] = line("i2", "b", "2026.11.2", Phase::Serving);
    now.instances.remove(2);
    now.coordinator = Some(InstanceId::new("i2").unwrap());
    let record = now.record.as_mut().unwrap();
    record.because = "2 of 3 instances are on release 2026.11.2".into();
    record.waiting.clear();
    let events = event::between(Some(&before), &now);
    let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
    snapbox::assert_data_eq!(
        plain(&lines),
        str![[r#"
i2 coordinates
rolling: 2 of 3 instances are on release 2026.11.2
i2: serving, release 2026.11.2, in service
i3: gone
"#]]
    );
    let json: Vec<String> = events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
    snapbox::assert_data_eq!(
        json.join("\n"),
        str![[r#"
{"event":"coordinator","coordinator":"i2"}
{"event":"state","deployment":"d-7","state":"rolling","because":"2 of 3 instances are on release 2026.11.2"}
{"event":"instance","instance":"i2","phase":"serving","release":"2026.11.2","in_service":true,"waiting":null,"problem":null}
{"event":"gone","instance":"i3"}
"#]]
    );
    assert_eq!(event::between(Some(&now), &now), []);
}

fn receipt() -> Receipt {
    let requests = Requests { total: 1_204, ..Requests::default() };
    let source = Source { requests, longest_gap_ms: 31, ..Source::default() };
    let sources = Sources::from([("gates".to_owned(), source.clone()), ("prober".to_owned(), source)]);
    Receipt {
        verdict: Receipt::verdict(&sources),
        requests,
        held: Held { count: 12, longest_ms: 1_480 },
        longest_gap_ms: 31,
        p50_ms: Percentile { before: Some(3), during: Some(4), after: None },
        p99_ms: Percentile { before: Some(12), during: Some(15), after: Some(13) },
        lowest_in_service: Some(2),
        duration_ms: 14_200,
        phases: vec![("staging".into(), Millis(200)), ("rolling".into(), Millis(14_000))],
        instances_ms: [("i1", 4_200), ("i2", 5_100), ("i10", 4_200)]
            .into_iter()
            .map(|(id, ms)| (InstanceId::new(id).unwrap(), Millis(ms)))
            .collect(),
        migration: Some(SchemaChange {
            id: MigrationId::new("2026-11-orders").unwrap(),
            outcome: SchemaOutcome::Skipped,
        }),
        bytes: Some(Fetched { bytes: 1_200, of: 34_000_000 }),
        sources,
    }
}

#[test]
fn where_nothing_is_drawn_a_line_is_something_that_happened_or_a_wait_that_lasts() {
    let began = Instant::now();
    let mut lines = Lines::default();
    lines.leave_out_the_end();
    let mut now = status();
    let first = lines.show(now.clone(), began);
    assert!(!plain(&first).contains("waiting"), "{first:?}");
    now.instances[1].phase = Some(Phase::Stopped);
    now.record.as_mut().unwrap().waiting =
        vec!["i2 drains: 3 requests are in flight, at most 21 s more".into()];
    assert_eq!(lines.show(now.clone(), began), Vec::<String>::new(), "it is on its way");
    let wait = "i2: its first passed check, 2 min 29 s left";
    now.record.as_mut().unwrap().waiting = vec![wait.into()];
    assert_eq!(lines.show(now.clone(), began), Vec::<String>::new());
    assert_eq!(lines.tick(began + Duration::from_secs(2)), Vec::<String>::new());
    now.record.as_mut().unwrap().waiting = vec![wait.replace("29 s", "26 s")];
    let lasting = lines.show(now.clone(), began + Duration::from_secs(3));
    assert_eq!(lasting, ["waiting: i2: its first passed check, 2 min 26 s left"]);
    assert_eq!(lines.tick(began + Duration::from_secs(9)), Vec::<String>::new(), "once");
    now.instances[1] = line("i2", "b", "2026.11.2", Phase::Serving);
    now.record.as_mut().unwrap().state = State::Succeeded;
    assert_eq!(plain(&lines.show(now, began)), "i2: serving, release 2026.11.2, in service");
}

#[test]
fn a_deployment_ends_with_its_receipt() {
    let mut record = record();
    record.state = State::Succeeded;
    record.receipt = Some(receipt());
    snapbox::assert_data_eq!(
        plain(&receipt::lines(&record)),
        str![[r#"
receipt of d-7: not one request failed
  requests    1204, 0 failed
  held        12 for at most 1.4 s
  longest gap 31 ms
  p50         3 ms before, 4 ms during, unknown after
  p99         12 ms before, 15 ms during, 13 ms after
  in service  never fewer than 2
  took        14.2 s
              staging 200 ms, rolling 14 s
  each        i2 5.1 s, i1 4.2 s, i10 4.2 s
  migration   2026-11-orders: skipped, an earlier deployment applied it
  downloaded  1 kB (34.0 MB unpacked)
  gates       saw 1204, 0 failed, longest gap 31 ms
  prober      saw 1204, 0 failed, longest gap 31 ms
"#]]
    );
    let receipt = record.receipt.as_mut().unwrap();
    receipt.instances_ms.clear();
    let nobody_arrived = plain(&receipt::lines(&record));
    assert!(!nobody_arrived.contains("  each "), "{nobody_arrived}");
    let receipt = record.receipt.as_mut().unwrap();
    let many =
        (1..=40).map(|n| (InstanceId::new(format!("i-0123456789abcde{n:02}")).unwrap(), Millis(n * 999)));
    receipt.instances_ms = many.collect();
    let text = plain(&receipt::lines(&record));
    assert!(text.contains("\n  each        i-0123456789abcde40 39.9 s, "), "{text}");
    assert!(text.contains("\n              others in less\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let document = document::of(&record);
    let field = |name: &str| document.get(name).unwrap().clone();
    for name in [
        "id",
        "strategy",
        "from",
        "to",
        "status",
        "p50_ms",
        "p99_ms",
        "instances_ms",
        "lowest_in_service",
        "duration_ms",
    ] {
        assert!(!field(name).is_null(), "{name}: {document}");
    }
    assert_eq!((&field("requests")["total"], &field("held")["longest_ms"]), (&1_204.into(), &1_480.into()));
}

/// The names at the beginning of a receipt's lines.
fn names<'t>(lines: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let receipt = lines.skip_while(|line| !line.starts_with("receipt of ")).skip(1);
    receipt.take_while(|line| line.starts_with("  ")).map(|line| line[..14].trim()).collect()
}

#[test]
fn the_receipt_of_the_readme_is_one_that_is_printed() {
    let mut record = record();
    // The README's release brings none.
    record.receipt = Some(Receipt { migration: None, ..receipt() });
    let text = plain(&receipt::lines(&record));
    assert_eq!(names(include_str!("../../../README.md").lines()), names(text.lines()));
}

#[test]
fn what_the_process_says_follows_from_state_and_verdict() {
    let exit = |state: State, change: fn(&mut Receipt)| {
        let mut record = record();
        let mut receipt = receipt();
        change(&mut receipt);
        receipt.verdict = Receipt::verdict(&receipt.sources);
        (record.state, record.receipt) = (state, Some(receipt));
        document::exit(&record).code()
    };
    let kept: fn(&mut Receipt) = |_| {};
    assert_eq!(exit(State::Succeeded, kept), 0);
    assert_eq!(exit(State::Succeeded, |r| r.sources.values_mut().for_each(|s| s.requests.failed = 1)), 10);
    assert_eq!(exit(State::Succeeded, |r| r.sources.clear()), 6);
    // A fleet of no instances has nothing to measure; one that became empty on the way has.
    assert_eq!(exit(State::SucceededUnproven, |r| r.sources.clear()), 0);
    let failed: fn(&mut Receipt) = |r| r.sources.values_mut().for_each(|s| s.requests.failed = 1);
    assert_eq!(exit(State::SucceededUnproven, failed), 10);
    assert_eq!(exit(State::RolledBack, kept), 3);
    // Nothing was touched: the fleet is on the release before. Without one there is nothing that works.
    assert_eq!(exit(State::Failed, kept), 3);
    assert_eq!(document::exit(&Record { state: State::Failed, from: None, ..record() }).code(), 4);
    assert_eq!(exit(State::NeedsOperator, kept), 5);
}
