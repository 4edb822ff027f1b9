//! `everup demo-app`: the demo's app, and its migration.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use std::path::PathBuf;

/// Arguments of `everup demo-app`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub what: What,
}

/// What the demo's app does.
#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// Serve, on the port that PORT names
    Serve {
        /// The database's file
        #[arg(long)]
        database: PathBuf,
    },
    /// Bring the database to the next schema
    Migrate {
        /// The database's file
        database: PathBuf,
    },
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "`everup demo-app` could not run", "it is not built yet"))
}
