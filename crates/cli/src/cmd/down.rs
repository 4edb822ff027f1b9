//! `everup down`: ends the fleet on this machine, in order.

use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::output::Out;
use crate::records::Records;
use crate::store::Told;
use crate::wait;
use crate::wire_up::house::Ourselves;
use everup_core::time::Millis;
use everup_host::clock::TokioClock;
use everup_host::local::client::{Keeper, KeeperError};
use everup_host::local::keeper::Keeping;
use everup_host::local::ledger::Ledger;
use everup_host::settings::Settings;
use serde::Serialize;
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// Arguments of `everup down`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End it within this; what is still there then is killed [default: the time that requests and apps have to end]
    #[arg(long, value_name = "TIME", value_parser = super::span)]
    pub within: Option<Millis>,
}

/// The most that killing everything takes.
const KILLING: Millis = Millis::from_secs(20);

/// What runs is only said: a store that does not answer is no reason to wait.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Ended {
    ended: bool,
    killed: bool,
}

/// Runs the command.
///
/// # Errors
/// When no fleet runs, the keeper refuses or does not answer, or the fleet does not end.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let keeper = Keeper::at(&settings.run());
    let killed = block_on(async {
        let say = |words: &str| context.out.say(words);
        if let Err(KeeperError::Away(_)) = wait::keeper(keeper.info(), say).await {
            keep_what_is_left(&settings, context)?;
        }
        if let Some(runs) = wait::bounded("the store to answer", LOOK, what_runs(&settings), say).await {
            context.out.say(runs);
        }
        let whole = settings.deploy.drain + settings.app.stop + KILLING;
        let within = args.within.unwrap_or(whole);
        let ending = ending(&settings, within);
        context.out.say(format!("{ending}; what is left after {within} is killed"));
        end(&keeper, within, context).await
    })?;
    let text = if killed { "the fleet was killed" } else { "the fleet has ended" };
    context.out.either(&Ended { ended: true, killed }, || text.to_owned());
    Ok(Exit::Done)
}

/// What the end of a fleet waits for.
pub(super) fn ending(settings: &Settings, within: Millis) -> String {
    let requests = within.min(settings.deploy.drain);
    let apps = Millis(within.0.saturating_sub(requests.0)).min(settings.app.stop);
    format!("ending the fleet: requests inside it have {requests}, then its apps {apps} to stop")
}

/// The most that a keeper takes to end it: an app may get its time twice, from an agent that hangs and from the keeper.
pub(super) fn longest(settings: &Settings) -> Millis {
    settings.deploy.drain + settings.app.stop + settings.app.stop + KILLING
}

/// A deployment is not ended with the fleet.
async fn what_runs(settings: &Settings) -> Option<String> {
    // Not of an agent: one that nobody asked for a while may not have heard of it.
    let current = async {
        let store = Told::open(settings, Out::QUIET).await.ok()?;
        Records::new(store, settings.environment.clone()).current().await.ok()?
    };
    let (current, state) = timeout(LOOK, current).await.ok()??;
    Some(format!(
        "deployment {} to release {} is {state}: the next `everup up` goes on with it",
        current.id, current.request.to
    ))
}

/// A fleet whose keeper was killed runs on: it is kept from here, for as long as it takes to end.
fn keep_what_is_left(settings: &Settings, context: &Context) -> Result<(), Failure> {
    let noted = Ledger::noted(&settings.run()).unwrap_or_default();
    let left = noted.map_or(0, |ledger| ledger.living().count());
    if left == 0 {
        return Err(Failure::new(Exit::Unreachable, WANTED, "no fleet runs here"));
    }
    let (house, clock) = (Ourselves::new(settings), TokioClock::start());
    let failed = |error| Failure::new(Exit::Internal, WANTED, chain(&error));
    let keeping = Keeping::take(settings.clone(), house, clock).map_err(failed)?;
    let left =
        if left == 1 { "1 process of it runs".to_owned() } else { format!("{left} processes of it run") };
    context.out.say(format!("its keeper is gone, and {left}"));
    spawn_local(async move {
        if let Err(error) = keeping.run().await {
            tracing::warn!("what was left of the fleet could not be kept: {}", chain(&error));
        }
    });
    Ok(())
}

async fn end(keeper: &Keeper, within: Millis, context: &Context) -> Result<bool, Failure> {
    match timeout(within.as_duration(), keeper.down(false)).await {
        Ok(Ok(())) => return Ok(false),
        Ok(Err(error)) => return Err(failure(&error)),
        Err(_) => context.out.say(format!(
            "it has not ended within {within}: what is left is killed, which takes {KILLING} at most"
        )),
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
