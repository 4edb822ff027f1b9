//! `everup deploy`: moves the fleet to a release, and follows it to its end.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use everup_core::ids::Version;
use everup_core::policy::{Size, Strategy};

/// Arguments of `everup deploy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The release
    pub version: Version,
    /// Which way: rolling or all-at-once [default: everup.toml's, or all-at-once for a release with a migration that was not applied]
    #[arg(long, value_name = "WAY", value_parser = strategy)]
    pub strategy: Option<Strategy>,
    /// How many at a time: a number, or a percentage
    #[arg(long, value_name = "SIZE")]
    pub batch: Option<Size>,
    /// How many stay in service: a number, or a percentage
    #[arg(long, value_name = "SIZE")]
    pub min_in_service: Option<Size>,
    /// Start the new release beside the old one on each instance
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    pub overlap: Option<bool>,
    /// So many instances may fail before the deployment goes back
    #[arg(long, value_name = "N")]
    pub max_failures: Option<u32>,
    /// A name for this request: sent twice, it is one deployment
    #[arg(long, value_name = "NAME")]
    pub idempotency: Option<String>,
    /// How to follow it
    #[command(flatten)]
    pub follow: Follow,
}

/// How a deployment is followed.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Follow {
    /// Say which deployment it is, and do not follow it
    #[arg(long)]
    pub detach: bool,
}

fn strategy(text: &str) -> Result<Strategy, String> {
    match text {
        "rolling" => Ok(Strategy::Rolling),
        "all-at-once" => Ok(Strategy::AllAtOnce),
        _ => Err("expected rolling or all-at-once".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Internal, "`everup deploy` could not run", "it is not built yet"))
}
