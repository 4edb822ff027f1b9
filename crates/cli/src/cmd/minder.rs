//! `everup minder`: the parent of one app or migration; started by an agent.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use std::ffi::OsString;
use std::process::ExitCode;

/// Arguments of `everup minder`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is minded, for whoever reads the list of processes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(args: &Args, _context: &Context) -> Result<Exit, Failure> {
    let ended = everup_host::minder::main(args.words.iter().cloned());
    Ok(if ended == ExitCode::SUCCESS { Exit::Done } else { Exit::Internal })
}
