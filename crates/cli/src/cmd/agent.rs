//! `everup agent`: one instance's agent, started by the keeper. Its API's listening socket is descriptor 0.

use super::proxy::{inherited, read_settings};
use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::wire_up::agent::{self, Seat};
use everup_core::ids::{InstanceId, Zone};
use everup_host::local::ports::Block;
use std::path::PathBuf;

/// Arguments of `everup agent`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The settings, as the keeper resolved them
    #[arg(long, value_name = "FILE")]
    pub settings: PathBuf,
    /// Which instance
    #[arg(long, value_name = "ID")]
    pub instance: InstanceId,
    /// Its zone
    #[arg(long, value_name = "ZONE")]
    pub zone: Zone,
    /// The first of its ports
    #[arg(long, value_name = "PORT")]
    pub port: u16,
}

/// Runs the command.
///
/// # Errors
/// With what was wanted and what happened.
pub fn run(args: &Args, _context: &Context) -> Result<Exit, Failure> {
    let settings = read_settings(&args.settings)?;
    let seat = Seat { id: args.instance.clone(), zone: args.zone.clone(), block: Block(args.port) };
    let listener = inherited()?;
    block_on(agent::run(settings, seat, listener))
}
