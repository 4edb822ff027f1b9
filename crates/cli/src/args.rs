//! The arguments. Each command's own are beside it, in `cmd/<noun>.rs`.

use crate::cmd;
use crate::exit::Exit;
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Where the help lists what every command understands.
const EVERYWHERE: &str = "Everywhere";

/// Zero-downtime deployments for fleets, with no deploy server.
#[derive(Debug, Parser)]
#[command(name = "everup", version, about, after_help = Exit::help(), max_term_width = 100)]
pub struct Args {
    /// What every command understands.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Global {
    /// Write data as JSON on stdout; one document, or one a line where something is followed
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// The everup.toml to use [default: the nearest one from this folder upwards]
    #[arg(long, global = true, value_name = "FILE", env = "EVERUP_CONFIG", hide_env_values = true, help_heading = EVERYWHERE)]
    pub config: Option<PathBuf>,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN", help_heading = EVERYWHERE)]
    pub color: Colour,
    /// Say more on stderr; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = EVERYWHERE)]
    pub verbose: u8,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at the folder and write an everup.toml for it
    Init(cmd::init::Args),
    /// Run the fleet on this machine
    Up(cmd::up::Args),
    /// End the fleet on this machine
    Down(cmd::down::Args),
    /// Store a release: a folder, a zip or a tar.gz
    Publish(cmd::publish::Args),
    /// Move the fleet to a release
    Deploy(cmd::deploy::Args),
    /// Show the fleet and the deployment that runs
    Status(cmd::status::Args),
    /// List the releases in the store
    Versions(cmd::versions::Args),
    /// List the deployments, each with its receipt
    History(cmd::history::Args),
    /// Go back to the last proven release
    Rollback(cmd::rollback::Args),
    /// Grant no further instance to the deployment that runs
    Pause(cmd::word::PauseArgs),
    /// Go on with a deployment that is paused, or say what became of its migration
    Resume(cmd::word::ResumeArgs),
    /// End the deployment that runs: the fleet goes back
    Abort(cmd::word::AbortArgs),
    /// Change how many instances the fleet has
    Scale(cmd::scale::Args),
    /// Show the product at work on this machine
    Demo(cmd::demo::Args),
    /// Look for what is wrong with this machine, the settings and the fleet
    Doctor(cmd::doctor::Args),
    /// Show and change the keys that sign the fleet's messages
    Keys(cmd::keys::Args),
    /// One instance's agent; started by `up`
    #[command(hide = true)]
    Agent(cmd::agent::Args),
    /// A proxy, or the balancer; started by `up`
    #[command(hide = true)]
    Proxy(cmd::proxy::Args),
    /// One app's parent; started by an agent
    #[command(hide = true)]
    Minder(cmd::minder::Args),
    /// The demo's app, and its migration
    #[command(hide = true)]
    DemoApp(cmd::demo_app::Args),
}
