//! `everup status`: the fleet, and the deployment that runs.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Arguments of `everup status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Follow what changes until the deployment that runs is over
    #[arg(short, long)]
    pub watch: bool,
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "`everup status` could not run", "it is not built yet"))
}
