//! What Prometheus reads.

use everup_core::status::Status;
use std::fmt::Write;

/// The metrics that a status yields.
#[must_use]
pub fn text(status: &Status) -> String {
    let mut text = String::new();
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let in_service = status.instances.iter().filter(|line| line.in_service).count();
    let coordinates = status.coordinator.as_ref() == Some(&status.instance);
    let head = status.head.as_ref();
    let runs = head.is_some_and(|head| head.current.is_some());
    for (name, help, value) in [
        ("everup_instances", "Instances that the agent knows of.", count(status.instances.len())),
        ("everup_instances_in_service", "Instances in service.", count(in_service)),
        ("everup_instances_desired", "Instances that the fleet's engine wants.", status.desired.into()),
        ("everup_coordinator", "1 on the agent that coordinates.", coordinates.into()),
        ("everup_term", "The term of head.", head.map_or(0, |head| head.term.0)),
        ("everup_deployment_running", "1 while a deployment runs.", runs.into()),
        ("everup_trouble", "1 while the agent cannot see all.", status.trouble.is_some().into()),
    ] {
        gauge(&mut text, name, help);
        writeln!(text, "{name} {value}").expect("a string takes any text");
    }
    releases(&mut text, status);
    text
}

fn releases(text: &mut String, status: &Status) {
    let mut counts = std::collections::BTreeMap::<&str, u32>::new();
    for release in status.instances.iter().filter_map(|line| line.release.as_ref()) {
        *counts.entry(release.version.as_str()).or_default() += 1;
    }
    gauge(text, "everup_instances_on_version", "Instances by the version that they run.");
    for (version, count) in counts {
        writeln!(text, "everup_instances_on_version{{version=\"{version}\"}} {count}")
            .expect("a string takes any text");
    }
}

fn gauge(text: &mut String, name: &str, help: &str) {
    write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n").expect("a string takes any text");
}
