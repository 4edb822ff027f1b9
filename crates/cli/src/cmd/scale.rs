//! `everup scale`: changes how many instances the fleet has.

use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use everup_core::words;
use everup_host::local::client::{Keeper, KeeperError};
use serde::Serialize;

/// Arguments of `everup scale`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many
    #[arg(value_parser = number)]
    pub instances: u32,
}

/// A number of instances.
pub(super) fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "expected a number of instances, as in 6".to_owned())
}

#[derive(Serialize)]
struct Scaled {
    desired: u32,
}

/// Runs the command.
///
/// # Errors
/// When it is fewer than the minimum or more than the maximum, or no keeper answers.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let keeper = Keeper::at(&context.settings()?.run());
    block_on(async { keeper.resize(args.instances).await.map_err(|error| failure(&error)) })?;
    let wanted = words::count(args.instances as usize, "instance");
    context.out.either(&Scaled { desired: args.instances }, || format!("the fleet will have {wanted}"));
    Ok(Exit::Done)
}

fn failure(error: &KeeperError) -> Failure {
    let wanted = "the fleet could not be scaled";
    match error {
        KeeperError::Refused(_) => Failure::input(wanted, error).hint("change `[fleet]` in everup.toml"),
        KeeperError::Away(_) | KeeperError::Silent(_) => Failure::new(Exit::Unreachable, wanted, error),
    }
}
