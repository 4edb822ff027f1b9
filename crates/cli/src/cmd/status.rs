//! `everup status`: the fleet, and the deployment that runs.

use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::{Ended, Follower, whole};
use crate::progress::{frame, receipt};
use crate::reach::Reach;
use everup_release::publish::now;
use everup_web::client::Client;
use std::cell::Cell;

/// Arguments of `everup status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Follow what changes, until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
}

/// Runs the command.
///
/// # Errors
/// When no agent answers.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let reach = Reach::new(&context.settings()?)?;
    if args.watch {
        return block_on(watch(&reach, context));
    }
    // More than one agent may be asked; one word about it is enough.
    let told = Cell::new(context.out.json);
    let tell = |words: &str| {
        if !told.replace(true) {
            context.out.say(words);
        }
    };
    let call = async |agent: &Client| whole(agent, tell).await;
    let status = block_on(reach.look("the fleet's status could not be read", call))?;
    let text = || {
        let mut lines = frame::lines(&status, now(), context.out.page);
        if let Some(record) = status.record.as_ref().filter(|record| record.state.is_final()) {
            lines.push(String::new());
            lines.extend(receipt::lines(record));
        }
        lines.join("\n")
    };
    context.out.either(&status, text);
    Ok(Exit::Done)
}

async fn watch(reach: &Reach, context: &Context) -> Result<Exit, Failure> {
    let mut follower = Follower::new(reach, context.out.following())?;
    match follower.until(|_| false).await? {
        Ended::Left | Ended::Reached(_) => Ok(Exit::Done),
    }
}
