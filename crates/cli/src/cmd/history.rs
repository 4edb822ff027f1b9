//! `everup history`: the deployments, each with its receipt.

use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::paint;
use crate::output::table::{Cell, Table, quoted};
use crate::progress::{document, receipt};
use crate::records::Records;
use crate::store::{self, Told};
use everup_core::deployment::State;
use everup_core::ids::DeploymentId;
use everup_core::receipt::Verdict;
use everup_core::record::Record;
use everup_core::time::Millis;
use serde_json::Value;

/// Arguments of `everup history`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The whole story of one deployment
    pub deployment: Option<DeploymentId>,
    /// Only the last so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub last: usize,
}

const WANTED: &str = "the deployments could not be read";

/// Runs the command. The store has what it tells, so that it needs no fleet that runs.
///
/// # Errors
/// When the store does not answer, or there is no such deployment.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let unread = |error| store::unreachable(WANTED, error);
    let records = async {
        let store = Told::open(&settings, context.out).await?;
        Ok::<_, Failure>(Records::new(store, settings.environment.clone()))
    };
    match &args.deployment {
        Some(id) => {
            let found = block_on(async { records.await?.one(id).await.map_err(unread) })?;
            let record = found.ok_or_else(|| {
                Failure::input(WANTED, format!("there is no deployment {id}"))
                    .hint("`everup history` lists them")
            })?;
            context.out.either(&document::of(&record), || story(&record, context.out.page));
        }
        None => {
            let records = block_on(async { records.await?.last(args.last).await.map_err(unread) })?;
            let documents: Vec<Value> = records.iter().map(document::of).collect();
            context.out.either(&documents, || table(&records).text(context.out.page));
            if records.is_empty() {
                context.out.say("nothing was deployed yet: `everup deploy VERSION`, of those that `everup versions` lists");
            }
        }
    }
    Ok(Exit::Done)
}

fn story(record: &Record, page: usize) -> String {
    let mut lines = vec![
        format!("{}: release {} by {}, {}", record.id, record.to, record.by, super::time(record.at)),
        format!("{}: {}", crate::progress::frame::state(record.state), record.because),
        String::new(),
    ];
    lines.extend(record.story.iter().map(|line| format!("{}  {}", super::time(line.at), line.what)));
    for (id, problem) in document::problems(record) {
        lines.push(format!("\n{id}: {problem}"));
        lines.extend(problem.log.iter().map(|line| quoted(line, page)));
    }
    lines.push(String::new());
    lines.extend(receipt::lines(record));
    lines.join("\n")
}

fn table(records: &[Record]) -> Table {
    let mut table = Table::new(&[
        "DEPLOYMENT",
        "RELEASE",
        "STATE",
        "REQUESTS",
        "FAILED",
        "HELD",
        "GAP",
        "P99",
        "TOOK",
        "WHY",
    ])
    .sparing(&["P99", "HELD", "GAP"]);
    for record in records {
        table.row(row(record));
    }
    table
}

fn row(record: &Record) -> Vec<Cell> {
    let from = record.from.as_ref().map_or("-".to_owned(), ToString::to_string);
    let figure = |of: fn(&everup_core::receipt::Receipt) -> String| {
        Cell::new(record.receipt.as_ref().map_or("-".to_owned(), of))
    };
    let failed = record.receipt.as_ref().map_or("-".to_owned(), |r| match r.verdict {
        Verdict::NotMeasured => format!("{} ?", r.requests.failed),
        Verdict::Kept | Verdict::Broken => r.requests.failed.to_string(),
    });
    let paint = match record.state {
        State::Succeeded | State::SucceededUnproven => paint::good,
        State::Failed | State::NeedsOperator => paint::bad,
        _ => paint::busy,
    };
    vec![
        Cell::new(record.id.as_str()),
        Cell::new(format!("{from} > {}", record.to)),
        Cell::painted(record.state.to_string(), paint),
        figure(|r| r.requests.total.to_string()),
        Cell::new(failed),
        figure(|r| r.held.count.to_string()),
        figure(|r| Millis(r.longest_gap_ms).to_string()),
        figure(|r| r.p99_ms.during.map_or("-".to_owned(), |ms| Millis(ms).to_string())),
        figure(|r| Millis(r.duration_ms).to_string()),
        Cell::new(record.because.as_str()),
    ]
}
