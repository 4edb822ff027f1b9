//! `cargo demo --once --json`, as a user runs it, and whether its document keeps what the demo promises.

use crate::cargo::{cargo, root};
use crate::counts::Counts;
use crate::stream::{Pipe, apart};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Cold, on two cores that others use too; the story itself takes a minute.
const WITHIN: Duration = Duration::from_secs(15 * 60);

/// The deployments of the story, in its order: from, to, which way, and how each has to end.
const STORY: [[&str; 4]; 4] = [
    ["1", "2", "rolling", "succeeded"],
    ["2", "3", "all-at-once", "succeeded"],
    ["3", "4", "rolling", "succeeded"],
    ["4", "5", "rolling", "rolled-back"],
];

/// What users do; of each kind some were answered.
const USERS: [&str; 5] = ["GET", "slow GET", "POST", "stream", "WebSocket"];

/// How many instances the demo's fleet has.
const INSTANCES: u64 = 4;

/// The dead are replaced within a second or two, its app's start and its check included; a busy machine gets more.
const BACK_MS: u64 = 5_000;

/// What no newcomer should have to build, by the beginnings of their packages' names.
const TOO_MUCH: [&str; 3] = ["object_store ", "aws-sdk-", "aws-config "];

/// Runs it; each part of the story is a check of its own.
pub(crate) fn run(scratch: &Path) -> Result<Counts, String> {
    let mut command = cargo(["demo", "--once", "--json"]);
    command.env("TMPDIR", scratch);
    let (mut text, mut shows_the_build) = (String::new(), false);
    let status = apart(&mut command, WITHIN, |pipe, line| match pipe {
        Pipe::Out => text.extend([line, "\n"]),
        Pipe::Err => shows_the_build |= line.trim_start().starts_with("Finished "),
    })?;
    let document: Value =
        serde_json::from_str(&text).map_err(|error| format!("its stdout is no JSON: {error}"))?;
    let mut counts = Counts::one(status.success());
    println!("the demo ended with {status}; its build was shown: {shows_the_build}");
    counts += Counts::one(shows_the_build);
    let heavy = heavy()?;
    println!("the SDKs in its build: {}", if heavy.is_empty() { "none" } else { &heavy });
    counts += Counts::one(heavy.is_empty());
    for (part, complaints) in judge(&document) {
        println!("{part}: {}", verdict(&complaints));
        counts += Counts::one(complaints.is_empty());
    }
    Ok(counts)
}

/// What is in the build of `cargo demo` and should not be.
fn heavy() -> Result<String, String> {
    let config = fs::read_to_string(root().join(".cargo/config.toml")).map_err(|error| error.to_string())?;
    let features = features_of_demo(&config).ok_or(".cargo/config.toml has no alias `demo`")?;
    let mut words = vec!["tree", "--edges", "normal,build", "--prefix", "none"];
    words.extend(features);
    let output = cargo(words).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(too_much(&String::from_utf8_lossy(&output.stdout)).join(", "))
}

/// The words of the alias that say what is built.
fn features_of_demo(config: &str) -> Option<Vec<&str>> {
    let alias = config.lines().find_map(|line| line.strip_prefix("demo = \"run "))?;
    Some(alias.split_whitespace().take_while(|word| *word != "--").collect())
}

fn too_much(tree: &str) -> Vec<&str> {
    tree.lines().filter(|line| TOO_MUCH.iter().any(|name| line.starts_with(name))).collect()
}

fn verdict(complaints: &[String]) -> String {
    if complaints.is_empty() { "as promised".to_owned() } else { complaints.join(", ") }
}

/// Every part of the story, and what is wrong with it.
fn judge(document: &Value) -> Vec<(String, Vec<String>)> {
    let mut parts: Vec<_> = STORY
        .iter()
        .enumerate()
        .map(|(n, story)| (format!("release {}", story[1]), deployment(&document["deployments"][n], story)))
        .collect();
    parts.push(("the killed instance".to_owned(), instance_killed(&document["instance_killed"])));
    parts.push(("the killed coordinator".to_owned(), coordinator_killed(&document["coordinator_killed"])));
    parts.push(("the users".to_owned(), users(document)));
    parts.push(("the whole".to_owned(), whole(document)));
    parts
}

fn deployment(deployment: &Value, [from, to, strategy, status]: &[&str; 4]) -> Vec<String> {
    let mut found = Vec::new();
    let words =
        [("from", from), ("to", to), ("strategy", strategy), ("status", status), ("verdict", &"kept")];
    for (field, wanted) in words {
        wrong(&mut found, deployment[field] == *wanted, || format!("{field} is {}", deployment[field]));
    }
    wrong(&mut found, deployment["id"].as_str().is_some_and(|id| !id.is_empty()), || "it has no id".into());
    for pointer in [
        "/requests/total",
        "/requests/failed",
        "/held/count",
        "/held/longest_ms",
        "/longest_gap_ms",
        "/p99_ms/before",
        "/p99_ms/during",
        "/lowest_in_service",
        "/duration_ms",
    ] {
        let value = deployment.pointer(pointer);
        wrong(&mut found, value.is_some_and(Value::is_u64), || format!("{pointer} is no number"));
    }
    let number = |pointer| deployment.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    wrong(&mut found, number("/requests/failed") == 0, || "requests failed".into());
    wrong(&mut found, number("/requests/total") > 0, || "not one request was counted".into());
    wrong(&mut found, number("/duration_ms") > 0, || "it took no time".into());
    let (held, lowest) = (number("/held/count"), number("/lowest_in_service"));
    if *strategy == "rolling" {
        wrong(&mut found, lowest + 1 >= INSTANCES, || format!("only {lowest} were in service at some time"));
    } else {
        wrong(&mut found, held > 0 && number("/held/longest_ms") > 0, || "nobody was held".into());
    }
    found
}

fn instance_killed(killed: &Value) -> Vec<String> {
    let mut found = Vec::new();
    wrong(&mut found, killed["instance"].is_string(), || "none was killed".into());
    let back = killed["back_ms"].as_u64().unwrap_or(0);
    wrong(&mut found, (1..=BACK_MS).contains(&back), || format!("it was replaced after {back} ms"));
    let (old, new) = (&killed["app"], &killed["new_app"]);
    wrong(&mut found, old.is_u64() && new.is_u64() && old != new, || {
        "no other app serves in its place".into()
    });
    wrong(&mut found, killed["lost"].is_u64(), || "what was inside it was not counted".into());
    found
}

fn coordinator_killed(killed: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let (victim, successor) = (&killed["instance"], &killed["successor"]);
    wrong(&mut found, victim.is_string(), || "none was killed".into());
    wrong(&mut found, successor.is_string() && successor != victim, || "nobody took over".into());
    found
}

fn users(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let users = &document["users"]["kinds"];
    let number = |kind: &str, field: &str| users[kind][field].as_u64().unwrap_or(0);
    for kind in USERS {
        let answered = number(kind, "total") > number(kind, "failed");
        wrong(&mut found, answered, || format!("not one {kind} was answered"));
    }
    let failed: u64 = USERS.iter().map(|kind| number(kind, "failed")).sum();
    let lost = document["instance_killed"]["lost"].as_u64().unwrap_or(0);
    wrong(&mut found, failed == lost, || format!("{failed} failed, {lost} of them with the killed instance"));
    found
}

fn whole(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let first = &document["first_deployment"];
    wrong(&mut found, first["to"] == "1" && first["lowest_in_service"].is_u64(), || {
        format!("release 1 has no receipt: {first}")
    });
    let told = document["deployments"].as_array().map_or(0, Vec::len);
    wrong(&mut found, told == STORY.len(), || format!("{told} deployments, not {}", STORY.len()));
    let broken = &document["broken"];
    wrong(&mut found, broken.as_array().is_some_and(Vec::is_empty), || format!("broken promises: {broken}"));
    wrong(&mut found, document["error"].is_null(), || format!("it broke off: {}", document["error"]));
    found
}

fn wrong(found: &mut Vec<String>, holds: bool, what: impl FnOnce() -> String) {
    if !holds {
        found.push(what());
    }
}

#[cfg(test)]
mod tests {
    use super::{STORY, features_of_demo, judge, too_much};
    use serde_json::{Value, json};

    fn story() -> Value {
        let deployments = STORY.map(|[from, to, strategy, status]| {
            json!({
                "id": format!("d-{to}"), "strategy": strategy, "from": from, "to": to, "status": status,
                "verdict": "kept", "requests": { "total": 900, "failed": 0 },
                "held": { "count": 30, "longest_ms": 1700 }, "longest_gap_ms": 20,
                "p99_ms": { "before": 204, "during": 205 }, "lowest_in_service": 3, "duration_ms": 9000,
            })
        });
        let kind = json!({ "total": 500, "failed": 0, "ended_by_design": 0, "longest_ms": 20 });
        let killed = json!({ "total": 500, "failed": 2, "ended_by_design": 0, "longest_ms": 20 });
        json!({
            "first_deployment": { "to": "1", "from": null, "lowest_in_service": 0 },
            "deployments": deployments,
            "instance_killed": { "instance": "i4", "app": 7, "new_app": 8, "lost": 2, "back_ms": 2100 },
            "coordinator_killed": { "instance": "i1", "successor": "i2" },
            "users": {
                "kinds": { "GET": kind, "slow GET": kind, "POST": kind, "stream": killed, "WebSocket": kind },
                "misses": [],
            },
            "broken": [],
            "error": null,
        })
    }

    fn complaints(document: &Value) -> usize {
        judge(document).iter().map(|(_, complaints)| complaints.len()).sum()
    }

    #[test]
    fn a_build_with_an_sdk_in_it_is_seen() {
        let light = "everup v0.1.0\naws-lc-rs v1.19.0\n";
        assert_eq!(too_much(light), Vec::<&str>::new());
        assert_eq!(too_much(&format!("{light}object_store v0.14.2\naws-sdk-ec2 v1.0.0\n")).len(), 2);
        let config = include_str!("../../.cargo/config.toml");
        assert_eq!(features_of_demo(config).unwrap(), ["--package", "everup", "--no-default-features"]);
    }

    #[test]
    fn the_story_as_it_should_be_told() {
        assert_eq!(
            judge(&story()).into_iter().filter(|(_, found)| !found.is_empty()).collect::<Vec<_>>(),
            []
        );
    }

    #[test]
    fn whatever_is_missing_or_wrong_is_seen() {
        for (pointer, wrong) in [
            ("/deployments/0/id", json!(null)),
            ("/deployments/0/from", json!(null)),
            ("/deployments/0/to", json!("3")),
            ("/deployments/1/strategy", json!("rolling")),
            ("/deployments/3/status", json!("succeeded")),
            ("/deployments/2/verdict", json!("not-measured")),
            ("/deployments/2/requests/total", json!(0)),
            ("/deployments/2/requests/failed", json!(1)),
            ("/deployments/2/requests/failed", json!(null)),
            ("/deployments/1/held/count", json!(0)),
            ("/deployments/0/held/longest_ms", json!(null)),
            ("/deployments/0/longest_gap_ms", json!(null)),
            ("/deployments/0/p99_ms/before", json!(null)),
            ("/deployments/0/p99_ms/during", json!("5")),
            ("/deployments/0/lowest_in_service", json!(2)),
            ("/deployments/1/lowest_in_service", json!(null)),
            ("/deployments/0/duration_ms", json!(0)),
            ("/deployments/3", json!(null)),
            ("/deployments", json!([])),
            ("/instance_killed", json!(null)),
            ("/instance_killed/back_ms", json!(0)),
            ("/instance_killed/back_ms", json!(5_001)),
            ("/instance_killed/new_app", json!(7)),
            ("/instance_killed/new_app", json!(null)),
            ("/first_deployment", json!(null)),
            ("/first_deployment/lowest_in_service", json!(null)),
            ("/instance_killed/lost", json!(null)),
            ("/coordinator_killed", json!(null)),
            ("/coordinator_killed/successor", json!(null)),
            ("/coordinator_killed/successor", json!("i1")),
            ("/users", json!(null)),
            ("/users/kinds/POST/total", json!(0)),
            ("/users/kinds/GET/failed", json!(1)),
            ("/broken", json!(["release 2 has no receipt"])),
            ("/error", json!({ "happened": "Ctrl-C" })),
        ] {
            let mut document = story();
            *document.pointer_mut(pointer).unwrap() = wrong.clone();
            assert!(complaints(&document) > 0, "{pointer}: {wrong}");
        }
    }
}
