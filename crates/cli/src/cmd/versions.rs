//! `everup versions`: the releases in the store.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Arguments of `everup versions`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "`everup versions` could not run", "it is not built yet"))
}
