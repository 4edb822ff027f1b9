//! `everup demo-app`: the demo's app, and its migration.

use crate::context::{Context, block_on};
use crate::demo::app::{App, port};
use crate::demo::database;
use crate::exit::Exit;
use crate::failure::Failure;
use std::path::PathBuf;

/// Arguments of `everup demo-app`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub what: What,
}

/// What the demo's app does.
#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// Serve, on the port that PORT names
    Serve {
        /// The database's file
        #[arg(long, value_name = "FILE")]
        database: PathBuf,
    },
    /// Bring the database to the next schema
    Migrate {
        /// The database's file
        #[arg(long, value_name = "FILE")]
        database: PathBuf,
    },
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    match &args.what {
        What::Serve { database } => block_on(serve(database.clone(), context)),
        What::Migrate { database } => {
            let failed = |e| Failure::input("the database could not be migrated", crate::failure::chain(&e));
            database::migrate(database).map_err(failed)?;
            context.out.say("the database has schema 2");
            Ok(Exit::Done)
        }
    }
}

async fn serve(database: PathBuf, context: &Context) -> Result<Exit, Failure> {
    let failed = |happened| Failure::input("the demo's app could not start", happened);
    let app = App::from_environment(&database).map_err(failed)?;
    let port = port().map_err(failed)?;
    context.out.say("the demo's app starts");
    let death = App::death(app.character.flaw);
    tokio::select! {
        served = app.serve(port) => served.map(|()| Exit::Done).map_err(|e| failed(e.to_string())),
        () = death => Err(failed("this release is broken: it dies after two seconds".to_owned())),
    }
}
