//! Instances come and go in the middle of a deployment; `steps.rs` has each step.

use crate::harness::{Program, Setup, Shop};
use everup_core::deployment::State;

#[track_caller]
fn scales(to: u32, words: &[&str], at: State) {
    let fleet = Shop::serving(&Setup::default(), &Program::python(), &Program::python());
    let users = fleet.users();
    let running = fleet.begin(words);
    running.reached(at);
    fleet.everup(&["scale", &to.to_string()]).done();
    running.ended().succeeded_somehow();
    fleet.all_serve(to as usize, "2");
    users.all_served();
}

#[test]
fn out_during_a_roll() {
    scales(6, &["2"], State::Rolling);
}

#[test]
fn in_during_a_roll() {
    scales(2, &["2"], State::Rolling);
}

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
