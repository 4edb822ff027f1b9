//! `everup doctor`: looks for what is wrong with this machine, the settings and the fleet. It changes nothing.

use super::status::KEEPER_GONE;
use crate::changes::Changes;
use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::whole;
use crate::output::paint;
use crate::reach::Reach;
use crate::store::Told;
use crate::wait;
use everup_core::status::{Line, Status};
use everup_core::words;
use everup_host::local::client::{Keeper, KeeperError};
use everup_host::settings::Settings;
use everup_release::catalog;
use everup_web::client::Client;
use serde::Serialize;
use std::cell::Cell;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;

/// Arguments of `everup doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    well: bool,
    found: String,
}

impl Finding {
    fn new(what: &'static str, result: Result<String, String>) -> Self {
        let well = result.is_ok();
        Self { what, well, found: result.unwrap_or_else(|problem| problem) }
    }
}

/// Runs the command. What is wrong makes it end with 2.
///
/// # Errors
/// When the settings cannot be read.
pub fn run(_args: &Args, context: &Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let status = status(&settings, context);
    let mut findings = vec![
        Finding::new("command", command(&settings)),
        Finding::new("state folder", state(&settings)),
        Finding::new("store", releases(&settings, context)),
        Finding::new(
            "fleet",
            status.as_ref().map(fleet).unwrap_or_else(|failure| Err(failure.happened.clone())),
        ),
    ];
    match status {
        Err(_) => findings.push(Finding::new("address", address(&settings))),
        Ok(_) => {
            findings.push(Finding::new("keeper", keeper(&settings, context)));
            findings
                .extend(Changes::since_up(&settings).told().map(|told| Finding::new("settings", Err(told))));
        }
    }
    context.out.either(&findings, || text(&findings));
    let well = findings.iter().all(|finding| finding.well);
    Ok(if well { Exit::Done } else { Exit::BadInput })
}

fn text(findings: &[Finding]) -> String {
    let mark = |well| if well { paint::good("ok   ") } else { paint::bad("wrong") };
    let line = |f: &Finding| format!("{}  {:12}  {}", mark(f.well), f.what, f.found);
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn command(settings: &Settings) -> Result<String, String> {
    match &settings.app.command {
        Some(command) => Ok(command.clone()),
        None => Ok("each release has to say itself how it is started ([app] command is not set)".to_owned()),
    }
}

fn state(settings: &Settings) -> Result<String, String> {
    let path = settings.state.display();
    match settings.state.metadata() {
        Err(_) => Ok(format!("{path} does not exist yet")),
        // An app that runs as another user passes through to its release, so `up` lets others in, but not look around.
        Ok(meta) if meta.mode() & 0o066 != 0 => {
            Err(format!("{path} may be read or written by others: chmod 711 {path}"))
        }
        Ok(_) => Ok(format!("{path}, read and written by its owner alone")),
    }
}

fn releases(settings: &Settings, context: &Context) -> Result<String, String> {
    let unread = |error| Failure::new(Exit::Unreachable, "", error);
    let versions = block_on(async {
        let store = Told::open(settings, context.out).await?;
        catalog::versions(&store).await.map_err(unread)
    });
    let versions = versions.map_err(|failure| failure.happened)?;
    Ok(format!("it answers, with {}", words::count(versions.len(), "release")))
}

fn address(settings: &Settings) -> Result<String, String> {
    let address = settings.listen.address;
    match TcpListener::bind(address) {
        Ok(_) => Ok(format!("{address} is free")),
        Err(error) => Err(format!("{address} cannot be listened on: {error}")),
    }
}

fn status(settings: &Settings, context: &Context) -> Result<Status, Failure> {
    let reach = Reach::new(settings, context.out)?;
    // More than one agent may be asked; one word about it is enough.
    let told = Cell::new(false);
    let tell = |words: &str| {
        if !told.replace(true) {
            context.out.say(words);
        }
    };
    block_on(reach.look_told("the fleet could not be asked", async |agent: &Client| whole(agent, tell).await))
}

/// A fleet serves without its keeper, and nobody sees to it any more.
fn keeper(settings: &Settings, context: &Context) -> Result<String, String> {
    let keeper = Keeper::at(&settings.run());
    let asked = block_on(async { Ok(wait::keeper(keeper.info(), |words| context.out.say(words)).await) });
    match asked.map_err(|failure| failure.happened)? {
        Ok(_) => Ok("it runs, and starts again what dies".to_owned()),
        Err(KeeperError::Away(_)) => Err(format!("it is gone: {KEEPER_GONE}")),
        Err(error) => Err(error.to_string()),
    }
}

fn fleet(status: &Status) -> Result<String, String> {
    let serving = status.instances.iter().filter(|line| line.in_service).count();
    let told = format!("{serving} of {} in service", status.desired);
    let ill = status.instances.iter().filter_map(ill);
    let ill: Vec<String> = status.trouble.iter().cloned().chain(ill).collect();
    if ill.is_empty() && serving >= status.desired as usize {
        return Ok(told);
    }
    let named = if ill.is_empty() { String::new() } else { format!("; {}", words::list(&ill, 5)) };
    Err(told + &named)
}

/// What is wrong with an instance; of one that is merely out of service, what it waits for.
fn ill(line: &Line) -> Option<String> {
    let waits = || line.waiting.clone().filter(|_| !line.in_service);
    let why = line.problem.as_ref().map(ToString::to_string).or_else(waits)?;
    Some(format!("{}: {why}", line.id))
}
