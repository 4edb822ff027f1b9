//! `everup status`: the fleet, and the deployment that runs.

use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::{Ended, Follower, whole};
use crate::output::paint;
use crate::progress::{frame, receipt};
use crate::reach::Reach;
use crate::wait;
use everup_core::status::Status;
use everup_host::local::client::KeeperError;
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

/// What nobody does for a fleet without a keeper.
pub(super) const KEEPER_GONE: &str =
    "nothing is started again that dies, and `everup scale` fails; `everup up` keeps the fleet again";

/// Runs the command.
///
/// # Errors
/// When no agent answers.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let reach = Reach::new(&context.settings()?, context.out)?;
    if args.watch {
        return block_on(async {
            say_who_keeps(&reach, context).await;
            watch(&reach, context).await
        });
    }
    // More than one agent may be asked; one word about it is enough.
    let told = Cell::new(false);
    let tell = |words: &str| {
        if !told.replace(true) {
            context.out.say(words);
        }
    };
    let call = async |agent: &Client| whole(agent, tell).await;
    let status = block_on(reach.look_told("the fleet's status could not be read", call))?;
    let text = || {
        let mut lines = frame::lines(&status, now(), context.out.page);
        if let Some(record) = status.record.as_ref().filter(|record| record.state.is_final()) {
            lines.push(String::new());
            lines.extend(receipt::lines(record));
        }
        lines.join("\n")
    };
    if !context.out.json {
        context.out.data(text());
    }
    let unkept = block_on(async { Ok(say_who_keeps(&reach, context).await) })?;
    if context.out.json {
        let trouble = status.trouble.clone().or(unkept);
        context.out.document(&Status { trouble, ..status });
    }
    Ok(Exit::Done)
}

/// Says it where nobody keeps the fleet. What it said.
async fn say_who_keeps(reach: &Reach, context: &Context) -> Option<String> {
    let asked = wait::keeper(reach.keeper().info(), |words| context.out.say(words)).await;
    let Err(KeeperError::Away(_)) = asked else { return None };
    let trouble = format!("the keeper is gone: {KEEPER_GONE}");
    context.out.say(format!("{}: {trouble}", paint::bad("trouble")));
    Some(trouble)
}

async fn watch(reach: &Reach, context: &Context) -> Result<Exit, Failure> {
    let mut follower = Follower::new(reach, context.out.following())?;
    match follower.until(|_| false).await? {
        Ended::Left | Ended::Reached(_) => Ok(Exit::Done),
    }
}
