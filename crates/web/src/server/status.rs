//! What anybody with a key may know.

use super::answer::{Answer, Query};
use super::guard::Caller;
use super::{Backend, LONG_POLL, Shared};
use crate::metrics;
use crate::wire::{Fleet, Runs};
use axum::extract::State;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use everup_core::ids::InstanceId;
use everup_core::receipt::Window;
use everup_core::status::Status;
use everup_core::time::Wall;
use everup_engine::prober::Samples;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::time::timeout;

/// `?since=&of=`: the sequence number of the caller's status, and the agent that gave it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Have {
    since: Option<u64>,
    of: Option<InstanceId>,
}

/// `?from=&to=`, milliseconds since 1970 by this machine's clock.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Between {
    from: u64,
    to: u64,
}

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn pointer() -> &'static str {
    "everup agent\n\
     GET /version  POST /upgrade?version=&strategy=\n\
     GET /v1/status?since=&of=  /v1/events  /v1/fleet  /v1/versions  /v1/probes?from=&to=  /metrics\n\
     GET, POST /v1/deployments  GET /v1/deployments/{id}  POST /v1/deployments/{id}/words\n\
     GET /v1/openapi.json describes all of it\n"
}

pub(super) async fn version(State(backend): State<Shared>) -> Json<Runs> {
    let status = backend.status_now();
    let me = backend.me.clone();
    let line = status.instances.iter().find(|line| line.id == me.instance);
    let release = line.and_then(|line| line.release.clone());
    Json(Runs {
        version: release.as_ref().map(|release| release.version.clone()),
        manifest: release.map(|release| release.manifest),
        instance: me.instance,
        environment: me.environment,
        in_service: line.is_some_and(|line| line.in_service),
    })
}

pub(super) async fn status(
    State(backend): State<Shared>,
    Extension(caller): Extension<Caller>,
    Query(have): Query<Have>,
) -> Answer<Json<Status>> {
    backend.best_status(&caller, &have).await.map(Json)
}

pub(super) async fn fleet(
    State(backend): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Answer<Json<Fleet>> {
    let status = backend.best_status(&caller, &Have { since: None, of: None }).await?;
    let Status { desired, coordinator, instances, .. } = status;
    Ok(Json(Fleet { desired, coordinator, instances }))
}

pub(super) async fn metrics(State(backend): State<Shared>) -> Answer<impl IntoResponse> {
    let text = metrics::text(&backend.status_now()) + &backend.library.metrics().await?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

pub(super) async fn probes(
    State(backend): State<Shared>,
    Query(between): Query<Between>,
) -> Answer<Json<Samples>> {
    let window = Window { from: Wall(between.from), to: Wall(between.to) };
    Ok(Json(backend.library.probes(window).await?))
}

impl Backend {
    /// The coordinator's status; if it does not answer, what this agent has read itself, with that trouble.
    async fn best_status(&self, caller: &Caller, have: &Have) -> Answer<Status> {
        let Some(holder) = self.elsewhere(caller) else { return Ok(self.own_status(have).await) };
        let asked = async {
            let client = self.peers.client(&holder)?.forwarding(&self.me.instance);
            client.status(have.since.zip(have.of.as_ref())).await
        };
        let trouble = tokio::select! {
            asked = asked => match asked {
                Ok(status) => return Ok(status),
                Err(failure) => format!("the coordinator {holder} does not answer: {failure}"),
            },
            () = self.is_deposed(&holder) => format!("the coordinator was {holder}, and is no longer"),
        };
        let mut status = Status::clone(&self.status_now());
        status.trouble.get_or_insert(trouble);
        Ok(status)
    }

    /// This agent's status, once it is another than the caller has; the same after a while.
    async fn own_status(&self, have: &Have) -> Status {
        self.look();
        let (mut now, mut stop) = (self.status.clone(), self.stop.clone());
        let is_news = |status: &Status| match (have.since, &have.of) {
            (None, _) => true,
            (Some(_), Some(of)) if of != &status.instance => true,
            (Some(since), _) => status.seq != since,
        };
        let waited = async {
            tokio::select! {
                _ = now.wait_for(|status| is_news(status)) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        };
        // What is not news after this time is told again.
        let _ = timeout(LONG_POLL, waited).await;
        Status::clone(&self.status_now())
    }
}
