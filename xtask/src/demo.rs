//! `cargo demo --once --json`, as a user runs it, and whether its document keeps what the demo promises.

use crate::cargo::cargo;
use crate::counts::Counts;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;

/// The deployments that the demo shows; each is a check of its own.
pub(crate) fn run(scratch: &Path) -> Result<Counts, String> {
    let mut command = cargo(["demo", "--once", "--json"]);
    command.env("TMPDIR", scratch).stdin(Stdio::null()).stdout(Stdio::piped());
    let output = command.spawn().and_then(std::process::Child::wait_with_output);
    let output = output.map_err(|error| format!("cargo demo could not be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    let document: Value =
        serde_json::from_str(&text).map_err(|error| format!("its stdout is no JSON: {error}"))?;
    let deployments = document["deployments"].as_array().ok_or("its document lists no deployments")?;
    let mut counts = Counts::one(output.status.success());
    for deployment in deployments {
        let complaints = complaints(deployment);
        println!("{} {}: {}", deployment["strategy"], deployment["id"], verdict(&complaints));
        counts += Counts::one(complaints.is_empty());
    }
    counts += Counts::one(covers(deployments));
    Ok(counts)
}

fn complaints(deployment: &Value) -> Vec<String> {
    let requests = &deployment["requests"];
    let mut found = Vec::new();
    if requests["failed"] != 0 {
        found.push(format!("{} requests failed", requests["failed"]));
    }
    if requests["total"].as_u64().is_none_or(|total| total == 0) {
        found.push("not one request was counted".to_owned());
    }
    if deployment["lowest_in_service"].as_u64().is_none_or(|n| n == 0) && deployment["strategy"] == "rolling"
    {
        found.push("nobody was in service at some time".to_owned());
    }
    found
}

fn verdict(complaints: &[String]) -> String {
    if complaints.is_empty() { "as promised".to_owned() } else { complaints.join(", ") }
}

/// Both strategies, and one that went back.
fn covers(deployments: &[Value]) -> bool {
    let any = |key: &str, value: &str| deployments.iter().any(|deployment| deployment[key] == value);
    let all = any("strategy", "rolling") && any("strategy", "all-at-once") && any("status", "rolled-back");
    println!("rolling, all at once and rolled back are all shown: {all}");
    all
}
