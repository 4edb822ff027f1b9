//! What a script prints: what one step changed, or how things stand.

use super::paper::Paper;
use super::word_of_hold;
use everup_core::head::Head;
use everup_core::order::Task;
use everup_core::plan::Plan;
use everup_core::record::Record;
use everup_core::words;
use std::fmt::Write as _;

/// What one step of the planner decided.
pub(super) fn step(before: &Record, plan: &Plan) -> String {
    let mut out = String::new();
    let next = &plan.next;
    if next.state != before.state {
        line(&mut out, format!("{} > {}: {}", before.state, next.state, next.because));
    }
    for (id, entry) in &next.instances {
        let known = before.instances.get(id);
        let granted = known.and_then(|known| known.granted.as_ref());
        if let Some(grant) = entry.granted.as_ref().filter(|grant| Some(*grant) != granted) {
            line(&mut out, format!("grant {} to {id}: {}", grant.fence, task(&grant.task)));
        }
        let progress = known.map(|known| known.progress);
        if progress != Some(entry.progress) {
            let how = if entry.vanished { ", and nobody had ended it" } else { "" };
            line(&mut out, format!("{id} is {:?}{how}", entry.progress).to_lowercase());
        }
    }
    out
}

/// What it waits for.
pub(super) fn waiting(plan: &Plan) -> String {
    let mut out = String::new();
    for waits in &plan.waiting {
        line(&mut out, format!("waits for {waits}"));
    }
    out
}

fn task(task: &Task) -> String {
    match task {
        Task::Stage { release, fallback: Some(back) } => {
            format!("stage {release}, and be able to return to {back}")
        }
        Task::Stage { release, fallback: None } => format!("stage {release}"),
        Task::Update { release, limits } if limits.overlap => {
            format!("update to {release}, beside the old one")
        }
        Task::Update { release, limits } if !limits.leave => {
            format!("update to {release}, its gate holds meanwhile")
        }
        Task::Update { release, .. } => format!("update to {release}"),
        Task::TakeBack => "come back".to_owned(),
        Task::Hold { .. } => "hold".to_owned(),
        Task::Seal { .. } => "seal".to_owned(),
        Task::Migrate { run } => format!("run migration {}, attempt {}", run.migration, run.attempt),
        Task::Start { release, .. } => format!("start {release}"),
    }
}

/// How the deployment stands.
pub(super) fn record(record: &Record, paper: &Paper) -> String {
    let mut out = String::new();
    line(&mut out, format!("{} to {}: {} ({})", record.id, record.to, record.state, record.because));
    for (id, entry) in &record.instances {
        let view = paper.instances.get(id).map(|sheet| &sheet.view);
        let release = view.and_then(|view| view.release.as_ref());
        let release = release.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let phase = view.map_or_else(|| "gone".to_owned(), |view| format!("{:?}", view.phase).to_lowercase());
        let hold = word_of_hold(view.and_then(|view| view.hold.as_ref()));
        let progress = format!("{:?}", entry.progress).to_lowercase();
        line(&mut out, format!("{id:<4} {progress:<10} {phase:<10} {hold:<5} on {release}"));
    }
    out
}

/// What head says.
pub(super) fn head(head: &Head) -> String {
    let mut out = String::new();
    let name = |release: &Option<everup_core::release::ReleaseRef>| {
        release.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
    };
    line(&mut out, format!("newcomers take {}, proven is {}", name(&head.newcomers), name(&head.proven)));
    line(&mut out, format!("forbidden: {}", words::list(head.forbidden.iter(), 9)));
    line(&mut out, format!("applied: {}", words::list(head.applied.keys(), 9)));
    out
}

fn line(out: &mut String, text: impl AsRef<str>) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "{}", text.as_ref());
}
