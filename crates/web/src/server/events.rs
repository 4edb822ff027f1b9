//! `/v1/events`: each change of the status as a server-sent event.
//!
//! An event has the lines `id` (the status's number), `event: status`, `data` (the status) and `signature`, which
//! readers that know nothing of it pass over. A stream is as long as one coordinator's time: it ends when another
//! takes over, and when the agent ends; the reader opens it again.

use super::answer::{Answer, No};
use super::guard::{Caller, Streams};
use super::{Backend, Shared};
use crate::client::{Failure, Follow};
use crate::signing::sign_event;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use everup_core::ids::InstanceId;
use everup_core::status::Status;
use futures_util::stream::unfold;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// Something is sent at least this often.
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A stream of what this agent has read itself, because the coordinator does not answer, lasts so long: by then it may
/// answer again, or be another.
const MAKESHIFT: Duration = Duration::from_secs(5);

/// Where the statuses come from.
enum Source {
    /// This agent coordinates, or nobody does.
    Own,
    /// Another agent coordinates.
    Coordinator(Box<Follow>),
    /// Another one does, and does not answer.
    Makeshift { trouble: String, until: Instant },
}

struct Events {
    backend: Shared,
    source: Source,
    own: watch::Receiver<Arc<Status>>,
    stop: watch::Receiver<bool>,
    coordinator: Option<InstanceId>,
    caller: Caller,
    index: u64,
}

pub(super) async fn events(
    State(backend): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Answer<Response> {
    let source = source(&backend, &caller).await;
    let (mut own, stop) = (backend.status.clone(), backend.stop.clone());
    own.mark_changed();
    let coordinator = own.borrow().coordinator.clone();
    backend.look();
    let events = Events { backend, source, own, stop, coordinator, caller, index: 0 };
    let body = unfold(events, async |mut events| Some((Ok::<_, Infallible>(events.next().await?), events)));
    Response::builder()
        .header(CONTENT_TYPE, "text/event-stream")
        .header(CACHE_CONTROL, "no-store")
        .extension(Streams)
        .body(Body::from_stream(body))
        .map_err(|error| No::no_answer(error.to_string()))
}

async fn source(backend: &Backend, caller: &Caller) -> Source {
    let Some(holder) = backend.elsewhere(caller) else { return Source::Own };
    let events = async { backend.peers.client(&holder)?.forwarding(&backend.me.instance).events().await };
    match events.await {
        Ok(follow) => Source::Coordinator(Box::new(follow)),
        Err(failure) => makeshift(Some(&holder), &failure),
    }
}

fn makeshift(holder: Option<&InstanceId>, failure: &Failure) -> Source {
    let who = holder.map_or_else(String::new, |holder| format!(" {holder}"));
    Source::Makeshift {
        trouble: format!("the coordinator{who} does not answer: {failure}"),
        until: Instant::now() + MAKESHIFT,
    }
}

impl Events {
    /// The stream's next piece; nothing at its end.
    async fn next(&mut self) -> Option<Bytes> {
        match timeout(KEEP_ALIVE, self.news()).await {
            Ok(Some(status)) => self.write(&status),
            Ok(None) => None,
            Err(_) => {
                self.backend.look();
                Some(Bytes::from_static(b": waiting\n\n"))
            }
        }
    }

    /// Safe to drop: what was not told is told by the next call.
    async fn news(&mut self) -> Option<Arc<Status>> {
        let Self { source, own, stop, coordinator, .. } = self;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => None,
            news = next(source, own, coordinator.as_ref()) => news,
        }
    }

    fn write(&mut self, status: &Status) -> Option<Bytes> {
        let data = serde_json::to_string(status).ok()?;
        let signature = sign_event(&self.caller.key, &self.caller.nonce, self.index, &data);
        self.index += 1;
        Some(format!("id: {}\nevent: status\ndata: {data}\nsignature: {signature}\n\n", status.seq).into())
    }
}

async fn next(
    source: &mut Source,
    own: &mut watch::Receiver<Arc<Status>>,
    coordinator: Option<&InstanceId>,
) -> Option<Arc<Status>> {
    match source {
        Source::Own => changed(own, coordinator).await,
        Source::Makeshift { trouble, until } => {
            let mut status = timeout_at(*until, changed(own, coordinator)).await.ok()??;
            Arc::make_mut(&mut status).trouble.get_or_insert_with(|| trouble.clone());
            Some(status)
        }
        Source::Coordinator(follow) => {
            let failure = tokio::select! {
                status = follow.next() => match status {
                    Ok(status) => return status.map(Arc::new),
                    Err(failure) => failure,
                },
                _ = own.wait_for(|now| now.coordinator.as_ref() != coordinator) => return None,
            };
            *source = makeshift(coordinator, &failure);
            own.mark_changed();
            Box::pin(next(source, own, coordinator)).await
        }
    }
}

/// This agent's next status; nothing when the coordinator is another.
async fn changed(
    own: &mut watch::Receiver<Arc<Status>>,
    coordinator: Option<&InstanceId>,
) -> Option<Arc<Status>> {
    own.changed().await.ok()?;
    let status = own.borrow_and_update().clone();
    (status.coordinator.as_ref() == coordinator).then_some(status)
}
