//! `--json`: stdout is data, with the fields that docs/guide/json.md names; stderr is talk; exit codes are the same.

use crate::harness::{Fleet, Program, Said, Setup, Shop, until};
use everup_cli::progress::document;
use everup_core::deployment::State;
use everup_core::ids::DeploymentId;
use everup_core::record::Record;
use serde_json::{Map, Value};
use std::fs::{self, File};
use std::process::Stdio;

const GUIDE: &str = include_str!("../../../../docs/guide/json.md");

/// The fields that the guide names for a command, or an event.
fn fields(of: &str) -> Vec<&'static str> {
    let row =
        GUIDE.lines().find(|line| line.starts_with('|') && first_cell(line).contains(&format!("`{of}`")));
    let row = row.unwrap_or_else(|| panic!("the guide has no row for {of}"));
    quoted(row.split('|').nth(2).unwrap())
}

/// The receipt's, which stand in a sentence.
fn receipt_fields() -> Vec<&'static str> {
    let from = GUIDE.find("The receipt's fields: ").unwrap();
    let sentence = &GUIDE[from..];
    quoted(&sentence[..sentence.find(". ").unwrap()])
}

fn first_cell(row: &str) -> &str {
    row.split('|').nth(1).unwrap()
}

fn quoted(text: &'static str) -> Vec<&'static str> {
    // What is within a list is looked at by its own test.
    let fields: Vec<_> = text.split('`').skip(1).step_by(2).filter(|field| !field.starts_with('{')).collect();
    assert!(!fields.is_empty(), "it names no field: {text}");
    fields
}

#[track_caller]
fn has(document: &Value, fields: &[&str]) {
    let object = document.as_object().unwrap_or_else(|| panic!("no object: {document:#}"));
    for field in fields {
        assert!(object.contains_key(*field), "there is no {field:?} in {document:#}");
    }
}

/// One document on stdout, which has what the guide names.
#[track_caller]
fn document(said: &Said, of: &str) -> Value {
    let document: Value =
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{of}: {error}:\n{}", said.out));
    match document.as_array() {
        Some(list) => {
            assert!(!list.is_empty(), "{of} lists nothing: {}", said.err);
            list.iter().for_each(|one| has(one, &fields(of)));
        }
        None => has(&document, &fields(of)),
    }
    document
}

/// One event a line, each with what the guide names.
#[track_caller]
fn events(said: &Said) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let events: Vec<Value> = said.out.lines().map(parse).collect();
    for event in &events {
        has(event, &fields(event["event"].as_str().unwrap()));
    }
    events
}

/// A deployment, as any command prints it.
#[track_caller]
fn is_deployment(document: &Value) {
    has(document, &fields("history")[..8]);
    has(document, &receipt_fields());
}

fn run(shop: &Shop, words: &[&str]) -> Said {
    let said = shop.everup(&[words, &["--json"]].concat());
    assert!(!said.err.contains("{\""), "{words:?} talks in JSON: {}", said.err);
    said
}

/// What `up` prints where it takes settings over, which stands in a sentence too.
fn taken_over_fields() -> Vec<&'static str> {
    let from = GUIDE.find("prints what it takes over: ").unwrap();
    let sentence = &GUIDE[from..];
    quoted(&sentence[..sentence.find('.').unwrap()])
}

/// The command that stays prints one document when the fleet is there, and one that takes settings over another.
#[test]
fn up_in_the_foreground_and_up_that_takes_over() {
    let shop = Shop::new(&Setup { instances: 2, ..Setup::default() });
    let told = shop.path().join("up.json");
    let mut up = shop.command(&["up", "--json"]);
    let mut up = up.stdout(File::create(&told).unwrap()).stderr(Stdio::null()).spawn().unwrap();
    let printed = until("what `up` prints", || {
        assert_eq!(up.try_wait().unwrap(), None, "it ended");
        serde_json::from_str::<Value>(&fs::read_to_string(&told).unwrap()).ok()
    });
    has(&printed, &fields("up"));
    assert_eq!(printed["service"], format!("http://{}", shop.address));
    assert_eq!((&printed["instances"], &printed["in_service"]), (&2.into(), &0.into()), "{printed:#}");
    shop.append("[log]\nkeep = 2\n");
    let said = run(&shop, &["up"]).done();
    let taken: Value = serde_json::from_str(&said.out).unwrap();
    has(&taken, &taken_over_fields());
    assert_eq!(taken, serde_json::json!({ "taken_over": ["[log]"], "agents": 2 }));
    // What cannot be taken over is a failure like any other.
    shop.edit("max = 12", "max = 11");
    let refused = run(&shop, &["up"]).ended(7);
    let refused: Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!(refused["error"]["exit"], 7, "{refused:#}");
    run(&shop, &["down"]).done();
    assert!(until("its end", || up.try_wait().unwrap()).success());
    assert_eq!(serde_json::from_str::<Value>(&fs::read_to_string(&told).unwrap()).unwrap(), printed);
}

/// From nothing to a fleet and back, as a program would do it.
#[test]
fn every_command_prints_what_the_guide_names() {
    let shop = Shop::new(&Setup { instances: 2, ..Setup::default() });
    shop.write("other/index.html", "hello");
    let written = document(&run(&shop, &["init", "other"]).done(), "init");
    assert!(written["file"].as_str().unwrap().ends_with("other/everup.toml"), "{written:#}");
    for version in ["1", "2"] {
        shop.publish(version, &Program::python());
    }
    let again = document(&run(&shop, &["publish", "release-1", "--version", "1"]).done(), "publish");
    assert_eq!((&again["already"], &again["release"]["version"]), (&true.into(), &"1".into()));
    let up = document(&run(&shop, &["up", "--detach"]).done(), "up --detach");
    assert_eq!((&up["instances"], &up["desired"], &up["release"]), (&2.into(), &2.into(), &Value::Null));
    for command in [&["deploy", "1"][..], &["deploy", "2"], &["rollback"]] {
        follows(&shop, command);
    }
    looks(&shop);
    words(&shop);
    ends(&shop);
}

/// A deployment, from its start to its end.
fn follows(shop: &Shop, command: &[&str]) {
    let said = run(shop, command);
    assert!([0, 6].contains(&said.code), "{said:?}");
    let events = events(&said);
    assert_eq!(events[0]["event"], "started");
    let ended = events.last().unwrap();
    assert_eq!((&ended["event"], &ended["deployment"]["status"]), (&"ended".into(), &"succeeded".into()));
    is_deployment(&ended["deployment"]);
    for event in ["state", "instance"] {
        assert!(events.iter().any(|one| one["event"] == event), "no {event}: {}", said.out);
    }
}

/// What only looks.
fn looks(shop: &Shop) {
    let status = document(&run(shop, &["status"]).done(), "status");
    assert_eq!(status["instances"].as_array().unwrap().len(), 2, "{status:#}");
    let versions = document(&run(shop, &["versions"]).done(), "versions");
    assert_eq!(versions.as_array().unwrap().len(), 2, "{versions:#}");
    let found = document(&run(shop, &["doctor"]).done(), "doctor");
    assert!(found.as_array().unwrap().iter().all(|one| one["well"] == true), "{found:#}");
    let keys = document(&run(shop, &["keys"]).done(), "keys");
    let rotated = document(&run(shop, &["keys", "rotate"]).done(), "keys");
    assert_eq!(rotated["keys"][1]["id"], keys["keys"][0]["id"], "{rotated:#}");
    let signs: Vec<_> = rotated["keys"].as_array().unwrap().iter().map(|key| &key["signs"]).collect();
    assert_eq!(signs, [&Value::Bool(true), &Value::Bool(false)]);
}

/// What is said to a deployment, and to the fleet.
fn words(shop: &Shop) {
    let scaled = document(&run(shop, &["scale", "3"]).done(), "scale");
    assert_eq!(scaled["desired"], 3);
    let begun = events(&run(shop, &["deploy", "2", "--detach"]).ended(8));
    assert_eq!((begun.len(), &begun[0]["event"]), (1, &"started".into()));
    let id = &begun[0]["deployment"];
    let words = [("pause", State::Rolling), ("resume", State::Paused), ("abort", State::Rolling)];
    for (word, at) in words {
        let is_there = |record: &Record| record.state == at || record.state.is_final();
        until(&format!("the time to {word}"), || shop.record(id.as_str().unwrap()).filter(is_there));
        let told = document(&run(shop, &[word]).done(), word);
        assert_eq!((&told["deployment"], &told["what"]), (id, &word.into()), "{told:#}");
    }
    let over = |record: &Record| record.state.is_final() && record.receipt.is_some();
    until("its end", || shop.record(id.as_str().unwrap()).filter(over));
    let refused = run(shop, &["abort"]).ended(2);
    has(
        &serde_json::from_str::<Value>(&refused.out).unwrap()["error"],
        &["wanted", "happened", "details", "hint"],
    );
}

/// What there is afterwards, and without a fleet.
fn ends(shop: &Shop) {
    let history = document(&run(shop, &["history"]).done(), "history");
    let all = history.as_array().unwrap();
    assert_eq!(all.len(), 4, "{history:#}");
    all.iter().for_each(is_deployment);
    let first = all[0]["id"].as_str().unwrap();
    assert_eq!(document(&run(shop, &["history", first]).done(), "history DEPLOYMENT"), all[0]);
    let down = document(&run(shop, &["down"]).done(), "down");
    assert_eq!(down, serde_json::json!({ "ended": true, "killed": false }));
    let away = run(shop, &["status"]).ended(9);
    assert_eq!(serde_json::from_str::<Value>(&away.out).unwrap()["error"]["exit"], 9);
    assert!(away.err.starts_with("error: "), "{}", away.err);
}

fn into_map(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("no object: {value:#}") };
    map
}

/// What the command prints, what the store has, and what an agent answers: one receipt, field for field.
#[test]
fn a_receipt_is_the_same_wherever_it_is_read() {
    let fleet: Fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let users = fleet.users();
    let ended = fleet.deploy(&["2"]).succeeded();
    users.all_served();
    let id: DeploymentId = ended.record.id.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let printed = into_map(document(&run(&fleet, &["history", id.as_str()]).done(), "history DEPLOYMENT"));
    let stored = into_map(serde_json::to_value(fleet.record(id.as_str()).unwrap().receipt).unwrap());
    assert!(receipt_fields().iter().all(|field| stored.contains_key(*field)), "{stored:#?}");
    for instance in fleet.seats().keys() {
        let client = fleet.client(instance);
        let answered = runtime.block_on(client.deployment(Some(&id))).unwrap();
        assert_eq!(answered, ended.record);
        assert_eq!(document::of(&answered), Value::Object(printed.clone()));
        let answered = into_map(serde_json::to_value(answered.receipt).unwrap());
        assert_eq!(answered, stored);
    }
    for (field, value) in stored {
        assert_eq!(printed.get(&field), Some(&value), "{field}");
    }
    assert_eq!(Value::Object(printed), ended.document);
}
