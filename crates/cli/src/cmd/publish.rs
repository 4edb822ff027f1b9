//! `everup publish`: stores a release.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use everup_core::ids::{MigrationId, Version};
use everup_core::release::OnFailure;
use std::path::PathBuf;

/// Arguments of `everup publish`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The release: a folder, a zip, or a tar.gz
    pub path: PathBuf,
    /// The version that people will use; a version is its bytes, so it is published once
    #[arg(long, value_name = "VERSION")]
    pub version: Version,
    /// A command that changes the database before this release can start
    #[arg(long, value_name = "COMMAND", requires = "migration_id")]
    pub migration: Option<String>,
    /// The migration's name; it is applied once under it, whatever is deployed how often
    #[arg(long, value_name = "ID", requires = "migration")]
    pub migration_id: Option<MigrationId>,
    /// A command that takes the migration back
    #[arg(long, value_name = "COMMAND", requires = "migration")]
    pub undo: Option<String>,
    /// What an exit status other than 0 of the migration means
    #[arg(long, value_name = "WHAT", requires = "migration", value_parser = on_failure)]
    pub on_failure: Option<OnFailure>,
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "`everup publish` could not run", "it is not built yet"))
}

fn on_failure(text: &str) -> Result<OnFailure, String> {
    match text {
        "go-back" => Ok(OnFailure::GoBack),
        "stop" => Ok(OnFailure::Stop),
        _ => Err("expected go-back or stop".to_owned()),
    }
}
