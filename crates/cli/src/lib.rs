//! The command line: the only place where everything meets. Arguments, settings, one file a command, and the one
//! place that prints.

pub mod args;
pub mod changes;
pub mod cmd;
pub mod config;
pub mod context;
pub mod demo;
pub mod endings;
pub mod exit;
pub mod failure;
pub mod follow;
pub mod foresight;
pub mod load;
pub mod output;
pub mod progress;
pub mod reach;
pub mod records;
pub mod store;
mod talk;
pub mod view;
pub mod wait;
pub mod websocket;
pub mod wire_up;

use args::{Args, Command};
use clap::Parser;
use context::Context;
use exit::Exit;
use failure::Failure;
use std::process::ExitCode;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::try_parse().unwrap_or_else(|error| not_understood(&error));
    talk::start(args.global.verbose, &args.command);
    let exit = match Context::new(&args.global) {
        Ok(context) => run(&args.command, &context).unwrap_or_else(|failure| {
            context.out.failure(&failure);
            failure.exit
        }),
        Err(failure) => output::last_words(&failure),
    };
    ExitCode::from(exit.code())
}

/// The usage goes to stderr; a program that asked for JSON finds its error on stdout, as it does all others.
fn not_understood(error: &clap::Error) -> ! {
    if error.use_stderr() && std::env::args_os().any(|word| word == "--json") {
        let happened = anstream::adapter::strip_str(&error.to_string()).to_string();
        output::refused(&Failure::input("the command was not understood", happened.trim_end()));
    }
    error.exit()
}

fn run(command: &Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Init(args) => cmd::init::run(args, context),
        Command::Up(args) => cmd::up::run(args, context),
        Command::Down(args) => cmd::down::run(args, context),
        Command::Publish(args) => cmd::publish::run(args, context),
        Command::Deploy(args) => cmd::deploy::run(args, context),
        Command::Status(args) => cmd::status::run(args, context),
        Command::Versions(args) => cmd::versions::run(args, context),
        Command::History(args) => cmd::history::run(args, context),
        Command::Rollback(args) => cmd::rollback::run(args, context),
        Command::Pause(args) => cmd::word::pause(args, context),
        Command::Resume(args) => cmd::word::resume(args, context),
        Command::Abort(args) => cmd::word::abort(args, context),
        Command::Scale(args) => cmd::scale::run(args, context),
        Command::Demo(args) => cmd::demo::run(args, context),
        Command::Doctor(args) => cmd::doctor::run(args, context),
        Command::Keys(args) => cmd::keys::run(args, context),
        Command::Agent(args) => cmd::agent::run(args, context),
        Command::Proxy(args) => cmd::proxy::run(args, context),
        Command::Minder(args) => cmd::minder::run(args, context),
        Command::DemoApp(args) => cmd::demo_app::run(args, context),
    }
}
