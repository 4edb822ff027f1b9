//! The API's calls.

use super::{ANSWER, Believed, Call, Client, Failure};
use crate::signing::nonce;
use crate::wire::{Deploy, Fleet, Greeting, Runs, Started, VersionLine, Words};
use bytes::Bytes;
use everup_core::ids::{DeploymentId, InstanceId, Term, Version};
use everup_core::instance::View;
use everup_core::order::{Ack, Order};
use everup_core::policy::Strategy;
use everup_core::receipt::Window;
use everup_core::record::{Record, Word};
use everup_core::status::Status;
use everup_engine::prober::Samples;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// A long poll for people is answered within 25 s ([`crate::server::LONG_POLL`]); this much more is waited for it.
const SLACK: Duration = Duration::from_secs(11);

/// A deployment's start and a word write to the store, and may have to write again.
const WRITE: Duration = Duration::from_secs(30);

/// A prober waits some seconds for its requests to end.
const PROBED: Duration = Duration::from_secs(8);

impl Client {
    /// `GET /version`: what the instance runs.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn version(&self) -> Result<Runs, Failure> {
        self.get("/version".into(), ANSWER).await
    }

    /// `GET /v1/status`: the present one, or, with what the caller has (`(seq, instance)` of it), the next.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn status(&self, since: Option<(u64, &InstanceId)>) -> Result<Status, Failure> {
        match since {
            None => self.get("/v1/status".into(), ANSWER * 2).await,
            Some((seq, of)) => {
                let target = format!("/v1/status?since={seq}&of={of}");
                self.get(target, crate::server::LONG_POLL + SLACK).await
            }
        }
    }

    /// `GET /v1/fleet`.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn fleet(&self) -> Result<Fleet, Failure> {
        self.get("/v1/fleet".into(), ANSWER * 2).await
    }

    /// `GET /v1/versions`: newest first.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn versions(&self) -> Result<Vec<VersionLine>, Failure> {
        self.get("/v1/versions".into(), WRITE).await
    }

    /// `GET /v1/deployments`: the last ones, newest first.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn deployments(&self) -> Result<Vec<Record>, Failure> {
        self.get("/v1/deployments".into(), WRITE).await
    }

    /// `GET /v1/deployments/{id}`; nothing: the one that runs, or ran last.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn deployment(&self, id: Option<&DeploymentId>) -> Result<Record, Failure> {
        self.get(format!("/v1/deployments/{}", named(id)), ANSWER * 2).await
    }

    /// `POST /v1/deployments`. Without an idempotency key it gets a random one, so that it may be repeated.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn deploy(&self, deploy: &Deploy) -> Result<Started, Failure> {
        let mut deploy = deploy.clone();
        deploy.idempotency.get_or_insert_with(nonce);
        self.post("/v1/deployments".into(), &deploy, WRITE).await
    }

    /// `POST /v1/deployments/{id}/words`; nothing: to the one that runs.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn say(&self, id: Option<&DeploymentId>, words: &Words) -> Result<Word, Failure> {
        self.post(format!("/v1/deployments/{}/words", named(id)), words, WRITE).await
    }

    /// `GET /v1/probes`: what the agent's prober saw.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn probes(&self, window: Window) -> Result<Samples, Failure> {
        self.get(format!("/v1/probes?from={}&to={}", window.from.0, window.to.0), PROBED).await
    }

    /// `GET /metrics`.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn metrics(&self) -> Result<String, Failure> {
        let answer = self.call(Call::get("/metrics".into(), ANSWER)).await?;
        String::from_utf8(answer.0.to_vec())
            .map_err(|error| Failure::unread(&self.address, error.to_string()))
    }

    /// `POST /upgrade`: the simplest way to begin a deployment, by the agent's own settings.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn upgrade(&self, version: &Version, strategy: Option<Strategy>) -> Result<Started, Failure> {
        let strategy = strategy.map(|strategy| format!("&strategy={strategy}")).unwrap_or_default();
        // In a query `+` is a blank.
        let version = version.as_str().replace('+', "%2B");
        let target = format!("/upgrade?version={version}{strategy}");
        // It has no idempotency key, so it must not be repeated.
        let call = Call { once: true, ..Call::post(target, Bytes::new(), WRITE) };
        self.read(&self.call(call).await?)
    }

    /// Any call, and its answer as it came.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn raw(&self, method: Method, target: &str, body: String) -> Result<Bytes, Failure> {
        let call = Call { method, target: target.to_owned(), body: body.into(), within: WRITE, once: true };
        self.call(call).await.map(|answer| answer.0)
    }

    pub(crate) async fn greet(&self, term: Term, holder: &InstanceId) -> Result<Ack, Failure> {
        self.post("/v1/peer/greet".into(), &Greeting { term, holder: holder.clone() }, ANSWER).await
    }

    pub(crate) async fn order(&self, order: &Order) -> Result<Ack, Failure> {
        self.post("/v1/peer/order".into(), order, ANSWER).await
    }

    pub(crate) async fn watch(&self, since: u64) -> Result<View, Failure> {
        self.get(format!("/v1/peer/watch?since={since}"), ANSWER).await
    }

    pub(crate) async fn poke(&self) -> Result<(), Failure> {
        self.call(Call::post("/v1/peer/poke".into(), Bytes::new(), ANSWER)).await.map(|_| ())
    }

    async fn get<T: DeserializeOwned>(&self, target: String, within: Duration) -> Result<T, Failure> {
        let answer = self.call(Call::get(target, within)).await?;
        self.read(&answer)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        target: String,
        body: &impl Serialize,
        within: Duration,
    ) -> Result<T, Failure> {
        let body =
            serde_json::to_vec(body).map_err(|error| Failure::unfit(&self.address, error.to_string()))?;
        let answer = self.call(Call::post(target, body.into(), within)).await?;
        self.read(&answer)
    }

    fn read<T: DeserializeOwned>(&self, answer: &Believed) -> Result<T, Failure> {
        serde_json::from_slice(&answer.0).map_err(|error| Failure::unread(&self.address, error.to_string()))
    }
}

fn named(id: Option<&DeploymentId>) -> &str {
    id.map_or("current", DeploymentId::as_str)
}

impl Call {
    pub(super) fn get(target: String, within: Duration) -> Self {
        Self { method: Method::GET, target, body: Bytes::new(), within, once: false }
    }

    fn post(target: String, body: Bytes, within: Duration) -> Self {
        Self { method: Method::POST, target, body, within, once: false }
    }
}
