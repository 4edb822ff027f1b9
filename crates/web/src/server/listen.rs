//! Serves the API on a listening socket that somebody else opened and keeps.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// So many connections at once; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 1_024;

/// A request's head has arrived within this, counted from the connection's start or the answer before.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// The largest head, and the buffer of each connection.
const LARGEST_HEAD: usize = 32 << 10;

/// Calls inside have so long when the agent ends.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Serves `app` on `listener` until `stop` becomes true; then lets the calls inside end.
///
/// # Errors
/// When the socket cannot be used at all. A connection that fails is no error.
pub async fn serve(
    listener: std::net::TcpListener,
    app: Router,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let served = connection(stream, app.clone(), stop.clone());
                connections.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => pause(&error).await,
        }
        while connections.try_join_next().is_some() {}
    }
    // Whoever is still inside after this is cut.
    let _ = timeout(END_WITHIN, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Out of descriptors: without a pause the loop would spin until one is free.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection to the API");
    sleep(Duration::from_millis(50)).await;
}

/// Waits until the agent is to end; its end itself counts as well.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection(stream: TcpStream, app: Router, mut stop: watch::Receiver<bool>) {
    // A small answer must not wait for the acknowledgement of the packet before it.
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = told(&mut stop) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the API ended");
    }
}
