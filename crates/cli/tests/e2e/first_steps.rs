//! The first steps of the README, in a folder where there is nothing yet but a page.

use crate::harness::{Fleet, Setup, Shop};
use std::fs;

/// Done, whatever a busy machine leaves unmeasured.
#[track_caller]
fn moves(fleet: &Fleet, words: &[&str], version: &str, page: &str) {
    let said = fleet.everup(words);
    assert!([0, 6].contains(&said.code), "{words:?}: {}\n{}\n{}", said.code, said.out, said.err);
    fleet.all_serve(2, version);
    let answer = fleet.get("/");
    assert!(answer.contains(" 200 ") && answer.ends_with(page), "{answer}");
}

#[test]
fn from_an_empty_folder_to_a_deployment_and_back() {
    let shop = Shop::new(&Setup::default());
    fs::remove_file(shop.path().join("everup.toml")).unwrap();
    shop.write("index.html", "hello\n");
    let said = shop.everup(&["init"]).done();
    assert!(said.out.contains("everup.toml"), "{}", said.out);
    // Somebody may have the usual one.
    shop.edit("address = \"127.0.0.1:8080\"", &format!("address = \"{}\"", shop.address));
    let fleet = shop.up();
    fleet.everup(&["publish", ".", "--version", "1"]).done();
    moves(&fleet, &["deploy", "1"], "1", "hello\n");
    let users = fleet.users();
    fleet.write("index.html", "hello again\n");
    fleet.everup(&["publish", ".", "--version", "2"]).done();
    moves(&fleet, &["deploy", "2"], "2", "hello again\n");
    moves(&fleet, &["rollback"], "1", "hello\n");
    users.all_served();
}
