//! `everup keys`: the keys that sign the fleet's messages.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Arguments of `everup keys`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do [default: show]
    #[command(subcommand)]
    pub what: Option<What>,
}

/// What to do with the keys.
#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// List the ids of the keys that are valid
    Show,
    /// Make a new key; the one before stays valid until the next rotation
    Rotate,
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "`everup keys` could not run", "it is not built yet"))
}
