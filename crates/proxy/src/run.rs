//! A proxy from its start to its end.

use crate::check;
use crate::config::Config;
use crate::control::server;
use crate::gates::Gates;
use crate::meter::{Lane, Meter, wall};
use crate::overdue;
use crate::proxy::Proxy;
use crate::serve;
use crate::state::Disk;
use crate::succession::{self, Predecessor};
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::LocalSet;

/// For the last goodbyes of a process that ends.
const LAST: Duration = Duration::from_secs(2);

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
    /// A file or a socket cannot be used.
    #[error("wanted to {wanted}: {cause}")]
    Io {
        /// What was wanted.
        wanted: &'static str,
        /// What happened.
        #[source]
        cause: io::Error,
    },
    /// The one that runs does not let itself be replaced now.
    #[error("the proxy that runs stays: {0}")]
    Refused(String),
}

/// Runs a proxy on `listener`, which somebody else holds too, so that the port never closes. If one runs already on
/// the same places it is replaced: it stops accepting when this one is ready, and finishes its connections.
///
/// Done when this one has been replaced in its turn and all its connections have ended.
///
/// # Errors
/// When its files or sockets cannot be used, or the proxy that it was to replace refuses.
pub async fn run(config: Config, listener: TcpListener, places: Places) -> Result<(), RunError> {
    LocalSet::new().run_until(serve(config, listener, places)).await
}

async fn serve(config: Config, listener: TcpListener, places: Places) -> Result<(), RunError> {
    listener.set_nonblocking(true).map_err(wanted("use the listening socket"))?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(wanted("use the listening socket"))?;
    let room = serve::room_for_clients(config.clients);
    let predecessor = succession::pause(&places).await?;
    let proxy = build(config, &places, predecessor.lane())?;
    proxy.set_junior(predecessor.runs());
    let control = server::bind(&places.control).map_err(wanted("open the control socket"))?;
    tokio::task::spawn_local(Rc::clone(&proxy.gates).keep_time());
    tokio::task::spawn_local(Rc::clone(&proxy).keep_stored());
    tokio::task::spawn_local(Rc::clone(&proxy.pool).keep_tidy());
    tokio::task::spawn_local(Rc::clone(&proxy.meter).keep());
    tokio::task::spawn_local(overdue::end(Rc::clone(&proxy)));
    tokio::task::spawn_local(check::keep(Rc::clone(&proxy)));
    tokio::task::spawn_local(server::serve(Rc::clone(&proxy), control));
    tokio::task::spawn_local(succeed(Rc::clone(&proxy), predecessor));
    let within = serve::accept(&proxy, listener, room).await;
    finish(&proxy, within).await;
    Ok(())
}

/// What is left after `within` is ended as well as it can be.
async fn finish(proxy: &Proxy, within: Duration) {
    if tokio::time::timeout(within, proxy.clients.until_none()).await.is_err() {
        proxy.gates.end_all();
        drop(tokio::time::timeout(LAST, proxy.clients.until_none()).await);
        proxy.clients.close_all();
    }
}

fn build(config: Config, places: &Places, lane: Lane) -> Result<Rc<Proxy>, RunError> {
    let (disk, kept) = Disk::open(places.state.clone()).map_err(wanted("read the gates' state"))?;
    let meter =
        Meter::open(&places.state.with_extension("counts"), lane).map_err(wanted("open the counters"))?;
    let since = wall();
    let gates = Gates::new(config.limits, kept, since.0);
    Ok(Rc::new(Proxy::new(config, gates, meter, disk, since)))
}

/// Orders are taken when the predecessor has ended. The lock is kept for as long as this process runs.
async fn succeed(proxy: Rc<Proxy>, predecessor: Predecessor) {
    let _lock = predecessor.retire(proxy.config.client_idle).await;
    proxy.meter.inherit();
    proxy.set_junior(false);
    std::future::pending::<()>().await;
}

pub(crate) fn wanted(wanted: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |cause| RunError::Io { wanted, cause }
}
