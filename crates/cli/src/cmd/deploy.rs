//! `everup deploy`: moves the fleet to a release, and follows it to its end.

use super::rollback::Over;
use crate::changes::Changes;
use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::{Ended, Follower, Interrupts};
use crate::foresight;
use crate::output::table::{quoted, wrap};
use crate::output::{Out, paint};
use crate::progress::{document, frame, receipt};
use crate::reach::{self, Reach};
use crate::wait;
use everup_core::deployment::State;
use everup_core::ids::{DeploymentId, Version};
use everup_core::policy::{Policy, Size, Strategy};
use everup_core::record::Record;
use everup_core::status::Status;
use everup_release::catalog;
use everup_web::client::Client;
use everup_web::wire::{Deploy, Started, VersionLine};
use std::time::Duration;
use tokio::time::timeout;

/// Arguments of `everup deploy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The release
    pub version: Version,
    /// Which way: rolling or all-at-once [default: everup.toml's; all-at-once for a release whose migration was not applied yet]
    #[arg(long, value_name = "WAY", value_parser = strategy)]
    pub strategy: Option<Strategy>,
    /// How many at a time: a number, or a percentage
    #[arg(long, value_name = "SIZE")]
    pub batch: Option<Size>,
    /// How many stay in service: a number, or a percentage
    #[arg(long, value_name = "SIZE")]
    pub min_in_service: Option<Size>,
    /// Start the new release beside the old one on each instance
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    pub overlap: Option<bool>,
    /// So many instances may fail before the deployment goes back
    #[arg(long, value_name = "N", value_parser = super::scale::number)]
    pub max_failures: Option<u32>,
    /// A name for this request: sent twice, it is one deployment
    #[arg(long, value_name = "NAME")]
    pub idempotency: Option<String>,
    /// Over a migration
    #[command(flatten)]
    pub over: Over,
    /// How to follow it
    #[command(flatten)]
    pub follow: Follow,
}

/// How a deployment is followed.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Follow {
    /// Say which deployment it is, and do not follow it
    #[arg(long)]
    pub detach: bool,
}

fn strategy(text: &str) -> Result<Strategy, String> {
    match text {
        "rolling" => Ok(Strategy::Rolling),
        "all-at-once" => Ok(Strategy::AllAtOnce),
        _ => Err("expected rolling or all-at-once".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// When there is no such release, another deployment runs, or no agent answers.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let reach = Reach::new(&settings, context.out)?;
    if let Some(changes) = Changes::since_up(&settings).told() {
        context.out.say(format!("{} {changes}", paint::busy("note:")));
    }
    block_on(async {
        let line = line(&reach, &args.version).await?;
        let policy = policy(args, settings.deploy, &line, &reach, context).await?;
        if let Some(foreseen) = foreseen(&reach, &policy).await {
            context.out.say(format!("{} {foreseen}", paint::busy("note:")));
        }
        let request = Deploy {
            version: args.version.clone(),
            policy: Some(policy),
            by: reach::by(),
            take_back: args.over.take_back(),
            idempotency: args.idempotency.clone().or_else(key),
        };
        begin(&reach, &request, args.follow, context).await
    })
}

/// Starts a deployment, and follows it if that is wanted. Ctrl-C leaves it alone from here on: what is asked for may
/// have begun, whether its answer is there or not.
///
/// # Errors
/// When it is refused, or no agent answers.
pub async fn begin(
    reach: &Reach,
    request: &Deploy,
    follow: Follow,
    context: &Context,
) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let wanted = format!("release {} could not be deployed", request.version);
    let started = tokio::select! {
        biased;
        started = reach.ask(&wanted, async |agent: &Client| agent.deploy(request).await) => started?,
        () = interrupts.next() => return Ok(left_unanswered(&request.version, context)),
    };
    told(&started, context);
    if follow.detach {
        context.out.say("`everup status --watch` follows it");
        return Ok(Exit::StillRunning);
    }
    self::follow(reach, &started, interrupts, context).await
}

/// Nobody has said yet which deployment it is, or that there is none.
fn left_unanswered(version: &Version, context: &Context) -> Exit {
    detached(None, version, context);
    context.out.say(format!(
        "no agent has answered yet: the deployment of release {version} may have begun; `everup status` says whether it has"
    ));
    Exit::StillRunning
}

fn detached(id: Option<&DeploymentId>, to: &Version, context: &Context) {
    if context.out.json {
        context.out.event(&serde_json::json!({ "event": "detached", "deployment": id, "to": to }));
    }
}

fn told(started: &Started, context: &Context) {
    if context.out.json {
        context.out.event(&serde_json::json!({
            "event": "started", "deployment": started.deployment, "to": started.to.version,
        }));
    } else {
        context.out.say(format!("deployment {} to release {} has begun", started.deployment, started.to));
    }
}

/// Sent again after a lost answer, it is still one deployment.
pub(crate) fn key() -> Option<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).ok()?;
    Some(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What is known of the release; the near ones are named if there is none.
async fn line(reach: &Reach, version: &Version) -> Result<VersionLine, Failure> {
    let wanted = format!("release {version} could not be deployed");
    let lines = reach.look(&wanted, async |agent: &Client| agent.versions().await).await?;
    if let Some(line) = lines.iter().find(|line| line.release.version == *version) {
        return Ok(line.clone());
    }
    let known = lines.into_iter().map(|line| line.release.version).collect();
    let near = catalog::near(version, known);
    let failure = Failure::input(wanted, format!("there is no release {version} in the store"));
    Err(match near.is_empty() {
        true => failure.hint("nothing is published yet: `everup publish DIR --version 1`"),
        false => failure.hint(catalog::known(&near)),
    })
}

async fn policy(
    args: &Args,
    settings: Policy,
    line: &VersionLine,
    reach: &Reach,
    context: &Context,
) -> Result<Policy, Failure> {
    let mut policy = settings;
    policy.batch = args.batch.unwrap_or(policy.batch);
    policy.min_in_service = args.min_in_service.or(policy.min_in_service);
    policy.overlap = args.overlap.unwrap_or(policy.overlap);
    policy.max_failures = args.max_failures.unwrap_or(policy.max_failures);
    match args.strategy {
        Some(Strategy::Rolling) if args.over.take_back().is_some() => {
            let happened = "back over a migration there is no rolling deployment: both releases would run on one database";
            return Err(Failure::input(format!("release {} could not be deployed", line.release), happened)
                .hint("leave --strategy out: it is done all at once"));
        }
        Some(strategy) => policy.strategy = strategy,
        None if args.over.take_back().is_some() => policy.strategy = Strategy::AllAtOnce,
        None if policy.strategy == Strategy::Rolling && migrates(line, reach).await? => {
            context.out.say(format!("release {} brings a migration: all at once", line.release));
            policy.strategy = Strategy::AllAtOnce;
        }
        None => {}
    }
    Ok(policy)
}

/// What is worth knowing before requests are held; nothing where it cannot be found out.
async fn foreseen(reach: &Reach, policy: &Policy) -> Option<String> {
    if policy.strategy != Strategy::AllAtOnce {
        return None;
    }
    let read = reach
        .look("the last deployments could not be read", async |agent: &Client| agent.deployments().await);
    foresight::too_long(&read.await.ok()?, policy)
}

/// Whether the release brings a migration that was not applied yet.
async fn migrates(line: &VersionLine, reach: &Reach) -> Result<bool, Failure> {
    let Some(id) = &line.migration else { return Ok(false) };
    let wanted = "the applied migrations could not be read";
    let status = reach.look(wanted, async |agent: &Client| agent.status(None).await).await?;
    Ok(status.head.is_none_or(|head| !head.applied.contains_key(id)))
}

/// Follows a deployment to its end, or to where a person has to decide.
async fn follow(
    reach: &Reach,
    started: &Started,
    interrupts: Interrupts,
    context: &Context,
) -> Result<Exit, Failure> {
    let id = &started.deployment;
    if let Some(record) = outcome(reach, id, interrupts, context.out).await? {
        return Ok(end(&record, context));
    }
    detached(Some(id), &started.to.version, context);
    context.out.say(format!("deployment {id} goes on; `everup status --watch` follows it"));
    Ok(Exit::StillRunning)
}

/// The record of `id` once it is over, with its receipt, or waits for a person; nothing after Ctrl-C.
///
/// # Errors
/// When nobody answers any more.
pub async fn outcome(
    reach: &Reach,
    id: &DeploymentId,
    interrupts: Interrupts,
    out: Out,
) -> Result<Option<Record>, Failure> {
    let mut follower = Follower::heeding(reach, out, interrupts).of(id);
    match follower.until(|status| over(status, id)).await? {
        Ended::Left => Ok(None),
        Ended::Reached(status) => finished(reach, id, *status, out).await.map(Some),
    }
}

/// Whether there is nothing more to follow.
fn over(status: &Status, id: &DeploymentId) -> bool {
    let Some(record) = &status.record else { return false };
    if record.id != *id {
        // Another one runs already, so this one is over.
        return record.id > *id;
    }
    record.state.is_final() || record.asks()
}

/// A receipt is written shortly after the end: what the gates saw is gathered from all instances.
const RECEIPT: Duration = Duration::from_secs(30);

/// The record with its receipt.
async fn finished(reach: &Reach, id: &DeploymentId, status: Status, out: Out) -> Result<Record, Failure> {
    let complete = |record: &Record| record.receipt.is_some() || !record.state.is_final();
    if let Some(record) = status.record.filter(|record| record.id == *id && complete(record)) {
        return Ok(record);
    }
    let mut follower = Follower::new(reach, Out::QUIET)?.of(id);
    let written = |status: &Status| status.record.as_ref().is_some_and(|r| r.id != *id || complete(r));
    let receipt = timeout(RECEIPT, follower.until(written));
    // One that does not come is said in the last lines.
    let _ = wait::bounded("the receipt", RECEIPT, receipt, |words| out.say(words)).await;
    let wanted = "the end of the deployment could not be read";
    reach.look(wanted, async |agent: &Client| agent.deployment(Some(id)).await).await
}

/// The last words, and what the process says.
fn end(record: &Record, context: &Context) -> Exit {
    let exit = document::exit(record);
    if context.out.json {
        context.out.event(&serde_json::json!({ "event": "ended", "deployment": document::of(record) }));
        return exit;
    }
    let page = context.out.page;
    let mut lines = wrap(&format!("{}: {}", record.state, record.because), "", page);
    let word = record.state.to_string();
    lines[0] = lines[0].replacen(&word, &frame::state(record.state), 1);
    lines.extend(problems(record, page));
    if exit == Exit::NeedsOperator {
        if record.state == State::NeedsOperator && !record.because.contains("everup resume") {
            lines.push(
                "look at the database, then: everup resume --migration=applied|not-applied|run-again"
                    .to_owned(),
            );
        }
        // Where progress is drawn, the frame above has it.
        if record.state == State::NeedsOperator && !context.out.terminal {
            lines.extend(wrap(&frame::held(record), "", page));
        }
    } else {
        lines.extend(receipt::lines(record));
    }
    context.out.data(lines.join("\n"));
    exit
}

/// Whoever is not where it should be, with the last lines of its log.
fn problems(record: &Record, page: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, problem) in document::problems(record) {
        lines.extend(wrap(&format!("{id}: {problem}"), "", page));
        let log = problem.log.iter().rev().take(10).rev();
        lines.extend(log.map(|line| quoted(line, page)));
    }
    lines
}
