//! `everup history`: the deployments, each with its receipt.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Arguments of `everup history`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the last so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub last: usize,
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "`everup history` could not run", "it is not built yet"))
}
