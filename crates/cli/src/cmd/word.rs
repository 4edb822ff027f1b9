//! `everup pause`, `resume` and `abort`: words to the deployment that runs.

use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::reach::{self, Reach};
use clap::ValueEnum;
use everup_core::ids::{DeploymentId, WriteId};
use everup_core::record::Say;
use everup_web::client::Client;
use everup_web::wire::Words;

/// Arguments of `everup pause`.
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// Which deployment [default: the one that runs]
    pub deployment: Option<DeploymentId>,
}

/// Arguments of `everup resume`.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// Which deployment [default: the one that runs]
    pub deployment: Option<DeploymentId>,
    /// What became of the migration whose outcome nobody knows
    #[arg(long, value_enum, value_name = "OUTCOME", conflicts_with = "undo")]
    pub migration: Option<MigrationOutcome>,
    /// What became of the undo of a migration, whose outcome nobody knows
    #[arg(long, value_enum, value_name = "OUTCOME")]
    pub undo: Option<UndoOutcome>,
}

/// Arguments of `everup abort`.
#[derive(Debug, clap::Args)]
pub struct AbortArgs {
    /// Which deployment [default: the one that runs]
    pub deployment: Option<DeploymentId>,
}

/// What a person found in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MigrationOutcome {
    /// The database is as the migration leaves it: go on with the new release.
    Applied,
    /// The database is as before: go back to the old release.
    NotApplied,
    /// The database can bear the migration again, from its beginning.
    RunAgain,
}

/// The same, of a migration's undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UndoOutcome {
    /// The database is as before the migration: go on with the old release.
    Applied,
    /// The database is as the migration left it: stay on the release that needs it.
    NotApplied,
    /// The database can bear the undo again, from its beginning.
    RunAgain,
}

/// `everup pause`.
///
/// # Errors
/// When no deployment runs, or no agent answers.
pub fn pause(args: &PauseArgs, context: &Context) -> Result<Exit, Failure> {
    say(Say::Pause, args.deployment.as_ref(), context)
}

/// `everup resume`.
///
/// # Errors
/// When no deployment runs, or no agent answers.
pub fn resume(args: &ResumeArgs, context: &Context) -> Result<Exit, Failure> {
    let word = match (args.migration, args.undo) {
        (None, None) => Say::Resume,
        (Some(MigrationOutcome::Applied), _) => Say::MigrationApplied,
        (Some(MigrationOutcome::NotApplied), _) => Say::MigrationNotApplied,
        (Some(MigrationOutcome::RunAgain), _) => Say::MigrationRunAgain,
        (_, Some(UndoOutcome::Applied)) => Say::UndoApplied,
        (_, Some(UndoOutcome::NotApplied)) => Say::UndoNotApplied,
        (_, Some(UndoOutcome::RunAgain)) => Say::UndoRunAgain,
    };
    say(word, args.deployment.as_ref(), context)
}

/// `everup abort`.
///
/// # Errors
/// When no deployment runs, or no agent answers.
pub fn abort(args: &AbortArgs, context: &Context) -> Result<Exit, Failure> {
    say(Say::Abort, args.deployment.as_ref(), context)
}

fn say(say: Say, deployment: Option<&DeploymentId>, context: &Context) -> Result<Exit, Failure> {
    let reach = Reach::new(&context.settings()?, context.out)?;
    let id = super::deploy::key().and_then(|key| WriteId::new(key).ok());
    let words = Words { say, by: reach::by(), id };
    let wanted = format!("`{}` could not be said to the deployment", verb(say));
    let call = async |agent: &Client| agent.say(deployment, &words).await;
    let word = block_on(reach.ask(&wanted, call))?;
    let told = || format!("deployment {}: {} is noted", word.deployment, verb(say));
    context.out.either(&word, told);
    if !context.out.json {
        context.out.say("`everup status --watch` shows what follows");
    }
    Ok(Exit::Done)
}

fn verb(say: Say) -> &'static str {
    match say {
        Say::Pause => "pause",
        Say::Resume => "resume",
        Say::Abort => "abort",
        Say::MigrationApplied => "the migration was applied",
        Say::MigrationNotApplied => "the migration was not applied",
        Say::MigrationRunAgain => "run the migration again",
        Say::UndoApplied => "the undo was applied",
        Say::UndoNotApplied => "the undo was not applied",
        Say::UndoRunAgain => "run the undo again",
    }
}
