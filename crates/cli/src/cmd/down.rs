//! `everup down`: ends the fleet on this machine, in order.

use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use everup_core::time::Millis;
use everup_host::local::client::{Keeper, KeeperError};
use serde::Serialize;
use tokio::time::timeout;

/// Arguments of `everup down`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End it within this; what is still there then is killed
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = super::span)]
    pub within: Millis,
}

/// The most that killing everything takes.
const KILLING: Millis = Millis::from_secs(20);

#[derive(Serialize)]
struct Ended {
    ended: bool,
    killed: bool,
}

/// Runs the command.
///
/// # Errors
/// When the keeper refuses, does not answer, or the fleet does not end.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let keeper = Keeper::at(&context.settings()?.run());
    let killed = block_on(end(&keeper, args.within, context))?;
    let text = if killed { "the fleet was killed" } else { "the fleet has ended" };
    context.out.either(&Ended { ended: true, killed }, || text.to_owned());
    Ok(Exit::Done)
}

async fn end(keeper: &Keeper, within: Millis, context: &Context) -> Result<bool, Failure> {
    context.out.say(format!("ending the fleet: requests inside it have {within}"));
    match timeout(within.as_duration(), keeper.down(false)).await {
        Ok(Ok(())) => return Ok(false),
        Ok(Err(error)) => return Err(failure(&error)),
        Err(_) => context.out.say(format!("it has not ended within {within}: what is left is killed")),
    }
    match timeout(KILLING.as_duration(), keeper.down(true)).await {
        Ok(ended) => ended.map(|()| true).map_err(|error| failure(&error)),
        Err(_) => {
            Err(Failure::new(Exit::Internal, WANTED, format!("the keeper did not end within {KILLING}")))
        }
    }
}

const WANTED: &str = "the fleet could not be ended";

fn failure(error: &KeeperError) -> Failure {
    match error {
        KeeperError::Away(_) => Failure::new(Exit::Unreachable, WANTED, error),
        KeeperError::Refused(_) => Failure::new(Exit::Busy, WANTED, error),
        KeeperError::Silent(_) => Failure::new(Exit::Internal, WANTED, error),
    }
}
