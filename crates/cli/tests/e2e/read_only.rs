//! A store that is mounted read-only: a clear error, nothing changed, nothing lost; and it goes on when it is not any more.

use crate::harness::{Fleet, Program, Setup, Shop, is_root, until};
use std::fs;

/// What every command says of it.
const SAYS: [&str; 2] = ["is not writable", "Read-only file system"];

#[test]
fn from_the_first_day() {
    if !is_root() {
        return;
    }
    let shop = Shop::new(&Setup { instances: 1, ..Setup::default() });
    shop.write("release/index.html", "hello");
    fs::create_dir_all(shop.store()).unwrap();
    let before = shop.files();
    for words in [&["publish", "release", "--version", "1", "--start", "sleep 1"][..], &["up"]] {
        Shop::run(shop.mounts("ro", words)).ended(9).says(&SAYS).says(&["[store]"]);
        assert_eq!(shop.files(), before, "{words:?}");
    }
}

fn fleet() -> Fleet {
    let mut shop = Shop::new(&Setup { instances: 2, ..Setup::default() });
    shop.keep_on_a_mount();
    for version in ["1", "2", "3"] {
        for (name, text) in Program::python().files(version) {
            shop.write(&format!("release-{version}/{name}"), &text);
        }
    }
    let fleet = shop.up();
    for version in ["1", "2"] {
        fleet.publish(version, &Program::python());
        fleet.deploy(&[version]).succeeded_somehow();
    }
    fleet
}

/// Users notice nothing, nobody who asks for a change is left in doubt, and nothing has changed.
#[test]
fn while_the_fleet_serves() {
    if !is_root() {
        return;
    }
    let fleet = fleet();
    let users = fleet.users();
    until("head to be let go", || fleet.head().filter(|head| head.lease.is_none() && head.current.is_none()));
    let (before, head) = (fleet.deployments(), fleet.head());
    fleet.remount("ro");
    for words in [&["deploy", "1"][..], &["publish", "release-3", "--version", "3"], &["rollback"]] {
        let said = fleet.everup_there(words);
        assert_eq!(said.out, "", "{words:?}");
        said.ended(9).says(&SAYS);
    }
    fleet.everup_there(&["status"]).done();
    fleet.all_serve(2, "2");
    users.more();
    assert_eq!((fleet.deployments(), fleet.head()), (before, head));
    fleet.remount("rw");
    fleet.everup_there(&["publish", "release-3", "--version", "3"]).done();
    fleet.deploy(&["3"]).succeeded();
    users.all_served();
    fleet.all_serve(2, "3");
}

/// What was decided stands, what comes next waits, and says for what; and it goes on by itself.
#[test]
fn in_the_middle_of_a_roll() {
    if !is_root() {
        return;
    }
    let fleet = fleet();
    let users = fleet.users();
    let running = fleet.begin(&["1"]);
    running.done(1);
    fleet.remount("ro");
    until("the trouble to be told", || {
        let trouble = fleet.status().trouble?;
        SAYS.iter().all(|words| trouble.contains(words)).then_some(())
    });
    let stood = running.record();
    users.more();
    assert_eq!(running.record(), stood);
    fleet.remount("rw");
    running.ended().succeeded_somehow();
    users.all_served();
    fleet.all_serve(2, "1");
}
