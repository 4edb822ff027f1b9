//! Rolling deployments: fleets of 2, 4 and 8, by number and by percentage, with and without overlap; of one; and what
//! else users do meanwhile.

use crate::harness::{Program, Setup, Shop};
use std::collections::BTreeMap;

/// A fleet of Python's http.server moves from 1 to 2 while users come; never fewer than `lowest` serve, and no more than
/// the batch allows are spared: so many move at once, and no more.
#[track_caller]
fn rolls(setup: &Setup, lowest: u64, batch: usize) {
    let fleet = Shop::serving(setup, &Program::python(), &Program::python());
    let users = fleet.users();
    let ended = fleet.deploy(&["2"]).succeeded();
    users.all_served();
    fleet.all_serve(setup.instances as usize, "2");
    assert!(fleet.get("/").contains("version 2"));
    assert!(ended.document["requests"]["total"].as_u64().unwrap() > 0, "{:#}", ended.document);
    assert_eq!(ended.document["requests"]["failed"], 0);
    assert_eq!(ended.document["lowest_in_service"], lowest, "{:#}", ended.document);
    let each = ended.document["instances_ms"].as_object().unwrap();
    assert!(
        each.len() == setup.instances as usize && each.values().all(|ms| ms.as_u64() > Some(0)),
        "{each:?}"
    );
    for source in ["gates", "prober"] {
        assert!(ended.document["sources"][source]["p99_ms"]["after"].is_u64(), "{:#}", ended.document);
    }
    // A batch is granted with one write.
    let mut batches: BTreeMap<_, usize> = BTreeMap::new();
    for entry in ended.record.instances.values() {
        *batches.entry(entry.granted.as_ref().unwrap().fence).or_default() += 1;
    }
    assert_eq!(batches.values().max(), Some(&batch), "{batches:?}");
}

fn setup(instances: u32, deploy: &'static str) -> Setup {
    Setup { instances, deploy, ..Setup::default() }
}

#[test]
fn two_by_number() {
    rolls(&setup(2, "batch = 1"), 1, 1);
}

#[test]
fn two_by_number_with_overlap() {
    rolls(&setup(2, "batch = 1\noverlap = true"), 2, 1);
}

#[test]
fn two_by_percentage() {
    rolls(&setup(2, "batch = \"50%\""), 1, 1);
}

#[test]
fn two_by_percentage_with_overlap() {
    rolls(&setup(2, "batch = \"50%\"\noverlap = true"), 2, 1);
}

#[test]
fn four_by_number() {
    rolls(&setup(4, "batch = 1"), 3, 1);
}

#[test]
fn four_by_number_with_overlap() {
    rolls(&setup(4, "batch = 1\noverlap = true"), 4, 1);
}

#[test]
fn four_by_percentage() {
    rolls(&setup(4, "batch = \"50%\""), 2, 2);
}

#[test]
fn four_by_percentage_with_overlap() {
    rolls(&setup(4, "batch = \"50%\"\noverlap = true"), 4, 2);
}

#[test]
fn eight_by_number() {
    rolls(&setup(8, "batch = 3"), 5, 3);
}

#[test]
fn eight_by_number_with_overlap() {
    rolls(&setup(8, "batch = 3\noverlap = true"), 8, 3);
}

#[test]
fn eight_by_percentage() {
    rolls(&setup(8, "batch = \"25%\""), 6, 2);
}

#[test]
fn eight_by_percentage_with_overlap() {
    rolls(&setup(8, "batch = \"25%\"\noverlap = true"), 8, 2);
}

#[test]
fn a_single_one_with_overlap() {
    rolls(&setup(1, "overlap = true"), 1, 1);
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
