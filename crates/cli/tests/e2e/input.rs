//! Bad input: a clear error, nothing changed, nothing lost.

use crate::harness::{Program, Setup, Shop};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

#[test]
fn an_unknown_version_names_the_near_ones() {
    let shop = Shop::new(&Setup { instances: 1, ..Setup::default() });
    shop.publish("2.4.1", &Program::python());
    let fleet = shop.up();
    fleet.everup(&["deploy", "2.4.11"]).ended(2).says(&["2.4.11", "2.4.1"]);
    assert!(fleet.head().is_none_or(|head| head.current.is_none()));
}

#[test]
fn a_wrong_key_and_a_wrong_type_have_their_place() {
    let shop = Shop::new(&Setup::default());
    shop.edit("interval = \"200ms\"", "intervall = 5");
    shop.everup(&["up"]).ended(2).says(&["everup.toml:", "intervall", "did you mean `interval`?"]);
    shop.edit("intervall = 5", "interval = 5");
    shop.everup(&["up"]).ended(2).says(&["everup.toml:", "interval", "expected a span of time"]);
    assert!(!shop.state().join("keys.json").exists());
}

#[test]
fn a_taken_port() {
    let shop = Shop::new(&Setup::default());
    let _taken = TcpListener::bind(shop.address).unwrap();
    let said = shop.everup(&["up"]).ended(2);
    said.says(&[&shop.address.port().to_string()]);
}

#[test]
fn a_store_that_cannot_be_written() {
    let shop = Shop::new(&Setup { instances: 1, ..Setup::default() });
    // Root writes where it may not; a file in the folder's place stops root as well.
    fs::create_dir(shop.state()).unwrap();
    fs::set_permissions(shop.state(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(shop.state().join("store"), "").unwrap();
    shop.write("release/index.html", "hello");
    let said = shop.everup(&["publish", "release", "--version", "1", "--start", "sleep 1"]);
    assert_ne!(said.code, 0);
    said.says(&["store"]);
}

#[test]
fn a_version_is_its_bytes() {
    let shop = Shop::new(&Setup::default());
    shop.publish("1", &Program::python());
    shop.publish("1", &Program::python());
    shop.write("release-1/index.html", "other bytes");
    shop.everup(&["publish", "release-1", "--version", "1"]).ended(2).says(&["1"]);
    shop.everup(&["publish", "nothing-here", "--version", "2"]).ended(2).says(&["nothing-here"]);
}

#[test]
fn no_fleet_runs() {
    let shop = Shop::new(&Setup::default());
    shop.publish("1", &Program::python());
    for words in [&["deploy", "1"][..], &["status"], &["scale", "3"], &["abort"]] {
        shop.everup(words).ended(9).says(&["everup up"]);
    }
}

#[test]
fn a_second_keeper_is_refused() {
    let shop = Shop::new(&Setup { instances: 1, ..Setup::default() });
    let fleet = shop.up();
    fleet.everup(&["up"]).ended(7).says(&["everup down"]);
}

#[test]
fn a_word_without_a_deployment() {
    let fleet =
        Shop::serving(&Setup { instances: 1, ..Setup::default() }, &Program::python(), &Program::python());
    fleet.everup(&["abort"]).ended(2);
    fleet.everup(&["resume", "--migration=applied"]).ended(2);
    fleet.all_serve(1, "1");
}

/// Without a signature, and with one that does not fit, the API changes nothing and says why.
#[test]
fn a_request_without_a_signature() {
    let fleet =
        Shop::serving(&Setup { instances: 1, ..Setup::default() }, &Program::python(), &Program::python());
    let api = fleet.status().instances[0].address.parse().unwrap();
    let answer = crate::harness::get(api, "/v1/status").unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(crate::harness::get(api, "/healthz").unwrap().starts_with("HTTP/1.1 200"));
}
