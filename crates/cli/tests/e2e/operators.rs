//! People: two at once, words in the middle, Ctrl-C, and a CLI that is killed.

use crate::harness::{Program, Setup, Shop, until};
use everup_core::deployment::State;

/// C19: the second is told who, since when, at what; before it has touched anything.
#[test]
fn two_deployments_at_once() {
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &Program::python());
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.reached(State::Rolling);
    let id = running.id().to_owned();
    fleet.everup(&["deploy", "1"]).ended(7).says(&[&id]);
    running.ended().succeeded();
    fleet.deploy(&["1"]).succeeded();
    users.all_served();
    fleet.all_serve(4, "1");
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
    users.all_served();
}

#[test]
fn up_and_down_leave_nothing() {
    let mut fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let apps = fleet.apps();
    assert_eq!(apps.len(), 2);
    fleet.down();
    for pid in apps.into_values() {
        assert!(everup_host::proc::Identity::of(pid).is_none(), "process {pid} still runs");
    }
    assert!(std::net::TcpListener::bind(fleet.address).is_ok(), "the service's port is still taken");
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
