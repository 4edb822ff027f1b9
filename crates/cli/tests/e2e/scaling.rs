//! Instances come and go in quiet times; `steps.rs` has each step of a deployment.

use crate::harness::{Program, Setup, Shop};

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
