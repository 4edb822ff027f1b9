//! `everup rollback`: back to the last proven release.

use super::deploy::Follow;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Arguments of `everup rollback`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to follow it
    #[command(flatten)]
    pub follow: Follow,
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "`everup rollback` could not run", "it is not built yet"))
}
