//! All at once, with a migration: who arrives meanwhile waits, and is answered 200.

use crate::harness::{Fleet, Program, Setup, Shop, Step, signal, until};
use crate::life::{AllAtOnce, Life};
use crate::who::Who;
use everup_core::deployment::State;
use everup_core::instance::Phase;
use everup_core::status::Line;
use rustix::process::Signal;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// Writes down that it ran, and takes `seconds`.
fn migration(seconds: u32) -> Program {
    Program::python().migrating("orders", &format!("echo ran >> \"$SHOP/ran\"; sleep {seconds}"))
}

/// How often the migration ran.
fn runs(fleet: &Fleet) -> usize {
    fs::read_to_string(fleet.path().join("ran")).unwrap_or_default().lines().count()
}

#[test]
fn a_migration_of_three_seconds() {
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &migration(3));
    let users = fleet.users();
    let ended = fleet.deploy(&["2"]).succeeded();
    let tally = users.all_served();
    fleet.all_serve(4, "2");
    assert_eq!(runs(&fleet), 1);
    assert!(ended.document["held"]["count"].as_u64().unwrap() > 0, "{:#}", ended.document);
    assert!(tally.kinds["GET"].longest_ms >= 2_500, "nobody waited: {tally:?}");
    assert_eq!(ended.document["strategy"], "all-at-once");
}

/// Who does not wait any longer has been failed, wherever the request was held, and the receipt says so.
#[test]
fn who_leaves_while_held_is_on_the_receipt() {
    let fleet = Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &migration(3));
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.reached(State::Migrating);
    let mut impatient = TcpStream::connect(fleet.address).unwrap();
    impatient.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    impatient.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let unanswered = impatient.read(&mut [0]).unwrap_err();
    assert!(matches!(unanswered.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{unanswered}");
    drop(impatient);
    let ended = running.ended();
    let requests = ended.record.receipt.as_ref().unwrap().requests;
    assert_eq!((requests.left_while_held, requests.failed, ended.code), (1, 1, 10), "{:#}", ended.document);
    users.all_served();
}

#[test]
fn without_a_migration() {
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &Program::python());
    let users = fleet.users();
    fleet.deploy(&["2", "--strategy", "all-at-once"]).succeeded();
    users.all_served();
    fleet.all_serve(4, "2");
}

#[test]
fn posts_and_streams_over_a_change_that_the_old_release_does_not_survive() {
    let binary = env!("CARGO_BIN_EXE_everup");
    let next = Program::demo().file("demo.conf", "schema=2\nstart_ms=100");
    let next =
        next.migrating("schema-2", &format!("{binary} demo-app migrate --database \"$SHOP/database\""));
    let fleet = Shop::serving(&Setup::default(), &Program::demo(), &next);
    let users = crate::harness::Users::with_everything(fleet.address);
    fleet.deploy(&["2"]).succeeded();
    let tally = users.all_served();
    let counted = everup_cli::demo::database::counted(&fleet.path().join("database")).unwrap();
    assert_eq!(tally.compare(&counted), Vec::<String>::new());
    // A stream lasts less than half a second, and has the time to end.
    assert_eq!(tally.kinds["stream"].ended_by_design, 0, "{tally:?}");
    // The old release could not run any more, and nobody may start it.
    let refused = fleet.everup(&["deploy", "1"]).ended(2);
    refused.says(&["release 1 may not run any more", "a migration has changed the database since"]);
    fleet.all_serve(4, "2");
}

/// C22: longer than anybody waits. Refused with a time to come again, never the old release, never a reset.
#[test]
fn a_migration_that_outlasts_the_hold_refuses_and_goes_on() {
    let setup = Setup { instances: 2, hold: "wait = \"1s\"", ..Setup::default() };
    let fleet = Shop::serving(&setup, &Program::python(), &migration(4));
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.reached(State::Migrating);
    let mut refused = Vec::new();
    let mut of_new = 0;
    until("the receipt", || {
        let answer = fleet.get("/");
        if answer.starts_with("HTTP/1.1 503 ") {
            refused.push(answer);
        } else {
            assert!(answer.contains("version 2"), "not the new release: {answer}");
            of_new += 1;
        }
        // Whoever asks how the service is would replace its machines otherwise.
        assert!(fleet.get("/.everup/health").starts_with("HTTP/1.1 200"));
        running.record().filter(|record| record.receipt.is_some())
    });
    assert!(of_new > 0 && !refused.is_empty(), "{of_new} of the new release, {} refused", refused.len());
    let says_when = |answer: &String| answer.to_lowercase().contains("retry-after:");
    assert!(refused.iter().all(says_when), "{refused:?}");
    let ended = running.ended();
    assert_eq!((ended.record.state, ended.code), (State::Succeeded, 10), "{:#}", ended.document);
    assert!(ended.document["longest_gap_ms"].as_u64().unwrap() >= 2_000, "{:#}", ended.document);
    let (tally, _) = users.go();
    assert!(tally.failed() > 0 && tally.reasons.keys().all(|why| why.starts_with("503")), "{tally:#?}");
    let receipt = ended.record.receipt.unwrap();
    // Every request passed the gates: the users', the probers' and the ones above.
    let [gates, prober] = ["gates", "prober"].map(|source| receipt.sources[source].requests);
    assert_eq!(gates.refused, tally.failed() + prober.failed + refused.len() as u64, "{receipt:#?}");
    assert_eq!(gates.refused, gates.failed, "{receipt:#?}");
    assert_eq!(runs(&fleet), 1);
    fleet.all_serve(2, "2");
    // The next one says so beforehand.
    fleet.publish("3", &Program::python());
    let next = fleet.deploy(&["3", "--strategy", "all-at-once"]);
    assert!(next.err.contains("held requests for") && next.err.contains("[hold] wait"), "{}", next.err);
}

/// C22: its parent ends at once with 0 and says a lot; the migration is over when its last process has ended.
#[test]
fn a_migration_that_forks_and_prints_100_mb() {
    let migrated =
        "(head -c 100000000 /dev/zero | tr '\\0' x | fold -w 120; sleep 1; echo yes > \"$SHOP/migrated\") &";
    let next =
        Program::python().migrating("orders", &format!("echo ran >> \"$SHOP/ran\"; {migrated} exit 0"));
    let next = next.command(&format!("cat \"$SHOP/migrated\" && {}", Program::python().says_how()));
    let fleet = Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &next);
    let users = fleet.users();
    fleet.deploy(&["2"]).succeeded();
    users.all_served();
    assert_eq!(runs(&fleet), 1);
    fleet.all_serve(2, "2");
    let kept: u64 =
        fleet.seats().keys().map(|id| size(&fleet.state().join(format!("instances/{id}/runs")))).sum();
    assert!(kept > 0 && kept < 4_000_000, "{kept} bytes of its output were kept");
}

/// The bytes of all files in a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// C22: its agent dies; the migration does not, and is not run again.
#[test]
fn the_runners_agent_is_killed() {
    let fleet = Shop::serving(&Setup { instances: 3, ..Setup::default() }, &Program::python(), &migration(3));
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.reached(State::Migrating);
    let record = running.until("a runner", |record| record.run().is_some());
    until("the migration to run", || (runs(&fleet) > 0).then_some(()));
    fleet.kill_agent(&record.run().unwrap().runner);
    running.ended().succeeded_somehow();
    users.all_served();
    assert_eq!(runs(&fleet), 1);
    fleet.all_serve(3, "2");
}

/// C23: newcomers, a dead coordinator and an operator who presses it all again, during a migration.
#[test]
fn whatever_happens_it_runs_once() {
    let wait = "echo $EVERUP_INSTANCE $$ >> \"$SHOP/ran\"; until [ -e \"$SHOP/go\" ]; do sleep 0.02; done";
    let next = Program::python().migrating("orders", wait);
    let fleet = Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &next);
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.reached(State::Migrating);
    until("the migration to run", || (runs(&fleet) > 0).then_some(()));
    let before = fleet.seats();
    fleet.everup(&["scale", "5"]).done();
    // They start nothing, and say what they wait for.
    let said = format!("deployment {} is migrating: it says when to start", running.id());
    let waits = |line: &Line| {
        let is_newcomer = !before.contains_key(&line.id) && line.release.is_none();
        is_newcomer && line.phase == Some(Phase::Waiting) && line.waiting.as_ref() == Some(&said)
    };
    until("three newcomers to wait", || {
        (fleet.status().instances.iter().filter(|line| waits(line)).count() == 3).then_some(())
    });
    fleet.kill_agent(&fleet.coordinator());
    fleet.everup(&["deploy", "2"]).ended(7);
    fleet.everup(&["resume"]).ended(2).says(&[running.id(), "is migrating: it is not paused"]);
    fleet.write("go", "");
    running.ended().succeeded_somehow();
    users.all_served();
    assert_eq!(runs(&fleet), 1);
    fleet.all_serve(5, "2");
}

#[test]
fn a_migration_that_fails_lets_the_old_release_go_on() {
    let broken = Program::python().migrating("orders", "echo no table named orders; exit 3");
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &broken);
    let users = fleet.users();
    fleet.deploy(&["2"]).rolled_back().because(&["orders", "3", "no table named orders"]);
    users.all_served();
    fleet.all_serve(4, "1");
}

/// In a fleet of one nobody else can take what waits: it waits on, for the app that is started in its place.
#[test]
fn the_only_app_dies_while_its_gate_holds() {
    let mut life = Life::begin(Setup::default().gate, AllAtOnce, 1);
    let before = life.serving;
    let many_wait = |life: &Life, n| until("many to wait", || (life.users.waiting() > n).then_some(()));
    let (ended, _) = life.meanwhile(Step::Draining, |life, victim| {
        many_wait(life, 20);
        life.fleet.block(Step::Starting);
        life.kill(Who::App, victim);
        life.fleet.comes_to(Step::Starting);
        many_wait(life, 60);
        life.fleet.unblock(Step::Starting);
    });
    // Its last request ended with it, and so its gate was idle: that may be known first, and then it is sealed.
    let ended = if ended.record.state == State::Succeeded { ended } else { ended.rolled_back() };
    if ended.record.state == State::RolledBack {
        life.serving = before;
    }
    life.all_serve();
    life.judge(Who::App, &ended.record);
    life.ends();
}

/// Until the migration is granted an operator may change their mind: the old release goes on, and who waited is answered.
fn is_aborted_in(step: Step) {
    let mut life = Life::begin(Setup::default().gate, AllAtOnce, 3);
    let before = life.serving;
    let (ended, last) = life.meanwhile(step, |life, _| drop(life.fleet.everup(&["abort"]).done()));
    let phases: Vec<_> = ended.record.phases.iter().map(|phase| phase.state).collect();
    assert!(matches!(ended.record.state, State::Aborted | State::RolledBack), "{phases:?}");
    assert_eq!(ended.code, 3, "{:#}", ended.document);
    assert!(!phases.contains(&State::Migrating), "{phases:?}");
    assert!(ended.record.aborted_by.is_some());
    assert!(last.is_none_or(|answer| answer.starts_with("HTTP/1.1 200")));
    life.serving = before;
    life.all_serve();
    assert_eq!(life.ran(), Vec::<String>::new());
    life.ends();
}

#[test]
fn abort_while_holding() {
    is_aborted_in(Step::Draining);
}

#[test]
fn abort_while_sealing() {
    is_aborted_in(Step::Stopping);
}

/// Its agent, its minder and the command itself: nobody can know what it has done. It is run again at a person's word
/// alone, from its beginning.
#[test]
fn the_runners_whole_instance_is_killed_and_it_is_run_again() {
    let wait = "echo $$ >> \"$SHOP/ran\"; until [ -e \"$SHOP/go\" ]; do sleep 0.02; done";
    let next = Program::python().migrating("orders", wait);
    let fleet = Shop::serving(&Setup { instances: 3, ..Setup::default() }, &Program::python(), &next);
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.reached(State::Migrating);
    let record = running.until("a runner", |record| record.run().is_some());
    let ran = || fs::read_to_string(fleet.path().join("ran")).unwrap_or_default();
    let command = until("the migration to run", || ran().trim().parse().ok());
    let runner = record.run().unwrap().runner.clone();
    fleet.kill_migrations_minder(&runner);
    signal(command, Signal::KILL);
    fleet.kill_agent(&runner);
    let id = running.id().to_owned();
    let ended = running.ended();
    assert_eq!((ended.record.state, ended.code), (State::NeedsOperator, 5), "{:#}", ended.document);
    assert!(ended.record.because.contains("--migration=applied"), "{}", ended.record.because);
    assert_eq!(runs(&fleet), 1);
    fleet.everup(&["resume"]).ended(2).says(&["`everup resume --migration=applied`", "`run-again`"]);
    fleet.write("go", "");
    fleet.everup(&["resume", "--migration=run-again"]).done();
    fleet.ended(&id).succeeded_somehow();
    users.all_served();
    fleet.all_serve(3, "2");
    assert_eq!(runs(&fleet), 2, "{}", ran());
}

#[test]
fn a_migration_that_is_killed_needs_a_person() {
    let killed = Program::python().migrating("orders", "echo half done; kill -9 $$");
    let fleet = Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &killed);
    let users = fleet.users();
    let ended = fleet.deploy(&["2"]);
    assert_eq!((ended.record.state, ended.code), (State::NeedsOperator, 5), "{:#}", ended.document);
    fleet.everup(&["resume", "--migration=applied"]).done();
    fleet.all_serve(2, "2");
    users.all_served();
}
