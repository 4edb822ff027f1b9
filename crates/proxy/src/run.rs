//! A proxy from its start to its end.

use crate::config::Config;
use crate::control::server;
use crate::gates::Gates;
use crate::meter::Meter;
use crate::proxy::Proxy;
use crate::state::Disk;
use everup_core::time::{Millis, Wall};
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;
use tokio::task::LocalSet;

/// Where a proxy keeps what is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Its control socket.
    pub control: PathBuf,
    /// Its slots; beside it, with other endings, its lock and its counters.
    pub state: PathBuf,
}

/// Why a proxy does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file or a socket.
    #[error("{wanted}: {cause}")]
    Io {
        /// What was wanted.
        wanted: String,
        /// What happened.
        #[source]
        cause: io::Error,
    },
    /// The one that runs does not let itself be replaced.
    #[error("the proxy that runs stays: {0}")]
    Refused(String),
}

/// Runs a proxy on `listener` until it has been replaced.
///
/// # Errors
/// When its files or sockets cannot be used, or the proxy that it was to replace refuses.
pub async fn run(config: Config, listener: TcpListener, places: Places) -> Result<(), RunError> {
    LocalSet::new().run_until(serve(config, listener, places)).await
}

async fn serve(config: Config, _listener: TcpListener, places: Places) -> Result<(), RunError> {
    let (disk, kept) = Disk::open(places.state).map_err(|e| io_error("read the gates' state", e))?;
    let since = wall();
    let gates = Gates::new(config.limits, kept, since.0);
    let proxy = Rc::new(Proxy::new(config, gates, Meter::default(), disk, since));
    let control = server::bind(&places.control).map_err(|e| io_error("open the control socket", e))?;
    tokio::task::spawn_local(Rc::clone(&proxy.gates).keep_time());
    tokio::task::spawn_local(Rc::clone(&proxy).keep_stored());
    server::serve(proxy, control).await;
    Ok(())
}

fn io_error(wanted: &str, cause: io::Error) -> RunError {
    RunError::Io { wanted: wanted.to_owned(), cause }
}

fn wall() -> Wall {
    Wall(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| Millis::from(d).0))
}
