//! `everup demo`: the product at work on this machine.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Arguments of `everup demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End when the story is told, also on a terminal
    #[arg(long)]
    pub once: bool,
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "`everup demo` could not run", "it is not built yet"))
}
