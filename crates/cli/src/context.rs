//! What every command has at hand: the global arguments, the folder it was called in, and where its words go.

use crate::args::Global;
use crate::config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Out;
use everup_host::settings::Settings;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

/// What every command has at hand.
#[derive(Debug)]
pub struct Context {
    /// Where words and data go.
    pub out: Out,
    /// The everup.toml that `--config` names.
    pub config: Option<PathBuf>,
    /// The folder that the command was called in.
    pub here: PathBuf,
}

impl Context {
    /// From the global arguments.
    ///
    /// # Errors
    /// When the present folder is gone.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let gone = |error| Failure::input("the present folder cannot be used", error);
        let here = std::env::current_dir().map_err(gone)?;
        Ok(Self { out: Out::new(global), config: global.config.clone(), here })
    }

    /// The everup.toml that the command was called for.
    ///
    /// # Errors
    /// When there is none.
    pub fn config_file(&self) -> Result<PathBuf, Failure> {
        Ok(config::place(self.config.as_deref(), &self.here)?)
    }

    /// The settings of the application that the command was called for.
    ///
    /// # Errors
    /// When there is no everup.toml, or it has mistakes.
    pub fn settings(&self) -> Result<Settings, Failure> {
        Ok(config::load(self.config.as_deref(), &self.here)?)
    }
}

/// What was begun on threads, and that nobody waits for any more, has so long to end.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Runs `work` on a runtime of its own, on this thread.
///
/// # Errors
/// Those of `work`, and when the machine gives no runtime.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let refused = |error| Failure::new(Exit::Internal, "the command could not begin", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
    let done = tokio::task::LocalSet::new().block_on(&runtime, work);
    // A thread that waits for a disk that hangs would keep what was found out from being told.
    runtime.shutdown_timeout(LAST_WORK);
    done
}
