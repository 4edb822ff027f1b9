//! Deployments: listed, begun, spoken to.

use super::answer::{Answer, Body, No, Query};
use super::forward::Asked;
use super::guard::Caller;
use super::{Backend, Shared};
use crate::wire::{Deploy, Fault, Started, Words};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use everup_core::head::Request;
use everup_core::ids::{DeploymentId, Version, WriteId};
use everup_core::policy::Strategy;
use everup_core::record::{Record, Word};
use http::StatusCode;
use serde::Deserialize;

/// So many are listed.
const LISTED: usize = 50;

/// `?version=&strategy=`, of the simplest way to begin a deployment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upgrade {
    version: Version,
    strategy: Option<Strategy>,
}

pub(super) async fn list(State(backend): State<Shared>) -> Answer<Json<Vec<Record>>> {
    Ok(Json(backend.library.records(LISTED).await?))
}

pub(super) async fn one(State(backend): State<Shared>, Path(id): Path<String>) -> Answer<Json<Record>> {
    let found = match named(&id)? {
        Some(id) => backend.library.record(&id).await?,
        None => backend.status_now().record.clone(),
    };
    let unknown = || {
        No::new(
            StatusCode::NOT_FOUND,
            Fault::new("unknown-deployment", format!("there is no deployment {id}")),
        )
    };
    found.map(Json).ok_or_else(unknown)
}

pub(super) async fn upgrade(
    State(backend): State<Shared>,
    Extension(caller): Extension<Caller>,
    Query(upgrade): Query<Upgrade>,
) -> Answer<(StatusCode, Json<Started>)> {
    let mut policy = backend.policy.clone();
    policy.strategy = upgrade.strategy.unwrap_or(policy.strategy);
    let by = format!("POST /upgrade with the key {}", caller.key.id);
    let deploy =
        Deploy { version: upgrade.version, policy: Some(policy), by, take_back: None, idempotency: None };
    backend.begin(&caller, deploy).await
}

pub(super) async fn deploy(
    State(backend): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(deploy): Body<Deploy>,
) -> Answer<(StatusCode, Json<Started>)> {
    backend.begin(&caller, deploy).await
}

pub(super) async fn say(
    State(backend): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(mut words): Body<Words>,
) -> Answer<Json<Word>> {
    let id = named(&id)?;
    // Without one, a call that has to be repeated could be heard twice.
    words.id = words.id.or_else(|| WriteId::new(caller.nonce.clone()).ok());
    let asked = backend.ask_coordinator(&caller, |coordinator| {
        let (id, words) = (id.clone(), words.clone());
        async move { coordinator.say(id.as_ref(), &words).await }
    });
    match asked.await? {
        Asked::Answered(word) => Ok(Json(word)),
        Asked::Here => backend.say(words.say, words.by, id, words.id).await.map(Json),
    }
}

/// Of an idempotency key, in bytes: head keeps the last ones.
const LONGEST_KEY: usize = 128;

impl Backend {
    /// Begins a deployment, through the coordinator if it is another agent.
    async fn begin(&self, caller: &Caller, mut deploy: Deploy) -> Answer<(StatusCode, Json<Started>)> {
        // The agent that was asked fills in its settings: the coordinator's may be others.
        deploy.policy.get_or_insert_with(|| self.policy.clone());
        // Without one, a call that has to be repeated could begin a second deployment.
        deploy.idempotency.get_or_insert_with(|| caller.nonce.clone());
        let handed_on = deploy.clone();
        let asked =
            self.ask_coordinator(caller, |coordinator| async move { coordinator.deploy(&handed_on).await });
        let started = match asked.await? {
            Asked::Answered(started) => started,
            Asked::Here => self.begin_here(deploy).await?,
        };
        Ok((StatusCode::ACCEPTED, Json(started)))
    }

    async fn begin_here(&self, deploy: Deploy) -> Answer<Started> {
        if deploy.idempotency.as_ref().is_some_and(|key| key.len() > LONGEST_KEY) {
            return Err(No::bad_input(format!("an idempotency key has at most {LONGEST_KEY} bytes")));
        }
        let to = self.resolve(&deploy.version).await?;
        let request = Request {
            to: to.clone(),
            policy: deploy.policy.unwrap_or_else(|| self.policy.clone()),
            by: deploy.by,
            at: (self.clock)(),
            // Both are the engine's to fill in: head and manifest say.
            from: None,
            migration: None,
            applied_before: None,
            take_back: deploy.take_back,
            idempotency: deploy.idempotency,
        };
        Ok(Started { deployment: self.deploy(request).await?, to })
    }
}

/// The deployment's id; nothing for `current`.
fn named(id: &str) -> Answer<Option<DeploymentId>> {
    match id {
        "current" => Ok(None),
        id => DeploymentId::new(id).map(Some).map_err(|error| No::bad_input(error.to_string())),
    }
}
