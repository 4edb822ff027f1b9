//! Rolling deployments: every size, by number and by percentage, with and without overlap.

use crate::harness::{Program, Setup, Shop};

/// A fleet of Python's http.server moves from 1 to 2 while users come; never fewer than `lowest` serve, and no more than
/// the batch allows are spared.
#[track_caller]
fn rolls(setup: &Setup, lowest: u64) {
    let fleet = Shop::serving(setup, &Program::python(), &Program::python());
    let users = fleet.users();
    let ended = fleet.deploy(&["2"]).succeeded();
    users.all_served();
    fleet.all_serve(setup.instances as usize, "2");
    assert!(fleet.get("/").contains("version 2"));
    assert!(ended.document["requests"]["total"].as_u64().unwrap() > 0, "{:#}", ended.document);
    assert_eq!(ended.document["requests"]["failed"], 0);
    assert_eq!(ended.document["lowest_in_service"], lowest, "{:#}", ended.document);
}

#[test]
fn four_one_at_a_time() {
    rolls(&Setup::default(), 3);
}

#[test]
fn two_with_overlap() {
    rolls(&Setup { instances: 2, deploy: "overlap = true", ..Setup::default() }, 2);
}

#[test]
fn two_one_at_a_time() {
    rolls(&Setup { instances: 2, ..Setup::default() }, 1);
}

#[test]
fn four_by_half() {
    rolls(&Setup { deploy: "batch = \"50%\"", ..Setup::default() }, 2);
}

#[test]
fn eight_by_a_quarter_with_overlap() {
    rolls(&Setup { instances: 8, deploy: "batch = \"25%\"\noverlap = true", ..Setup::default() }, 8);
}

#[test]
fn eight_by_three() {
    rolls(&Setup { instances: 8, deploy: "batch = 3", ..Setup::default() }, 5);
}

#[test]
fn four_with_overlap() {
    rolls(&Setup { deploy: "overlap = true", ..Setup::default() }, 4);
}

#[test]
fn a_single_one_with_overlap() {
    rolls(&Setup { instances: 1, deploy: "overlap = true", ..Setup::default() }, 1);
}

#[test]
fn a_single_one_without_overlap_is_held() {
    let setup = Setup { instances: 1, ..Setup::default() };
    let fleet = Shop::serving(&setup, &Program::python(), &Program::python());
    let users = fleet.users();
    let ended = fleet.deploy(&["2"]).succeeded();
    users.all_served();
    fleet.all_serve(1, "2");
    assert!(ended.document["held"]["count"].as_u64().unwrap() > 0, "{:#}", ended.document);
}

#[test]
fn streams_posts_and_sockets_too() {
    let fleet = Shop::serving(&Setup::default(), &Program::demo(), &Program::demo());
    let users = crate::harness::Users::with_everything(fleet.address);
    fleet.deploy(&["2"]).succeeded();
    let tally = users.all_served();
    let counted = everup_cli::demo::database::counted(&fleet.path().join("database")).unwrap();
    assert_eq!(tally.compare(&counted), Vec::<String>::new());
    // A stream lasts less than half a second, and has the time to end.
    assert_eq!(tally.kinds["stream"].ended_by_design, 0, "{tally:?}");
}

#[test]
fn there_and_back_by_an_operators_word() {
    let fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let users = fleet.users();
    fleet.deploy(&["2"]).succeeded();
    fleet.deploy(&["1"]).succeeded();
    users.all_served();
    fleet.all_serve(2, "1");
}
