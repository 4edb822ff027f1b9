//! `everup up`: the fleet on this machine.

use super::down;
use crate::changes::Changes;
use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::follow::Interrupts;
use crate::output::{Out, paint};
use crate::store::Told;
use crate::view;
use crate::wait;
use crate::wire_up::house::{Ourselves, program};
use crate::wire_up::places::Places;
use crate::wire_up::ready::{self, GATHERING, Ready};
use everup_core::seams::Clock;
use everup_core::time::Millis;
use everup_core::words;
use everup_host::clock::TokioClock;
use everup_host::local::client::{Keeper, KeeperError};
use everup_host::local::keeper::{KeepError, Keeping};
use everup_host::local::ledger::Who;
use everup_host::local::lock::LockError;
use everup_host::local::wire::Info;
use everup_host::local::{self, files};
use everup_host::proc::Identity;
use everup_host::settings::Settings;
use everup_web::keyring::Keyring;
use rustix::process::Signal;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use tokio::task::spawn_local;

/// Arguments of `everup up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run it in the background, and return when it is in service
    #[arg(long)]
    pub detach: bool,
    /// Is the one in the background
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub background: bool,
}

/// What a keeper in the background writes once it has the fleet, which then starts.
const KEPT: &str = "kept";
/// What it writes once the fleet is in service.
const READY: &str = "ready";

/// Runs the command.
///
/// # Errors
/// When another keeper has the fleet, the port is taken, or a file cannot be used.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    view::remove_leftovers(&settings.state);
    block_on(Told::open(&settings, context.out))?;
    the_user_exists(&settings)?;
    if !args.background
        && let Some(info) = block_on(kept(&settings, context))?
    {
        let changes = Changes::since_up(&settings);
        if !changes.ready.is_empty() || !changes.fixed.is_empty() {
            return take_over(&settings, &changes, &info, context);
        }
    }
    if args.detach {
        return detach(&settings, context);
    }
    if args.background {
        local::own_session();
    }
    block_on(keep(&settings, args.background, context))?;
    Ok(Exit::Done)
}

/// Found at the first start of an app, it would be a deployment that failed.
fn the_user_exists(settings: &Settings) -> Result<(), Failure> {
    let Some(user) = &settings.app.user else { return Ok(()) };
    if everup_host::proc::is_user(user) {
        return Ok(());
    }
    let happened = format!("there is no user {user} on this machine");
    Err(Failure::input("the fleet could not be started", happened)
        .hint("create it, or change `user` in [app] in everup.toml"))
}

/// What the keeper says, if there is one.
async fn kept(settings: &Settings, context: &Context) -> Result<Option<Info>, Failure> {
    let keeper = Keeper::at(&settings.run());
    match wait::keeper(keeper.info(), |words| context.out.say(words)).await {
        Ok(info) => Ok(Some(info)),
        // Whoever hangs has the fleet all the same: its lock says who.
        Err(KeeperError::Away(_) | KeeperError::Silent(_)) => Ok(None),
        Err(error) => Err(failed(error).hint("`everup down` ends it")),
    }
}

/// A fleet that runs gets the new settings: its agents begin again with them, which touches neither gates nor apps.
fn take_over(
    settings: &Settings,
    changes: &Changes,
    info: &Info,
    context: &Context,
) -> Result<Exit, Failure> {
    let wanted = "everup.toml could not be taken over by the fleet that runs";
    if !changes.fixed.is_empty() {
        let happened = format!("{} can only change while the fleet is down", changes.fixed.join(", "));
        return Err(Failure::new(Exit::Busy, wanted, happened)
            .hint("undo that change, or `everup down` and `everup up`; nothing was changed"));
    }
    files::replace(&Places::of(settings).settings(), settings).map_err(|error| failed(chain(&error)))?;
    let instances = info.fleet.members.members.keys().cloned();
    let agents = instances.filter_map(|id| Identity::of(info.process(&Who::Agent(id))?));
    let told = agents.filter(|agent| agent.signal(Signal::TERM)).count();
    let what = changes.ready.join(", ");
    let document = serde_json::json!({ "taken_over": changes.ready, "agents": told });
    context.out.either(&document, || format!("{what} of everup.toml: taken over by the fleet that runs"));
    context.out.say(format!(
        "{} begin again with it; an app gets it when it is started",
        words::count(told, "agent")
    ));
    Ok(Exit::Done)
}

async fn keep(settings: &Settings, background: bool, context: &Context) -> Result<(), Failure> {
    let places = Places::of(settings);
    let house = Ourselves::new(settings);
    let keeping = Keeping::take(settings.clone(), house, TokioClock::start()).map_err(|e| failure(&e))?;
    Keyring::open_or_create(&places.keys()).map_err(|error| failed(chain(&error)))?;
    files::replace(&places.settings(), settings).map_err(|error| failed(chain(&error)))?;
    let (said, out) = (settings.clone(), context.out);
    spawn_local(async move {
        let ready = ready::wait(&said, out).await;
        if let Some(short) = ready.short().filter(|_| !background) {
            let why = "why is said above, and the keeper goes on trying";
            out.say(format!("{}: {}: {why}", paint::bad("trouble"), after(&short)));
        }
        if background {
            out.data(READY);
        } else if out.json {
            out.document(&document(&said, &ready));
        } else {
            out.say(greeting(&said, &ready, "Ctrl-C ends the fleet; a second one kills it"));
        }
        if !background {
            tell_trouble(&ready, out);
        }
    });
    if background {
        context.out.data(KEPT);
    } else {
        context.out.say(format!("{}; Ctrl-C ends it", starting(settings, "")));
        spawn_local(says_what_ctrl_c_waits_for(settings.clone(), out));
    }
    keeping.run().await.map_err(|error| failure(&error))
}

/// What a start waits for, and until when.
fn starting(settings: &Settings, place: &str) -> String {
    let Settings { environment, application, .. } = settings;
    format!(
        "starting {environment} of {application}{place}: its instances have {} s to be there, and {} to serve what was deployed",
        GATHERING.as_secs(),
        settings.deploy.start
    )
}

/// The keeper hears Ctrl-C itself.
async fn says_what_ctrl_c_waits_for(settings: Settings, out: Out) {
    if let Ok(mut interrupts) = Interrupts::listen() {
        interrupts.next().await;
        let (most, ending) = (down::longest(&settings), down::ending(&settings, Millis(u64::MAX)));
        out.say(format!("{ending}, {most} in all at most; Ctrl-C once more, or now if it is being ended already, kills what is left"));
    }
}

/// Starts this program again in the background, and waits until it says that the fleet is in service.
fn detach(settings: &Settings, context: &Context) -> Result<Exit, Failure> {
    let places = Places::of(settings);
    local::prepare(settings).map_err(|error| failed(chain(&error)))?;
    let log = files::log(&places.keeper_log(), settings.log.size).map_err(|error| failed(chain(&error)))?;
    let mut command = Command::new(program());
    command.args(["--verbose", "--json", "up", "--background"]);
    command.args(context.config.iter().flat_map(|path| [OsStr::new("--config"), path.as_os_str()]));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::from(log));
    let mut child = command.spawn().map_err(failed)?;
    let lines = child.stdout.take().map(|out| BufReader::new(out).lines());
    let mut said = String::new();
    let is_ready = lines.into_iter().flatten().map_while(Result::ok).any(|line| {
        match line.as_str() {
            KEPT => context.out.say(starting(settings, " in the background")),
            READY => return true,
            other => said.extend([other, "\n"]),
        }
        false
    });
    if !is_ready {
        return Err(ended(child.wait().map_err(failed)?, &said, &places));
    }
    let ready = block_on(async { Ok(ready::now(settings, context.out).await) })?;
    if let Some(short) = ready.short() {
        return Err(failed(after(&short))
            .details(warned(&places))
            .hint("the keeper goes on trying: `everup status` shows what is there, `everup down` ends it"));
    }
    if context.out.json {
        context.out.document(&document(settings, &ready));
    }
    context.out.say(greeting(settings, &ready, "`everup down` ends the fleet"));
    tell_trouble(&ready, context.out);
    Ok(ready.unknown.map_or(Exit::Done, |failure| failure.exit))
}

/// What of a fleet that is there is not known, and what to do about it.
fn tell_trouble(ready: &Ready, out: Out) {
    let hint = ready.unknown.as_ref().and_then(|failure| failure.hint.as_ref());
    let hint = hint.map(|hint| format!("\n\n{} {hint}", paint::hint("hint:"))).unwrap_or_default();
    if let Some(trouble) = ready.trouble() {
        out.say(format!("{}: {trouble}{hint}", paint::bad("trouble")));
    }
}

/// Some instances are missing.
fn after(short: &str) -> String {
    format!("only {short} are there after {} s", GATHERING.as_secs())
}

/// The last that a keeper in the background has warned of.
fn warned(places: &Places) -> String {
    let words = std::fs::read_to_string(places.keeper_log()).unwrap_or_default();
    let last = words.lines().rev().find_map(|line| line.split_once(" WARN "));
    last.map_or_else(String::new, |(_, warning)| format!("the keeper said: {}", warning.trim()))
}

/// A keeper in the background that ended before the fleet was in service: its own failure, or its log's last words.
fn ended(status: ExitStatus, said: &str, places: &Places) -> Failure {
    serde_json::from_str(said).ok().and_then(|said| failure_of(&said)).unwrap_or_else(|| {
        failed(format!("the keeper in the background ended ({status})")).details(warned(places))
    })
}

/// A failure as a command prints it.
fn failure_of(document: &serde_json::Value) -> Option<Failure> {
    let error = &document["error"];
    let word = |field: &str| error[field].as_str().map(str::to_owned);
    let exit = Exit::ALL.into_iter().find(|exit| error["exit"] == exit.code())?;
    let (wanted, happened) = (word("wanted")?, word("happened")?);
    Some(Failure { wanted, happened, hint: word("hint"), details: word("details"), exit })
}

/// Where everything is.
fn document(settings: &Settings, ready: &Ready) -> serde_json::Value {
    serde_json::json!({
        "application": settings.application,
        "environment": settings.environment,
        "service": format!("http://{}", settings.listen.address),
        "api": ready.api.as_ref().map(|api| format!("http://{api}")),
        "release": ready.release.as_ref().map(|release| &release.version),
        "deployment": ready.deployment,
        "instances": ready.instances,
        "desired": ready.desired,
        "in_service": ready.in_service,
        "trouble": ready.trouble(),
    })
}

/// Where everything is, and what to do next.
fn greeting(settings: &Settings, ready: &Ready, end: &str) -> String {
    let api = ready.api.as_ref().map(|api| format!("the API      http://{api}\n")).unwrap_or_default();
    let next = match (&ready.deployment, &ready.release) {
        _ if ready.unknown.is_some() => String::new(),
        (Some(id), _) => format!("deployment {id} goes on: `everup status --watch` follows it\n"),
        (None, Some(release)) => {
            format!("release {release} is in service on {} of {}\n", ready.in_service, ready.instances)
        }
        (None, None) => {
            "nothing is deployed yet: `everup publish FOLDER --version 1`, then `everup deploy 1`\n"
                .to_owned()
        }
    };
    format!("the service  http://{}\n{api}{next}{end}", settings.listen.address)
}

fn failed(happened: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, "the fleet could not be kept", happened)
}

fn failure(error: &KeepError) -> Failure {
    let failure = |exit| Failure::new(exit, "the fleet could not be kept", chain(error));
    match error {
        KeepError::Lock(LockError::Held(holder)) => {
            let since = TokioClock::start().wall().since(holder.since);
            let failure = failure(Exit::Busy);
            let happened = format!("{}, for {since}", failure.happened);
            Failure { happened, ..failure }.hint("`everup status` shows it, `everup down` ends it")
        }
        KeepError::TooDeep(_) => failure(Exit::BadInput),
        KeepError::Lock(_) => failure(Exit::Busy),
        KeepError::Listen(_) => {
            failure(Exit::BadInput).hint("`[listen] address` in everup.toml says where the service is")
        }
        KeepError::File(_) | KeepError::System(_) => failure(Exit::Internal),
    }
}
