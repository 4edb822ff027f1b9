//! `everup scale`: changes how many instances the fleet has.

use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::wait;
use everup_core::words;
use everup_host::local::client::{Keeper, KeeperError};
use everup_host::settings::Settings;
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
    let settings = context.settings()?;
    let keeper = Keeper::at(&settings.run());
    let refused = |error| failure(&error, args.instances, &settings);
    let say = |words: &str| context.out.say(words);
    block_on(async { wait::keeper(keeper.resize(args.instances), say).await.map_err(refused) })?;
    let wanted = words::count(args.instances as usize, "instance");
    context.out.either(&Scaled { desired: args.instances }, || format!("the fleet will have {wanted}"));
    Ok(Exit::Done)
}

fn failure(error: &KeeperError, to: u32, settings: &Settings) -> Failure {
    let wanted = "the fleet could not be scaled";
    let fits = (settings.fleet.min..=settings.fleet.max).contains(&to);
    let hint = if fits {
        "everup.toml allows it since the fleet was started: `everup down` and `everup up` take [fleet] over"
    } else {
        "change [fleet] in everup.toml; `everup down` and `everup up` take it over"
    };
    match error {
        KeeperError::Refused(_) => Failure::input(wanted, error).hint(hint),
        KeeperError::Away(_) | KeeperError::Silent(_) => Failure::new(Exit::Unreachable, wanted, error),
    }
}
