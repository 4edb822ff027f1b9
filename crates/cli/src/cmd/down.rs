//! `everup down`: ends the fleet on this machine, in order.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use everup_core::time::Millis;

/// Arguments of `everup down`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End it within this; what is still there then is killed
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = super::span)]
    pub within: Millis,
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "`everup down` could not run", "it is not built yet"))
}
