//! People: two at once, words in the middle, Ctrl-C, and a CLI that is killed.

use crate::harness::{Program, Said, Setup, Shop, Step, get, python, until, wish};
use everup_core::deployment::State;
use everup_core::ids::WriteId;
use everup_core::record::Say;
use everup_web::client::Failure;
use everup_web::wire::{VersionLine, Words};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Barrier;

/// C19: the second is told who, since when, at what; before it has touched anything.
#[test]
fn two_deployments_at_once() {
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &Program::python());
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.reached(State::Rolling);
    let id = running.id().to_owned();
    fleet.everup(&["deploy", "1"]).ended(7).says(&[&id]);
    let refused =
        fleet.everup(&["rollback"]).ended(7).says(&[&id, "`everup abort` takes what runs back to 1"]);
    assert!(!refused.err.contains("going back"), "{}", refused.err);
    running.ended().succeeded();
    fleet.deploy(&["1"]).succeeded();
    users.all_served();
    fleet.all_serve(4, "1");
}

/// Whoever has seen enough leaves: `status --watch | head -n 1` ends, also while nothing changes.
#[test]
fn following_ends_with_its_reader() {
    let fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let mut child = fleet.command(&["status", "--watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("\"event\""), "{line}");
    drop(lines);
    let status = until("the command's end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

/// A request with a key is one deployment, also when it is sent again after that is over.
#[test]
fn one_request_is_one_deployment() {
    let fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let first = fleet.deploy(&["2", "--idempotency", "friday"]).succeeded();
    let again = fleet.deploy(&["2", "--idempotency", "friday"]).succeeded();
    assert_eq!(first.record.id, again.record.id);
    fleet
        .everup(&["deploy", "1", "--idempotency", "friday"])
        .ended(2)
        .says(&["friday", first.record.id.as_str()]);
    fleet.all_serve(2, "2");
}

/// C19: not one after the other, but at the same instant, each through a command of its own.
#[test]
fn commands_at_the_same_instant() {
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &Program::python());
    let users = fleet.users();
    let start = Barrier::new(5);
    let said: Vec<Said> = std::thread::scope(|scope| {
        let deploy = || {
            start.wait();
            fleet.everup(&["deploy", "2"])
        };
        let all: Vec<_> = (0..5).map(|_| scope.spawn(deploy)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let (ran, refused): (Vec<_>, Vec<_>) = said.into_iter().partition(|said| said.code != 7);
    assert_eq!(ran.len(), 1, "{ran:#?}");
    assert!([0, 6].contains(&ran[0].code), "{ran:#?}");
    let deployments = fleet.deployments();
    assert_eq!(deployments.len(), 2, "{deployments:?}");
    for said in refused {
        said.says(&[deployments.last().unwrap(), "everup status --watch", "everup abort"]);
    }
    users.all_served();
    fleet.all_serve(4, "2");
}

/// C19: each through another agent, so that only the store's swap is between them.
#[test]
fn requests_to_all_agents_at_the_same_instant() {
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &Program::python());
    let users = fleet.users();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for version in ["2", "1", "2"] {
        let before = fleet.deployments();
        let request = wish(version);
        let clients: Vec<_> = fleet.seats().keys().map(|id| fleet.client(id)).collect();
        let answers = futures_util::future::join_all(clients.iter().map(|client| client.deploy(&request)));
        let (begun, refused): (Vec<_>, Vec<_>) =
            runtime.block_on(answers).into_iter().partition(Result::is_ok);
        assert_eq!((begun.len(), refused.len()), (1, 3), "{begun:#?}, {refused:#?}");
        let id = begun[0].as_ref().unwrap().deployment.clone();
        for answer in refused {
            let Err(Failure::Refused { fault, .. }) = answer else { panic!("{answer:?}") };
            let current = fault.current.map(|current| current.id);
            assert_eq!((fault.error.as_str(), current), ("busy", Some(id.clone())), "{}", fault.message);
        }
        fleet.ended(id.as_str()).succeeded();
        assert_eq!(fleet.deployments().len(), before.len() + 1);
        until("head to be let go", || fleet.head().filter(|head| head.current.is_none()));
    }
    users.all_served();
    fleet.all_serve(4, "2");
}

#[test]
fn ctrl_c_detaches_and_abort_goes_back() {
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &Program::python());
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.done(1);
    let (said, id) = running.interrupted();
    let said = said.ended(8).says(&[&id, "goes on", "`everup status --watch` follows it"]);
    assert!(!said.out.contains("\"ended\""), "{}", said.out);
    // It goes on: nobody told it to stop.
    fleet.ended(&id).succeeded();
    fleet.all_serve(4, "2");
    let running = fleet.begin(&["1"]);
    running.done(2);
    let (said, id) = running.interrupted();
    said.ended(8);
    fleet.everup(&["abort"]).done();
    let ended = fleet.ended(&id);
    assert!(matches!(ended.record.state, State::Aborted | State::RolledBack), "{:#}", ended.document);
    assert_eq!(ended.code, 3);
    users.all_served();
    fleet.all_serve(4, "2");
}

/// C19: no lock is left, whoever dies.
#[test]
fn the_command_that_follows_is_killed() {
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &Program::python());
    let users = fleet.users();
    let id = fleet.begin(&["2"]).orphan();
    fleet.ended(&id).succeeded();
    fleet.deploy(&["1"]).succeeded();
    users.all_served();
}

#[test]
fn pause_and_resume() {
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &Program::python());
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.done(1);
    fleet.everup(&["pause"]).done();
    running.until("a pause", |record| record.state == State::Paused || record.state.is_final());
    fleet.everup(&["resume"]).done();
    running.ended().succeeded();
    users.all_served();
    fleet.all_serve(4, "2");
}

/// The call whose answer was lost is made again, perhaps to another agent, and later than the next word.
#[test]
fn a_word_that_is_said_twice_is_heard_once() {
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &Program::python());
    let running = fleet.begin(&["2"]);
    running.done(1);
    let words = Words { say: Say::Pause, by: "a test".into(), id: WriteId::new("once").ok() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut agents = fleet.seats().into_keys();
    let mut say = || {
        let agent = fleet.client(&agents.next().unwrap());
        runtime.block_on(agent.say(None, &words)).unwrap()
    };
    let first = say();
    running.until("a pause", |record| record.state == State::Paused || record.state.is_final());
    fleet.everup(&["resume"]).done();
    running.until("its end", |record| record.state == State::Rolling || record.state.is_final());
    assert_eq!(say().id, first.id);
    let ended = running.ended().succeeded_somehow();
    let pauses = ended.record.phases.iter().filter(|phase| phase.state == State::Paused).count();
    assert_eq!(pauses, 1);
}

#[test]
fn abort_goes_back() {
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &Program::python());
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.done(1);
    fleet.everup(&["abort"]).done();
    let ended = running.ended();
    assert!(matches!(ended.record.state, State::Aborted | State::RolledBack), "{:#}", ended.document);
    assert_eq!(ended.code, 3);
    users.all_served();
    fleet.all_serve(4, "1");
}

#[test]
fn rollback_returns_to_the_release_before() {
    let fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let users = fleet.users();
    fleet.deploy(&["2"]).succeeded();
    fleet.everup(&["rollback"]).done();
    users.all_served();
    fleet.all_serve(2, "1");
}

#[test]
fn history_has_the_receipt_that_deploy_printed() {
    let fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let users = fleet.users();
    let ended = fleet.deploy(&["2"]).succeeded();
    let said = fleet.everup(&["history", "--json"]).done();
    let history: Vec<serde_json::Value> = serde_json::from_str(&said.out).unwrap();
    let kept = history.iter().find(|one| one["id"] == ended.document["id"]);
    assert_eq!(kept, Some(&ended.document));
    let serde_json::Value::Object(receipt) = serde_json::to_value(&ended.record.receipt).unwrap() else {
        panic!("there is no receipt")
    };
    assert!(receipt.iter().all(|(field, value)| ended.document[field] == *value), "{:#}", ended.document);
    users.all_served();
}

#[test]
fn up_and_down_leave_nothing() {
    let mut fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let apps = fleet.apps();
    assert_eq!(apps.len(), 2);
    let again = fleet.everup(&["up", "--detach"]).ended(7).says(&["`everup down` ends it"]);
    assert!(!again.err.contains("starting ") && again.err.matches("error:").count() == 1, "{}", again.err);
    fleet.down();
    for pid in apps.into_values() {
        assert!(everup_host::proc::Identity::of(pid).is_none(), "process {pid} still runs");
    }
    assert!(std::net::TcpListener::bind(fleet.address).is_ok(), "the service's port is still taken");
}

/// Requests that are inside when everything is to end have the drain's time, as they do when one instance ends.
#[test]
fn down_lets_requests_end() {
    let shop = Shop::new(&Setup { instances: 2, deploy: "drain = \"30s\"", ..Setup::default() });
    shop.publish_patient(&["1"]);
    let mut fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    fleet.block(Step::Draining);
    let address = fleet.address;
    let asked = std::thread::spawn(move || get(address, "/last"));
    fleet.comes_to(Step::Draining);
    let down = fleet.command(&["down"]).stderr(Stdio::piped()).spawn().unwrap();
    until("the instances to be told", || fleet.seats().values().all(|seat| seat.terminating).then_some(()));
    fleet.unblock(Step::Draining);
    assert!(asked.join().unwrap().unwrap().starts_with("HTTP/1.1 200"));
    let said = down.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains("requests inside it have 30 s"), "{said:?}");
    assert_eq!(said.status.code(), Some(0));
    until("the keeper's end", || fleet.keeper.try_wait().unwrap());
}

/// Whoever is told that no keeper runs has a fleet on their hands that runs all the same.
#[test]
fn down_without_a_keeper_leaves_nothing() {
    let mut fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let apps = fleet.apps();
    fleet.keeper.kill().unwrap();
    fleet.keeper.wait().unwrap();
    assert!(fleet.everup(&["doctor"]).ended(2).out.contains("it is gone"));
    fleet.everup(&["status"]).done().says(&["the keeper is gone", "`everup up` keeps the fleet again"]);
    let status = fleet.everup(&["status", "--json"]).done().out;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let trouble = status["trouble"].as_str().unwrap_or_default();
    assert!(trouble.starts_with("the keeper is gone: "), "{status:#}");
    fleet.down().says(&["its keeper is gone, and ", " processes of it run"]);
    for pid in apps.into_values() {
        assert!(everup_host::proc::Identity::of(pid).is_none(), "process {pid} still runs");
    }
    assert!(std::net::TcpListener::bind(fleet.address).is_ok(), "the service's port is still taken");
    let said = fleet.everup(&["down"]).ended(9);
    assert_eq!(said.err, "error: the fleet could not be ended: no fleet runs here\n");
    assert!(fleet.everup(&["history"]).done().out.contains("succeeded"));
}

#[test]
fn down_in_the_middle_says_what_is_unfinished() {
    let mut fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let running = fleet.begin(&["2"]);
    running.reached(State::Rolling);
    let id = running.orphan();
    fleet
        .down()
        .says(&[&format!("deployment {id} to release 2 is "), "the next `everup up` goes on with it"]);
    fleet.again();
    fleet.ended(&id).succeeded_somehow();
    fleet.all_serve(2, "2");
}

#[test]
fn a_fleet_that_comes_back_serves_what_it_served() {
    let mut fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    fleet.deploy(&["2"]).succeeded_somehow();
    fleet.down();
    fleet.again();
    fleet.all_serve(2, "2");
    until("the service", || fleet.get("/").contains("version 2").then_some(()));
}

/// A command that was wrong is corrected while the fleet runs: it is said that it is not in effect, and `up` changes that.
#[test]
fn settings_are_taken_over() {
    let command = "echo $GREETING > \"$SHOP/greeting\"; exec python3 -m http.server $PORT --bind 127.0.0.1";
    let program = Program::python().command(command);
    let shop = Shop::new(&Setup { instances: 2, ..Setup::default() });
    for version in ["1", "2", "3"] {
        shop.publish(version, &program);
    }
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    let users = fleet.users();
    let greeting = || std::fs::read_to_string(fleet.path().join("greeting")).unwrap();
    fleet.edit("SHOP = ", "GREETING = \"hello\", SHOP = ");
    fleet.everup(&["deploy", "2"]).says(&["has changed", "[app]", "`everup up` takes it over"]);
    assert_eq!(greeting(), "\n");
    assert!(fleet.everup(&["doctor"]).ended(2).out.contains("[app]"));
    let before = fleet.apps();
    fleet.everup(&["up"]).done().says(&["2 agents begin again"]);
    fleet.all_serve(2, "2");
    assert_eq!(fleet.apps(), before);
    assert!(!fleet.everup(&["deploy", "3"]).err.contains("has changed"));
    assert_eq!(greeting(), "hello\n");
    fleet.everup(&["scale", "13"]).ended(2).says(&["change [fleet] in everup.toml"]);
    fleet.edit("max = 12", "max = 13");
    fleet.everup(&["scale", "13"]).ended(2).says(&["`everup down` and `everup up` take [fleet] over"]);
    fleet.edit("max = 13", "max = 11");
    fleet.append("[log]\nkeep = 2\n");
    fleet.everup(&["up"]).ended(7).says(&["[fleet]", "nothing was changed"]);
    fleet.edit("keep = 2", "keep = 3");
    fleet.everup(&["up"]).ended(7).says(&["[fleet]", "nothing was changed"]);
    users.all_served();
    fleet.all_serve(2, "3");
}

/// What is published may be an archive, of either kind.
#[test]
fn archives_are_releases_too() {
    let shop = Shop::new(&Setup { instances: 2, ..Setup::default() });
    for (version, kind, file) in [("1", "zip", "app.zip"), ("2", "gztar", "app.tar.gz")] {
        for (name, text) in Program::python().files(version) {
            shop.write(&format!("folder-{version}/{name}"), &text);
        }
        let archive = format!("import shutil; shutil.make_archive('app', '{kind}', 'folder-{version}')");
        let made =
            std::process::Command::new(python()).args(["-c", &archive]).current_dir(shop.path()).status();
        assert!(made.unwrap().success());
        shop.everup(&["publish", file, "--version", version]).done();
    }
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    fleet.deploy(&["2"]).succeeded_somehow();
    until("the service", || fleet.get("/").contains("version 2").then_some(()));
    let versions: Vec<VersionLine> =
        serde_json::from_str(&fleet.everup(&["versions", "--json"]).done().out).unwrap();
    let mut seen: Vec<_> =
        versions.iter().map(|v| (v.release.version.as_str(), v.running, v.proven)).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("1", 0, false), ("2", 2, true)]);
}
