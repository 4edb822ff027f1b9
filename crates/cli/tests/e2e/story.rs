//! The demo's story where it does not come to its end; its whole is run by `cargo xtask test`, and in a terminal.

use crate::harness::{Setup, Shop, signal};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

/// What was shown until then is one document on stdout all the same, with why it ended, and the exit code says that it
/// is not the whole.
#[test]
fn a_demo_that_breaks_off_says_what_it_showed() {
    let shop = Shop::new(&Setup::default());
    let mut command = shop.command(&["demo", "--once", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let begun = talk.find(|line| line.contains("release 3, all at once"));
    assert!(begun.is_some(), "it ended before release 3");
    signal(child.id(), Signal::INT);
    let rest: Vec<String> = talk.collect();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let code = child.wait().unwrap().code();
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((code, &document["error"]["exit"]), (Some(8), &8.into()), "{document:#}");
    assert_eq!(document["error"]["happened"], "Ctrl-C");
    assert_eq!(document["deployments"][0]["to"], "2", "{document:#}");
    assert_eq!(document["deployments"][0]["verdict"], "kept", "{document:#}");
    assert!(document["users"]["kinds"]["GET"]["total"].as_u64().unwrap() > 0, "{document:#}");
    assert!(rest.iter().any(|line| line.contains("the demo was ended: Ctrl-C")), "{rest:#?}");
}
