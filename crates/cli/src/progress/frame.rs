//! One status as lines for a terminal: a header, the deployment and what it waits for, a line for each instance.

use crate::output::paint;
use crate::output::table::{Cell, Table, by_number, shorten, wrap};
use everup_core::deployment::State;
use everup_core::head::TakeBack;
use everup_core::instance::Phase;
use everup_core::record::Record;
use everup_core::status::{Line, Status};
use everup_core::time::{Millis, Wall};
use everup_core::words;

/// The most instances that are drawn; of more, those with something to say come first.
const MOST_LINES: usize = 40;

/// All of it.
#[must_use]
pub fn lines(status: &Status, now: Wall, width: usize) -> Vec<String> {
    let mut all: Vec<&Line> = status.instances.iter().collect();
    all.sort_by_key(|line| by_number(line.id.as_str()));
    let mut lines = vec![shorten_painted(&header(status, &all), width)];
    if let Some(record) = &status.record {
        lines.extend(deployment(record, now, width));
    }
    if let Some(trouble) = &status.trouble {
        lines.push(format!("{}: {}", paint::bad("trouble"), shorten(trouble, width.saturating_sub(9))));
    }
    lines.push(String::new());
    lines.extend(instances(&all).text(width).lines().map(str::to_owned));
    lines.extend(problems(&all, width));
    let more = all.len().saturating_sub(MOST_LINES);
    if more > 0 {
        lines.push(format!("and {}", words::count(more, "further instance")));
    }
    lines
}

/// "shop production: 4 of 4 in service, i2 coordinates".
fn header(status: &Status, all: &[&Line]) -> String {
    let serving = all.iter().filter(|line| line.in_service).count();
    let wanted = status.desired as usize;
    let unheard: Vec<_> = all.iter().filter(|line| is_unheard(line)).map(|line| &line.id).collect();
    let figures = match unheard.len() {
        n if n == all.len() && (n > 0 || wanted == 0) => "looking for its instances".to_owned(),
        0 => format!("{serving} of {wanted} in service"),
        _ => format!("{serving} of {wanted} in service, {} not heard yet", words::list(unheard, 3)),
    };
    let figures = if serving >= wanted { paint::good(figures) } else { paint::busy(figures) };
    let who = status.coordinator.as_ref().map_or("nobody".to_owned(), ToString::to_string);
    format!("{}: {figures}, {who} coordinates", paint::bold(&status.environment))
}

/// Whether it has neither answered nor failed to: whoever has just begun to look knows nothing of it.
fn is_unheard(line: &Line) -> bool {
    line.phase.is_none() && line.waiting.is_none()
}

/// What becomes of users' requests while a person is waited for.
#[must_use]
pub fn held(record: &Record) -> String {
    format!(
        "users' requests wait meanwhile, each for at most {}, and are refused then",
        record.policy.hold.wait
    )
}

/// What a deployment waits for, without what its reason says already.
pub(super) fn waits(record: &Record) -> impl Iterator<Item = &String> {
    let waiting = if record.state.is_final() { &[][..] } else { &record.waiting[..] };
    waiting.iter().filter(|wait| record.because.is_empty() || !wait.contains(&record.because))
}

/// The strategy, and what is done to the database.
fn way(record: &Record) -> String {
    let strategy = record.policy.strategy;
    match (&record.migration, record.take_back) {
        (None, _) => strategy.to_string(),
        (Some(migration), None) => format!("{strategy} with migration {}", migration.id),
        (Some(migration), Some(TakeBack::Undo)) => format!("{strategy} with the undo of {}", migration.id),
        (Some(migration), Some(TakeBack::Restored)) => {
            format!("{strategy}, {} said to be undone", migration.id)
        }
    }
}

fn deployment(record: &Record, now: Wall, width: usize) -> Vec<String> {
    let from = record.from.as_ref().map_or("nothing".to_owned(), ToString::to_string);
    let took = match &record.receipt {
        Some(receipt) => format!("took {}", Millis(receipt.duration_ms)),
        None if record.state.is_final() => "over".to_owned(),
        None => format!("{} of at most {}", seconds(now.since(record.at)), record.until()),
    };
    let what = format!("{from} > {}, {}, {took}, by {}", record.to, way(record), record.by);
    let mut lines = vec![format!(
        "{}: {}",
        state(record.state),
        shorten(&what, width.saturating_sub(state_width(record.state) + 2))
    )];
    lines.extend(wrap(&record.because, "  ", width));
    if record.state == State::NeedsOperator {
        lines.extend(wrap(&held(record), "  ", width));
    }
    lines.extend(waits(record).flat_map(|wait| wrap(&format!("waiting: {wait}"), "  ", width)));
    lines
}

fn instances(all: &[&Line]) -> Table {
    let mut table = Table::new(&["INSTANCE", "ZONE", "RELEASE", "PHASE", "SERVICE", "REASON"]);
    let mut lines = all.to_vec();
    if lines.len() > MOST_LINES {
        lines.sort_by_key(|line| line.in_service && reason(line).is_empty());
        lines.truncate(MOST_LINES);
    }
    for line in lines {
        let service = if line.in_service {
            Cell::painted("in", paint::good)
        } else if is_unheard(line) {
            Cell::new("-")
        } else {
            Cell::painted("out", paint::busy)
        };
        table.row(vec![
            Cell::new(line.id.as_str()),
            Cell::new(line.zone.as_str()),
            Cell::new(line.release.as_ref().map_or("-".to_owned(), ToString::to_string)),
            Cell::painted(phase(line.phase), if line.problem.is_some() { paint::bad } else { |text| text }),
            service,
            Cell::new(reason(line)),
        ]);
    }
    table
}

/// The most problems that are told in full.
const MOST_PROBLEMS: usize = 5;

/// What the table has no room for.
fn problems(all: &[&Line], width: usize) -> Vec<String> {
    let table = instances(all).text(width);
    let cut = |reason: &String| !reason.is_empty() && !table.contains(reason);
    let told = all.iter().filter(|line| line.problem.is_some() && cut(&reason(line))).take(MOST_PROBLEMS);
    told.flat_map(|line| wrap(&format!("{}: {}", line.id, reason(line)), "", width)).collect()
}

fn reason(line: &Line) -> String {
    let problem = line.problem.as_ref().map(ToString::to_string);
    problem.or_else(|| line.waiting.clone()).unwrap_or_default()
}

/// A phase as a word.
#[must_use]
pub fn phase(phase: Option<Phase>) -> &'static str {
    match phase {
        None => "not heard",
        Some(Phase::Announced) => "announced",
        Some(Phase::Waiting) => "waiting",
        Some(Phase::Starting) => "starting",
        Some(Phase::Healthy) => "healthy",
        Some(Phase::Joining) => "joining",
        Some(Phase::Serving) => "serving",
        Some(Phase::Leaving) => "leaving",
        Some(Phase::Idle) => "idle",
        Some(Phase::Stopped) => "stopped",
        Some(Phase::Beside) => "starting beside",
        Some(Phase::Lingering) => "lingering",
        Some(Phase::Held) => "held",
        Some(Phase::Sealed) => "sealed",
        Some(Phase::Migrating) => "migrating",
        Some(Phase::Ill) => "ill",
    }
}

/// A state, in its colour.
#[must_use]
pub fn state(state: State) -> String {
    match state {
        State::Succeeded | State::SucceededUnproven => paint::good(state),
        State::Failed | State::NeedsOperator => paint::bad(state),
        _ => paint::busy(state),
    }
}

/// Whole seconds: what is drawn once a second needs no more.
fn seconds(span: Millis) -> Millis {
    Millis::from_secs(span.0 / 1_000)
}

fn state_width(state: State) -> usize {
    state.to_string().len()
}

/// A painted line that is too long loses its colours with its end.
fn shorten_painted(text: &str, width: usize) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    if plain.chars().count() <= width { text.to_owned() } else { shorten(&plain, width) }
}
