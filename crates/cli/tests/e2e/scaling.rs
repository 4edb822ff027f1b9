//! Instances come and go in quiet times; `steps.rs` has each step of a deployment.

use crate::harness::{Program, Setup, Shop, until, wish};

#[test]
fn out_and_in_in_quiet_times() {
    let fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let users = fleet.users();
    fleet.everup(&["scale", "5"]).done();
    fleet.all_serve(5, "1");
    fleet.everup(&["scale", "2"]).done();
    fleet.all_serve(2, "1");
    users.all_served();
    fleet.everup(&["scale", "13"]).ended(2).says(&["12"]);
}

/// The newest of the fullest zone goes, and it coordinates: another one need not wait until its lease is over.
#[test]
fn the_coordinator_is_scaled_in() {
    let setup = Setup { instances: 3, deploy: "prove = \"5s\"\nstart = \"10s\"", ..Setup::default() };
    let fleet = Shop::serving(&setup, &Program::python(), &Program::python());
    let users = fleet.users();
    let newest = fleet.seats().into_iter().max_by_key(|(_, seat)| seat.number).unwrap().0;
    let request = wish("2");
    let client = fleet.client(&newest).forwarding(&newest);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let started = runtime.block_on(client.deploy(&request)).unwrap();
    assert_eq!(fleet.coordinator(), newest);
    fleet.everup(&["scale", "2"]).done();
    let seen = until("another coordinator", || {
        fleet.head().filter(|head| head.lease.as_ref().is_none_or(|lease| lease.holder != newest))
    });
    // Let go by the one that went, not taken from one that was not heard of: that would have been after its end.
    assert!(seen.lease.is_none() || fleet.seats().contains_key(&newest), "{seen:?}");
    fleet.ended(started.deployment.as_str()).succeeded_somehow();
    fleet.all_serve(2, "2");
    users.all_served();
}
