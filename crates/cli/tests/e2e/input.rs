//! Bad input: a clear error, nothing changed, nothing lost.

use crate::harness::{Program, Setup, Shop};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

#[test]
fn an_unknown_version_names_the_near_ones() {
    let shop = Shop::new(&Setup { instances: 1, ..Setup::default() });
    for version in ["9", "2.4.1", "2.4.2"] {
        shop.publish(version, &Program::python());
    }
    let fleet = shop.up();
    let said = fleet.everup(&["deploy", "2.4.3"]).ended(2);
    said.says(&["there is no release 2.4.3", "the store has 2.4.2, 2.4.1 and 9"]);
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

/// Somebody edits the file of a fleet that serves: no command takes it, and nobody else notices.
#[test]
fn a_typo_while_the_fleet_serves() {
    let fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let users = fleet.users();
    let (apps, deployments) = (fleet.apps(), fleet.deployments());
    fleet.edit("interval = \"200ms\"", "intervall = \"200ms\"");
    for words in [&["up"][..], &["up", "--detach"], &["deploy", "2"]] {
        let said = fleet.everup(words).ended(2);
        said.says(&["everup.toml:", "intervall", "did you mean `interval`?"]);
        users.more();
    }
    fleet.edit("intervall", "interval");
    fleet.all_serve(2, "1");
    assert_eq!((fleet.apps(), fleet.deployments()), (apps, deployments));
    fleet.deploy(&["2"]).succeeded();
    fleet.all_serve(2, "2");
    users.all_served();
}

#[test]
fn a_taken_port() {
    let shop = Shop::new(&Setup::default());
    shop.publish("1", &Program::python());
    let run = shop.state().join("run");
    let files = || shop.files().into_iter().filter(|(file, _)| !file.starts_with(&run)).collect::<Vec<_>>();
    let before = files();
    let taken = TcpListener::bind(shop.address).unwrap();
    for words in [&["up"][..], &["up", "--detach"]] {
        let said = shop.everup(words).ended(2);
        assert!(!said.err.contains("starting ") && said.err.matches("error:").count() == 1, "{}", said.err);
        said.says(&[&shop.address.port().to_string(), "`[listen] address` in everup.toml"]);
        assert_eq!(files(), before, "{words:?}");
        assert!(!run.join("keeper.json").exists() && !run.join("settings.json").exists(), "{words:?}");
    }
    // Nothing of it is in the way of whoever comes when it is free.
    drop(taken);
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
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
    said.ended(9).says(&["store", "is a file, not a folder"]);
    // A fleet would only fall over it, again and again.
    shop.everup(&["up"]).ended(9).says(&["store", "[store]"]);
    assert!(!shop.state().join("run/keeper.json").exists());
}

#[test]
fn a_user_that_does_not_exist() {
    let shop = Shop::new(&Setup { instances: 1, ..Setup::default() });
    shop.edit("stop = \"3s\"", "stop = \"3s\"\nuser = \"nobody-of-that-name\"");
    shop.everup(&["up"]).ended(2).says(&["nobody-of-that-name", "[app]"]);
    assert!(!shop.state().join("run/keeper.json").exists());
}

#[test]
fn a_batch_of_nobody() {
    let fleet =
        Shop::serving(&Setup { instances: 1, ..Setup::default() }, &Program::python(), &Program::python());
    let before = fleet.deployments();
    fleet.everup(&["deploy", "2", "--batch", "0"]).ended(2).says(&["batch of 0"]);
    assert_eq!(fleet.deployments(), before);
}

/// An instance would find it out, and the deployment would fail.
#[test]
fn a_release_that_nobody_can_start() {
    let shop = Shop::new(&Setup { instances: 1, ..Setup::default() });
    shop.write("bare/index.html", "hello");
    let publish = ["publish", "bare", "--version", "1"];
    shop.everup(&publish).ended(2).says(&[
        "started",
        "[app] in everup.toml",
        "[start] in everup.release.toml",
    ]);
    // Where it is built there may be another everup.toml.
    shop.edit("[app]", "[app]\ncommand = \"exec python3 -m http.server $PORT\"");
    shop.everup(&publish).done();
    shop.edit("command = \"exec python3 -m http.server $PORT\"", "");
    let fleet = shop.up();
    fleet.everup(&["deploy", "1"]).ended(2).says(&["started", "[app] in everup.toml"]);
    assert!(fleet.deployments().is_empty());
    assert!(fleet.everup(&["history"]).done().err.contains("everup deploy"));
}

/// A program that asks for JSON gets every failure as JSON, with all that a person would read.
#[test]
fn failures_are_json_too() {
    let shop = Shop::new(&Setup::default());
    let error = |words: &[&str]| {
        let said = shop.everup(words).ended(2);
        let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        document["error"].clone()
    };
    assert!(error(&["scale", "many", "--json"])["happened"].as_str().unwrap().contains("many"));
    shop.edit("interval = \"200ms\"", "intervall = 5");
    let details = error(&["status", "--json"])["details"].as_str().unwrap().to_owned();
    assert!(details.contains("intervall") && details.contains("did you mean"), "{details}");
}

/// Secrets may stand in it, and an app may serve its folder.
#[test]
fn settings_are_no_part_of_a_release() {
    let shop = Shop::new(&Setup { instances: 1, ..Setup::default() });
    shop.write("index.html", "hello");
    shop.everup(&["publish", ".", "--version", "1", "--start", "exec python3 -m http.server $PORT"]).done();
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    assert!(fleet.get("/").contains("hello"));
    assert!(fleet.get("/everup.toml").contains("404 Not Found"));
}

#[test]
fn a_version_is_its_bytes() {
    let shop = Shop::new(&Setup::default());
    shop.publish("1", &Program::python());
    shop.publish("1", &Program::python());
    shop.write("release-1/index.html", "other bytes");
    shop.everup(&["publish", "release-1", "--version", "1"]).ended(2).says(&["other bytes"]);
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
