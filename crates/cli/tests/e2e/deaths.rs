//! kill -9 in quiet times, and of what a deployment does not always have; `steps.rs` and `interruptions.rs` have each moment of one. Requests that
//! were inside what was killed may fail; no other.

use crate::harness::{Fleet, Program, Setup, Shop, Step, freeze, signal, until};
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use everup_core::instance::Phase;
use everup_core::order::{Ack, Obeyed};
use everup_core::record::Record;
use everup_core::status::Line;
use everup_engine::coordinator::{LEASE, LEASE_HELD};
use http::Method;
use rustix::process::Signal;
use std::fs;
use std::time::Instant;

/// So many requests are inside one process at once: users come every 25 ms, and answers take a few, or more on a busy
/// machine.
const INSIDE: u64 = 5;

fn fleet(setup: &Setup) -> Fleet {
    Shop::serving(setup, &Program::python(), &Program::python())
}

/// An instance that does not coordinate, if anybody does, and is not the next to be updated.
fn other(fleet: &Fleet) -> InstanceId {
    let coordinator = fleet.head().and_then(|head| head.lease).map(|lease| lease.holder);
    fleet.seats().into_keys().rev().find(|id| Some(id) != coordinator.as_ref()).unwrap()
}

/// With a proxy of its own, that says what it sent to nobody, and the balancer asks another instance.
#[test]
fn an_app_in_quiet_times_is_replaced() {
    let fleet = fleet(&Setup::default());
    let users = fleet.users();
    let victim = other(&fleet);
    let before = fleet.apps()[&victim];
    fleet.kill_app(&victim);
    until("another app", || (*fleet.apps().get(&victim)? != before).then_some(()));
    fleet.all_serve(4, "1");
    users.served_but(INSIDE);
}

#[test]
fn every_agent_in_quiet_times_and_no_app_is_restarted() {
    let fleet = fleet(&Setup::default());
    let users = fleet.users();
    let before = fleet.apps();
    for id in before.keys() {
        fleet.kill_agent(id);
    }
    fleet.all_serve(4, "1");
    users.all_served();
    assert_eq!(fleet.apps(), before);
}

/// With overlap, in a fleet of one: what arrives from then on waits for the new app.
#[test]
fn the_old_app_while_the_new_one_starts_beside_it() {
    let shop = Shop::new(&Setup { instances: 1, deploy: "overlap = true", ..Setup::default() });
    shop.publish_patient(&["1", "2"]);
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    let users = fleet.users();
    let old = fleet.apps().into_values().next().unwrap();
    fleet.block(Step::Starting);
    let running = fleet.begin(&["2"]);
    fleet.comes_to(Step::Starting);
    signal(old, Signal::KILL);
    until("the gate to keep what arrives", || {
        let is_starting = |line: &Line| line.phase == Some(Phase::Starting);
        fleet.status().instances.iter().any(is_starting).then_some(())
    });
    fleet.unblock(Step::Starting);
    running.ended().succeeded_somehow();
    users.served_but(INSIDE);
    fleet.all_serve(1, "2");
}

/// C18: it sleeps for three lease times and wakes in the middle of what another has long finished or taken on. What it had
/// on its way comes late, and is refused: it is of an older term.
#[test]
fn the_coordinator_is_stopped_and_wakes() {
    let fleet = fleet(&Setup::default());
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.done(1);
    let asleep = fleet.coordinator();
    let pid = fleet.agent(&asleep);
    let is_moved =
        |record: &Record| record.instances.iter().any(|(id, entry)| *id != asleep && entry.touched);
    let before = running.until("an order to another", is_moved);
    freeze(pid);
    let since = Instant::now();
    running.until("three lease times and another coordinator's work", |record| {
        let led_on = || {
            fleet.coordinator() != asleep
                && record.instances.values().filter(|entry| entry.granted.is_some()).count() >= 3
        };
        since.elapsed() > LEASE.as_duration() * 3 && (record.state.is_final() || led_on())
    });
    comes_late(&fleet, &before, &asleep);
    signal(pid, Signal::CONT);
    let ended = running.ended().succeeded_somehow();
    assert!(ended.record.term > before.term, "{:?}", ended.record.term);
    users.all_served();
    fleet.all_serve(4, "2");
}

/// The last order of `record` that its coordinator sent to another comes now.
#[track_caller]
fn comes_late(fleet: &Fleet, record: &Record, coordinator: &InstanceId) {
    let mut orders = record.instances.keys().filter_map(|id| record.order(id, coordinator));
    let late = orders.find(|order| order.to != *coordinator).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = fleet.client(&late.to);
    let order = serde_json::to_string(&late).unwrap();
    let answer = runtime.block_on(client.raw(Method::POST, "/v1/peer/order", order)).unwrap();
    let ack: Ack = serde_json::from_slice(&answer).unwrap();
    let Obeyed::Older(known) = ack.obeyed else { panic!("it was not refused: {ack:?}") };
    assert!(known.term > late.fence.term, "{known} is about, and {} came", late.fence);
    let refused = format!("an order of {coordinator} was refused: it is of {}, and {known} is", late.fence);
    assert_eq!(fleet.logged(&refused).len(), 1, "{refused}");
}

/// C18, all at once: it sleeps for three lease times from the middle of the migration, until another has started the
/// others.
#[test]
fn the_coordinator_is_stopped_while_the_database_is_migrated() {
    let wait = "echo ran >> \"$SHOP/ran\"; until [ -e \"$SHOP/go\" ]; do sleep 0.02; done";
    let next = Program::python().migrating("orders", wait);
    let fleet = Shop::serving(&Setup { instances: 3, ..Setup::default() }, &Program::python(), &next);
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    let ran = || fs::read_to_string(fleet.path().join("ran")).unwrap_or_default();
    until("the migration to run", || (!ran().is_empty()).then_some(()));
    let asleep = fleet.coordinator();
    let pid = fleet.agent(&asleep);
    let id = running.orphan();
    let before = fleet.record(&id).unwrap();
    freeze(pid);
    let since = Instant::now();
    fleet.write("go", "");
    let successor = || fleet.head().and_then(|head| head.lease).map(|lease| lease.holder);
    until("another coordinator", || successor().filter(|holder| *holder != asleep));
    until("the others to serve, and three lease times", || {
        let status = fleet.status();
        let serving = status.instances.iter().filter(|line| line.in_service).count();
        (serving == 2 && since.elapsed() > LEASE_HELD.as_duration() * 3).then_some(())
    });
    comes_late(&fleet, &before, &asleep);
    signal(pid, Signal::CONT);
    let ended = fleet.ended(&id).succeeded_somehow();
    assert!(ended.record.term > before.term, "{:?}", ended.record.term);
    fleet.all_serve(3, "2");
    assert_eq!(ran(), "ran\n");
    users.all_served();
}

#[test]
fn an_instances_proxy_during_a_roll() {
    let fleet = fleet(&Setup { gate: "proxy", ..Setup::default() });
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.done(1);
    fleet.kill_proxy(&other(&fleet));
    running.ended().succeeded_somehow();
    users.served_but(INSIDE);
    fleet.all_serve(4, "2");
}

/// The minder of a migration sees its exit status; without it nobody knows how it ended, and nobody guesses. The
/// migration itself is not ended, and who decides is asked only when it is over.
#[test]
fn the_minder_of_a_migration() {
    let next = Program::python()
        .migrating("orders", "echo ran >> \"$SHOP/ran\"; until [ -e \"$SHOP/go\" ]; do sleep 0.02; done");
    let fleet = Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &next);
    let users = fleet.users();
    let running = fleet.begin(&["2"]);
    running.reached(State::Migrating);
    let record = running.until("a runner", |record| record.run().is_some());
    let ran = || fs::read_to_string(fleet.path().join("ran")).unwrap_or_default();
    until("the migration to run", || (!ran().is_empty()).then_some(()));
    fleet.kill_migrations_minder(&record.run().unwrap().runner);
    assert_eq!(running.record().unwrap().state, State::Migrating);
    fleet.write("go", "");
    let ended = running.ended();
    assert_eq!((ended.record.state, ended.code), (State::NeedsOperator, 5), "{:#}", ended.document);
    fleet.everup(&["resume", "--migration=not-applied"]).done();
    fleet.all_serve(2, "1");
    users.all_served();
    assert_eq!(ran(), "ran\n");
}

#[test]
fn the_keeper_and_its_balancer_and_all_agents_at_once() {
    let mut fleet = fleet(&Setup::default());
    let users = fleet.users();
    let before = fleet.apps();
    fleet.kill_balancer();
    for id in before.keys() {
        fleet.kill_agent(id);
    }
    fleet.replace_keeper();
    fleet.all_serve(4, "1");
    users.served_but(INSIDE);
    assert_eq!(fleet.apps(), before);
}
