//! A receipt for people.

use crate::output::paint;
use crate::output::table::{by_number, wrap};
use everup_core::receipt::{Held, Percentile, Receipt, SchemaOutcome, Source, Verdict};
use everup_core::record::Record;
use everup_core::time::Millis;
use everup_core::words;
use std::cmp::Reverse;

/// The lines at the end of a deployment.
#[must_use]
pub fn lines(record: &Record) -> Vec<String> {
    let Some(receipt) = &record.receipt else {
        return vec![format!("{}: no receipt was written", paint::busy("not measured"))];
    };
    let mut lines = vec![
        format!("receipt of {}: {}", record.id, verdict(receipt.verdict)),
        format!("  requests    {}", requests(receipt)),
        format!("  held        {}", held(receipt.held)),
        format!("  longest gap {}", Millis(receipt.longest_gap_ms)),
        format!("  p50         {}", percentile(receipt.p50_ms)),
        format!("  p99         {}", percentile(receipt.p99_ms)),
        format!("  in service  {}", receipt.lowest_in_service.map_or("not seen".to_owned(), at_least)),
        format!("  took        {}", Millis(receipt.duration_ms)),
    ];
    if !receipt.phases.is_empty() {
        let phases: Vec<_> = receipt.phases.iter().map(|(state, took)| format!("{state} {took}")).collect();
        lines.extend(rows(&phases).map(|row| format!("              {row}")));
    }
    lines.extend(each(receipt).iter().enumerate().map(|(n, row)| {
        let head = if n == 0 { "each" } else { "" };
        format!("  {head:11} {}", row.trim_start())
    }));
    if let Some(change) = &receipt.migration {
        lines.push(format!("  migration   {}: {}", change.id, outcome(change.outcome)));
    }
    if let Some(fetched) = receipt.bytes {
        lines.push(format!("  downloaded  {} ({} unpacked)", bytes(fetched.bytes), bytes(fetched.of)));
    }
    lines
        .extend(receipt.sources.iter().map(|(name, source)| format!("  {name:11} {}", self::source(source))));
    lines
}

fn held(held: Held) -> String {
    match held.count {
        0 => "none".to_owned(),
        n => format!("{n} for at most {}", Millis(held.longest_ms)),
    }
}

const fn outcome(outcome: SchemaOutcome) -> &'static str {
    match outcome {
        SchemaOutcome::Applied => "applied",
        SchemaOutcome::Skipped => "skipped, an earlier deployment applied it",
        SchemaOutcome::Undone => "taken back by its undo",
        SchemaOutcome::Restored => "taken back, as an operator said",
        SchemaOutcome::NotDone => "not done",
    }
}

fn at_least(lowest: u32) -> String {
    format!("never fewer than {lowest}")
}

/// So many phases stand in a row: it fits into 80 columns.
const IN_A_ROW: usize = 3;

/// Of so many instances the times are told, the longest first.
const MOST_TIMES: usize = 12;

/// Columns that a receipt's names take.
const NAMES: usize = 14;

/// From the grant to the arrival of each instance; no row where nobody arrived.
fn each(receipt: &Receipt) -> Vec<String> {
    if receipt.instances_ms.is_empty() {
        return Vec::new();
    }
    let mut took: Vec<_> = receipt.instances_ms.iter().collect();
    took.sort_by_key(|(id, took)| (Reverse(**took), by_number(id.as_str())));
    let more = took.len().saturating_sub(MOST_TIMES);
    took.truncate(MOST_TIMES);
    let mut times: Vec<_> = took.iter().map(|(id, took)| format!("{id} {took}")).collect();
    if more > 0 {
        times.push(format!("and {} in less", words::count(more, "other")));
    }
    wrap(&times.join(", "), "", 80 - NAMES)
}

fn rows(phases: &[String]) -> impl Iterator<Item = String> {
    phases.chunks(IN_A_ROW).map(|row| row.join(", "))
}

/// The verdict, in words and colour.
#[must_use]
pub fn verdict(verdict: Verdict) -> String {
    match verdict {
        Verdict::Kept => paint::good("not one request failed"),
        Verdict::Broken => paint::bad("requests failed"),
        Verdict::NotMeasured => paint::busy("not measured"),
    }
}

fn requests(receipt: &Receipt) -> String {
    let requests = &receipt.requests;
    let mut text = format!("{}, {} failed", requests.total, requests.failed);
    for (n, what) in [
        (requests.outcome_unknown, "of unknown outcome"),
        (requests.refused, "refused while held"),
        (requests.left_while_held, "left while held"),
        (requests.ended_by_design, "ended by design"),
    ] {
        if n > 0 {
            text.push_str(&format!(", {n} {what}"));
        }
    }
    text
}

fn percentile(p: Percentile) -> String {
    let of = |ms: Option<u64>| ms.map_or("unknown".to_owned(), |ms| Millis(ms).to_string());
    format!("{} before, {} during, {} after", of(p.before), of(p.during), of(p.after))
}

fn source(source: &Source) -> String {
    let missing = match source.missing.len() {
        0 => String::new(),
        n => format!(", {} not seen", words::count(n, "span")),
    };
    let Source { requests, longest_gap_ms, .. } = source;
    format!(
        "saw {}, {} failed, longest gap {}{missing}",
        requests.total,
        requests.failed,
        Millis(*longest_gap_ms)
    )
}

/// "12 kB", "3.4 MB".
#[must_use]
pub fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{} kB", n / 1_000),
        1_000_000..1_000_000_000 => format!("{}.{} MB", n / 1_000_000, n % 1_000_000 / 100_000),
        _ => format!("{}.{} GB", n / 1_000_000_000, n % 1_000_000_000 / 100_000_000),
    }
}
