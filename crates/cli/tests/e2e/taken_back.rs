//! The ways back over a migration: its own undo, run once and all at once, and an operator who has restored the database.

use crate::harness::{Fleet, Program, Setup, Shop};
use std::fs;

/// What was run on the database, in turn.
fn runs(fleet: &Fleet) -> Vec<String> {
    let ran = fs::read_to_string(fleet.path().join("ran")).unwrap_or_default();
    ran.lines().map(str::to_owned).collect()
}

fn migrating() -> Program {
    Program::python().migrating("orders", "echo up >> \"$SHOP/ran\"")
}

#[test]
fn a_migration_is_taken_back_and_applied_again() {
    let undo = "echo down $EVERUP_MIGRATION_ID >> \"$SHOP/ran\"; sleep 1";
    let next = migrating().undoing(undo);
    let fleet = Shop::serving(&Setup { instances: 3, ..Setup::default() }, &Program::python(), &next);
    let users = fleet.users();
    fleet.deploy(&["2"]).succeeded();
    assert!(fleet.everup(&["versions"]).done().out.contains("forbidden"));
    let forbidden = fleet.everup(&["rollback"]).ended(2);
    forbidden.says(&["release 1 is forbidden", "`everup rollback --undo`", "`--schema-restored`"]);
    fleet.everup(&["deploy", "1"]).ended(2).says(&["take migration orders back", "--undo"]);
    let rolling = fleet.everup(&["deploy", "1", "--undo", "--strategy", "rolling"]).ended(2);
    rolling.says(&["there is no rolling deployment"]);
    assert_eq!(runs(&fleet), ["up"], "something was run that had been refused");
    let back = fleet.roll_back(&["--undo"]).succeeded();
    assert_eq!(back.document["strategy"], "all-at-once");
    fleet.all_serve(3, "1");
    assert_eq!(runs(&fleet), ["up", "down orders"]);
    // Release 2 brings its migration, which has to be applied anew.
    assert!(!fleet.everup(&["versions"]).done().out.contains("forbidden"));
    fleet.deploy(&["2"]).succeeded();
    fleet.all_serve(3, "2");
    assert_eq!(runs(&fleet), ["up", "down orders", "up"]);
    users.all_served();
}

#[test]
fn an_undo_that_fails_changes_nothing() {
    let next = migrating().undoing("echo no table named orders; exit 3");
    let fleet = Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &next);
    let users = fleet.users();
    fleet.deploy(&["2"]).succeeded();
    fleet.roll_back(&["--undo"]).rolled_back().because(&[
        "the undo of migration orders",
        "3",
        "no table named orders",
    ]);
    fleet.all_serve(2, "2");
    fleet.everup(&["deploy", "1"]).ended(2).says(&["may not run any more"]);
    users.all_served();
}

#[test]
fn who_has_restored_the_database_says_so() {
    let fleet = Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &migrating());
    let users = fleet.users();
    fleet.everup(&["rollback", "--undo"]).ended(2).says(&["no migration was applied here"]);
    fleet.deploy(&["2"]).succeeded();
    fleet.everup(&["rollback", "--undo"]).ended(2).says(&["release 2 brings no undo of migration orders"]);
    fleet.deploy(&["1", "--schema-restored"]).succeeded();
    fleet.all_serve(2, "1");
    assert_eq!(runs(&fleet), ["up"]);
    users.all_served();
}
