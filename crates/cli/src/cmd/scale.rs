//! `everup scale`: changes how many instances the fleet has.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Arguments of `everup scale`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many
    pub instances: u32,
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "`everup scale` could not run", "it is not built yet"))
}
