//! `everup init`: looks at the folder and writes an everup.toml for it.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use std::path::PathBuf;

/// Arguments of `everup init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder [default: this one]
    pub folder: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "`everup init` could not run", "it is not built yet"))
}
