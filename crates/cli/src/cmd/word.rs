//! `everup pause`, `resume` and `abort`: words to the deployment that runs.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::ValueEnum;
use everup_core::ids::DeploymentId;
use everup_core::record::Say;

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
    #[arg(long, value_enum, value_name = "OUTCOME")]
    pub migration: Option<MigrationOutcome>,
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
    let word = match args.migration {
        None => Say::Resume,
        Some(MigrationOutcome::Applied) => Say::MigrationApplied,
        Some(MigrationOutcome::NotApplied) => Say::MigrationNotApplied,
        Some(MigrationOutcome::RunAgain) => Say::MigrationRunAgain,
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

fn say(_word: Say, _deployment: Option<&DeploymentId>, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "the word could not be said", "it is not built yet"))
}
