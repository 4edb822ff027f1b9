//! C12: somebody else answers for the new release. Whatever it says of its version, it is not of this start.

use crate::harness::{Blame, Fleet, Program, Setup, Shop, Step, Stranger, until};
use everup_core::ids::InstanceId;
use everup_core::instance::Slot;

const HEALTH: &str = "path = \"/healthz\"\nversion_path = \"/version\"\nfailures = 2";

fn setup() -> Setup {
    Setup { instances: 3, health: HEALTH, deploy: "start = \"4s\"", ..Setup::default() }
}

fn first(fleet: &Fleet) -> InstanceId {
    fleet.seats().into_keys().next().unwrap()
}

/// A child of the old release has left its session and parent, keeps the listening socket, and does not hear TERM. It
/// ends with the old release all the same, and so answers for nobody.
#[test]
fn a_child_of_the_old_release_that_stays() {
    let old = Program::app().file("flaw", "LeavesAChild");
    let fleet = Shop::serving(&setup(), &old, &Program::app());
    let left = || std::fs::read_to_string(fleet.path().join("children")).unwrap_or_default();
    let users = fleet.users();
    fleet.deploy(&["2"]).succeeded();
    users.all_served();
    fleet.all_serve(3, "2");
    let children: Vec<u32> = left().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(children.len(), 3);
    for pid in children {
        assert!(everup_host::proc::Identity::of(pid).is_none(), "process {pid} still runs");
    }
}

/// Somebody has the new app's port before it is started beside the old one, and says that it is release 2.
#[test]
fn a_stranger_has_the_port() {
    let setup = Setup { deploy: "start = \"4s\"\noverlap = true", ..setup() };
    let fleet = Shop::serving(&setup, &Program::app(), &Program::app());
    let users = fleet.users();
    let before = fleet.apps();
    let stranger = Stranger::on(&fleet, fleet.port(&first(&fleet), Slot::B), "2");
    stranger.answers();
    // Nothing was started that could have said anything.
    let reason = [&*stranger.port(), "python3", &stranger.pid()];
    fleet.deploy(&["2"]).rolled_back().blames(&fleet, &Blame { check: "start", reason: &reason, log: &[] });
    fleet.all_serve(3, "1");
    // Who was not touched was not restarted, nor was the one that never left.
    assert_eq!(fleet.apps(), before);
    users.all_served();
    assert!(!fleet.get("/").contains("stranger"));
}

/// Somebody takes a share of the new app's port (SO_REUSEPORT) while it starts, and says that it is release 2.
#[test]
fn a_stranger_shares_the_port() {
    let shop = Shop::new(&setup());
    shop.publish_patient(&["1", "2"]);
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    let users = fleet.users();
    fleet.block(Step::Starting);
    let running = fleet.begin(&["2"]);
    let (id, _) = fleet.comes_to(Step::Starting);
    let stranger = Stranger::on(&fleet, fleet.port(&id, Slot::A), "2");
    stranger.answers();
    fleet.unblock(Step::Starting);
    let ended = running.ended().rolled_back();
    let reason = [&*stranger.port(), "python3", &stranger.pid(), "not of this start"];
    let log = [&*format!("version 2 starts on {id}")];
    ended.blames(&fleet, &Blame { check: "port", reason: &reason, log: &log });
    // The old release is back on the instance's other port.
    fleet.all_serve(3, "1");
    users.all_served();
    assert!(!fleet.get("/").contains("stranger"));
}

/// Somebody takes a share of the port of an app that serves: it is said, and nobody is restarted for it.
#[test]
fn a_stranger_joins_who_serves() {
    let shop = Shop::new(&Setup { instances: 1, ..setup() });
    shop.publish_patient(&["1"]);
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    let before = fleet.apps();
    let stranger = Stranger::on(&fleet, fleet.port(&first(&fleet), Slot::A), "1");
    let said = |words: &str| {
        let problem = fleet.status().instances.into_iter().next()?.problem?;
        problem.reason.contains(words).then_some(())
    };
    until("the stranger to be named", || said(&stranger.pid()));
    assert!(fleet.everup(&["doctor"]).ended(2).out.contains("not of this start"));
    drop(stranger);
    fleet.all_serve(1, "1");
    assert_eq!(fleet.apps(), before);
}

/// It starts a server that leaves it, and ends well at once.
#[test]
fn a_release_that_ends_and_leaves_a_server() {
    let next = Program::app().file("flaw", "Daemonises");
    let fleet = Shop::serving(&setup(), &Program::app(), &next);
    let users = fleet.users();
    let blame = Blame { check: "start", reason: &["exit status 0"], log: &["version 2 starts on port"] };
    fleet.deploy(&["2"]).rolled_back().blames(&fleet, &blame);
    fleet.all_serve(3, "1");
    users.all_served();
    let left = std::fs::read_to_string(fleet.path().join("children")).unwrap();
    for pid in left.split_whitespace() {
        assert!(everup_host::proc::Identity::of(pid.parse().unwrap()).is_none(), "process {pid} still runs");
    }
}

/// It ends well at once, while the old one beside it answers 200.
#[test]
fn a_release_that_ends_beside_the_old_one() {
    let setup = Setup { deploy: "start = \"4s\"\noverlap = true", ..setup() };
    let fleet = Shop::serving(&setup, &Program::app(), &Program::app().command("echo nothing to do; exit 0"));
    let users = fleet.users();
    let before = fleet.apps();
    let blame = Blame { check: "start", reason: &["exit status 0"], log: &["nothing to do"] };
    fleet.deploy(&["2"]).rolled_back().blames(&fleet, &blame);
    fleet.all_serve(3, "1");
    assert_eq!(fleet.apps(), before);
    users.all_served();
}

/// The old release says the version that stands in a file, and the new one has written 2 there. It runs, and the old one
/// beside it answers.
#[test]
fn a_version_that_is_read_from_a_file() {
    let old = Program::app().file("flaw", "ReadsItsVersion");
    let told =
        "echo read a file; echo 2 > \"$SHOP/current\"; sleep 1; echo 1 > \"$SHOP/current\"; exec sleep 600";
    let shop = Shop::new(&Setup { deploy: "start = \"4s\"\noverlap = true", ..setup() });
    shop.publish("1", &old);
    shop.publish("2", &Program::app().command(told));
    shop.write("current", "1");
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    let users = fleet.users();
    let before = fleet.apps();
    let blame = Blame { check: "port", reason: &["must listen on $PORT"], log: &["read a file"] };
    fleet.deploy(&["2"]).rolled_back().blames(&fleet, &blame);
    fleet.all_serve(3, "1");
    assert_eq!(fleet.apps(), before);
    users.all_served();
}
