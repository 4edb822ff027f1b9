//! The listening socket, and the clients' connections.

use crate::clients::Client;
use crate::handle::handle;
use crate::io::Counted;
use crate::proxy::{Proxy, Service};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// After an accept that failed, and where no idle connection could be closed, another try is made after this.
const BREATH: Duration = Duration::from_millis(50);

/// Descriptors that are not for clients and apps: files, control sockets, the listening socket.
const RESERVE: u64 = 64;

/// Room for fewer clients is worth a warning: two tabs of a hundred browsers take as much.
const FEW: u32 = 1_000;

/// Raises the descriptor limit as far as it goes; how many clients that allows, each with a connection to an app.
pub(crate) fn room_for_clients(wanted: u32) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!("cannot raise the descriptor limit: {e}");
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(limit.saturating_sub(RESERVE) / 2).unwrap_or(usize::MAX);
    if room < wanted.min(FEW) as usize {
        tracing::warn!(
            "the descriptor limit of {limit} allows {room} clients at once; raise it (ulimit -Hn, LimitNOFILE=)"
        );
    } else if room < wanted as usize {
        tracing::info!("the descriptor limit of {limit} allows {room} clients at once");
    }
    room.min(wanted as usize)
}

/// Accepts until this process retires; then returns how long it has.
pub(crate) async fn accept(proxy: &Rc<Proxy>, listener: TcpListener, room: usize) -> Duration {
    let mut service = proxy.service();
    let mut complaints = Complaints::default();
    loop {
        let now = *service.borrow_and_update();
        match now {
            Service::Retiring(within) => return within.as_duration(),
            Service::Paused => drop(service.changed().await),
            Service::Accepting => tokio::select! {
                _ = service.changed() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if proxy.clients.count() >= room {
                            make_room(proxy).await;
                        }
                        begin(proxy, stream, &proxy.clients.opened(peer.ip().to_canonical()));
                    }
                    Err(e) => {
                        complaints.note(&e);
                        if !make_room(proxy).await {
                            tokio::time::sleep(BREATH).await;
                        }
                    }
                }
            },
        }
    }
}

/// Closes an idle connection, if there is one: its descriptor is free when this is done.
async fn make_room(proxy: &Proxy) -> bool {
    let made = proxy.clients.close_idlest();
    // The aborted task is dropped when it would have run next.
    tokio::task::yield_now().await;
    made
}

/// At most one line a second.
#[derive(Default)]
struct Complaints(Option<Instant>);

impl Complaints {
    fn note(&mut self, error: &io::Error) {
        if self.0.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
            self.0 = Some(Instant::now());
            tracing::warn!("cannot accept connections: {error}; those that are idle are closed to make room");
        }
    }
}

fn begin(proxy: &Rc<Proxy>, stream: TcpStream, client: &Rc<Client>) {
    let task = tokio::task::spawn_local(serve(Rc::clone(proxy), stream, Rc::clone(client)));
    client.served_by(task.abort_handle());
}

/// One connection, from its first byte to its last.
async fn serve(proxy: Rc<Proxy>, stream: TcpStream, client: Rc<Client>) {
    if let Err(e) = stream.set_nodelay(true).and_then(|()| keep_alive(&stream)) {
        tracing::debug!("a client's connection: {e}");
    }
    let mut stream = Counted::new(stream);
    let limit = proxy.config.client_idle.as_duration();
    let Ok(Ok(http2)) = tokio::time::timeout(limit, stream.speaks_http2()).await else { return };
    let served = if http2 {
        serve_http2(&proxy, stream, client).await
    } else {
        serve_http1(&proxy, stream, client).await
    };
    if let Err(e) = served {
        tracing::debug!("a client's connection ended: {e}");
    }
}

/// A client that vanished without a word is noticed, some hours later.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_keepalive(stream, true)?)
}

/// hyper's graceful shutdown is never used here: it closes an idle connection at once, and the request that is on
/// its way meets a reset. Each answer's `Connection: close` ends it instead.
async fn serve_http1(proxy: &Rc<Proxy>, stream: Counted, client: Rc<Client>) -> hyper::Result<()> {
    client.ends_when_idle(stream.traffic());
    let service = service_fn(|request| handle(Rc::clone(proxy), Rc::clone(&client), request));
    http1::Builder::new()
        // `overdue` closes those that are idle.
        .header_read_timeout(None)
        .max_header_size(proxy.config.head_bytes as usize)
        .serve_connection(stream.hyper(), service)
        .with_upgrades()
        .await
}

/// GOAWAY in two steps: what the client has begun meanwhile is still answered.
async fn serve_http2(proxy: &Rc<Proxy>, stream: Counted, client: Rc<Client>) -> hyper::Result<()> {
    let service = service_fn(|request| handle(Rc::clone(proxy), Rc::clone(&client), request));
    let mut connection = pin!(
        http2::Builder::new(Local)
            .timer(TokioTimer::new())
            .max_concurrent_streams(proxy.config.limits.requests.max(250))
            .max_header_list_size(proxy.config.head_bytes)
            .keep_alive_interval(proxy.config.client_idle.as_duration())
            .serve_connection(stream.hyper(), service)
    );
    tokio::select! {
        served = connection.as_mut() => return served,
        () = proxy.goodbye.notified() => {}
        () = proxy.retires() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// Runs hyper's tasks on this thread.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
