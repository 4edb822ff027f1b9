//! Programs that nobody here wrote, in both ways.

use crate::harness::{Program, Setup, Shop};

#[track_caller]
fn moves(program: &Program, strategy: &str) {
    let setup = Setup { instances: 3, ..Setup::default() };
    let fleet = Shop::serving(&setup, program, program);
    let users = fleet.users();
    fleet.deploy(&["2", "--strategy", strategy]).succeeded();
    users.all_served();
    fleet.all_serve(3, "2");
    assert!(fleet.get("/").contains("version 2"), "{}", fleet.get("/"));
}

#[test]
fn nginx_rolls() {
    moves(&Program::nginx(), "rolling");
}

#[test]
fn nginx_moves_all_at_once() {
    moves(&Program::nginx(), "all-at-once");
}

#[test]
fn node_rolls() {
    moves(&Program::node(), "rolling");
}

#[test]
fn node_moves_all_at_once() {
    moves(&Program::node(), "all-at-once");
}
