//! A deployment as the JSON that `deploy`, `history` and `demo` print: its identity, and every field of its receipt.

use crate::exit::Exit;
use crate::output::table::by_number;
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use everup_core::instance::Problem;
use everup_core::receipt::Verdict;
use everup_core::record::Record;
use serde_json::{Map, Value, json};

/// The document.
#[must_use]
pub fn of(record: &Record) -> Value {
    let identity = json!({
        "id": record.id,
        "strategy": record.policy.strategy,
        "from": record.from.as_ref().map(|release| &release.version),
        "to": record.to.version,
        "status": record.state,
        "because": record.because,
        "by": record.by,
        "at": record.at,
    });
    let receipt = record.receipt.as_ref().and_then(|receipt| serde_json::to_value(receipt).ok());
    let mut document = into_map(identity);
    document.extend(receipt.map(into_map).unwrap_or_default());
    Value::Object(document)
}

fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Who is not where it should be, and why.
#[must_use]
pub fn problems(record: &Record) -> Vec<(&InstanceId, &Problem)> {
    let entries = record.instances.iter();
    let mut problems: Vec<_> =
        entries.filter_map(|(id, entry)| Some((id, entry.problem.as_ref()?))).collect();
    problems.sort_by_key(|(id, _)| by_number(id.as_str()));
    problems
}

/// What a command that followed `record` to where it is says to whoever started it.
#[must_use]
pub fn exit(record: &Record) -> Exit {
    match (record.state, record.receipt.as_ref().map(|receipt| receipt.verdict)) {
        (State::Succeeded | State::SucceededUnproven, Some(Verdict::Broken)) => Exit::PromiseBroken,
        // Where nobody was left who serves there is nothing to measure.
        (State::Succeeded, Some(Verdict::Kept)) | (State::SucceededUnproven, _) => Exit::Done,
        (State::Succeeded, _) => Exit::NotMeasured,
        (State::RolledBack | State::Aborted, _) => Exit::RolledBack,
        // Nothing was touched: the fleet is as it was.
        (State::Failed, _)
            if record.from.is_some() && !record.instances.values().any(|entry| entry.touched) =>
        {
            Exit::RolledBack
        }
        (State::Failed, _) => Exit::Mixed,
        _ if record.asks() => Exit::NeedsOperator,
        _ => Exit::StillRunning,
    }
}
