//! The demo's story where it does not come to its end; its whole is run by `cargo xtask test`, and in a terminal.

use crate::harness::{Setup, Shop, left, signal};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The demo, whose folder will be in the shop's. Whoever runs the tests may ignore a HUP (`nohup`).
fn demo(shop: &Shop, words: &[&str]) -> Command {
    let folder = shop.path().join("t");
    fs::create_dir(&folder).unwrap();
    let mut command = shop.within(&["env", "--default-signal=HUP"], words);
    command.env("TMPDIR", folder);
    command
}

/// What demos have left in that folder.
fn stages(shop: &Shop) -> Vec<PathBuf> {
    let items = fs::read_dir(shop.path().join("t")).unwrap();
    items.map(|item| item.unwrap().path()).collect()
}

/// CI gives up, or the terminal is closed: its fleet, and its folder, end with it.
#[track_caller]
fn is_ended_by(number: Signal, why: &str) {
    let shop = Shop::new(&Setup::default());
    let mut command = demo(&shop, &["demo"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut data = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The first receipt is data, and there is a fleet.
    assert!(data.any(|line| line.contains("receipt of ")), "it ended before the first deployment did");
    assert_eq!(stages(&shop).len(), 1);
    signal(child.id(), number);
    drop(data);
    let mut talk = String::new();
    child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{talk}");
    assert!(talk.contains(&format!("the demo was ended: {why}")), "{talk}");
    assert_eq!(left(shop.path()), Vec::<i32>::new());
    assert_eq!(stages(&shop), Vec::<PathBuf>::new());
}

#[test]
fn a_demo_that_is_told_to_end_leaves_nothing() {
    is_ended_by(Signal::TERM, "it was told to end (TERM)");
}

#[test]
fn a_demo_whose_terminal_is_closed_leaves_nothing() {
    is_ended_by(Signal::HUP, "its terminal was closed (HUP)");
}

/// What was shown until then is one document on stdout all the same, with why it ended, and the exit code says that it
/// is not the whole.
#[test]
fn a_demo_that_breaks_off_says_what_it_showed() {
    let shop = Shop::new(&Setup::default());
    let mut command = demo(&shop, &["demo", "--once", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let begun = talk.find(|line| line.contains("release 3, all at once"));
    assert!(begun.is_some(), "it ended before release 3");
    let config = stages(&shop).remove(0).join("everup.toml");
    let history = shop.everup(&["--config", config.to_str().unwrap(), "history", "--json"]).done().out;
    let history: Vec<Value> = serde_json::from_str(&history).unwrap();
    signal(child.id(), Signal::INT);
    let rest: Vec<String> = talk.collect();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let code = child.wait().unwrap().code();
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((code, &document["error"]["exit"]), (Some(1), &1.into()), "{document:#}");
    assert_eq!(document["error"]["happened"], "Ctrl-C");
    assert_eq!(document["deployments"][0]["to"], "2", "{document:#}");
    // Field for field what the history has, which may know of release 3 already.
    let of = |version: &str| history.iter().find(|one| one["to"] == version).unwrap();
    assert_eq!(document["deployments"][0], *of("2"));
    assert_eq!(document["first_deployment"], *of("1"));
    assert_eq!(document["deployments"][0]["verdict"], "kept", "{document:#}");
    assert!(document["users"]["kinds"]["GET"]["total"].as_u64().unwrap() > 0, "{document:#}");
    assert!(rest.iter().any(|line| line.contains("the demo was ended: Ctrl-C")), "{rest:#?}");
}
