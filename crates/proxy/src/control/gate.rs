//! One slot's gate, as an instance's engine sees it.

use super::client::Client;
use super::wire::Command;
use everup_core::gate::{Counts, Drain, Drained, Hold, Idle, NotHolding, Upstream};
use everup_core::ids::{HoldId, InstanceId};
use everup_core::seams::{Gate, GateError};
use everup_core::time::Millis;
use serde::de::DeserializeOwned;

/// The gate of one slot behind a control socket; the connection is made anew whenever it broke.
#[derive(Debug, Clone)]
pub struct SlotGate {
    client: Client,
    id: InstanceId,
}

impl SlotGate {
    pub(super) const fn new(client: Client, id: InstanceId) -> Self {
        Self { client, id }
    }

    /// The control client that it uses.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    async fn call<T: DeserializeOwned>(&self, command: Command, within: Millis) -> Result<T, GateError> {
        self.client.call(&command, within).await.map_err(|e| GateError(e.to_string()))
    }

    fn id(&self) -> InstanceId {
        self.id.clone()
    }
}

impl Gate for SlotGate {
    async fn hold(&self, hold: &Hold) -> Result<(), GateError> {
        self.call(Command::Hold { id: self.id(), hold: hold.clone() }, Millis::ZERO).await
    }

    async fn idle(&self, within: Millis) -> Result<Idle, GateError> {
        self.call(Command::Idle { id: self.id(), within }, within).await
    }

    async fn seal(&self, id: Option<&HoldId>) -> Result<Result<(), NotHolding>, GateError> {
        self.call(Command::Seal { id: self.id(), hold: id.cloned() }, Millis::ZERO).await
    }

    async fn drain(&self, drain: &Drain) -> Result<Drained, GateError> {
        self.call(Command::Drain { id: self.id(), drain: *drain }, drain.within + drain.quiet).await
    }

    async fn switch(&self, to: &Upstream) -> Result<(), GateError> {
        self.call(Command::Switch { id: self.id(), to: to.clone() }, Millis::ZERO).await
    }

    async fn release(&self) -> Result<(), GateError> {
        self.call(Command::Release { id: self.id() }, Millis::ZERO).await
    }

    async fn counts(&self) -> Result<Counts, GateError> {
        self.call(Command::Counts { id: self.id() }, Millis::ZERO).await
    }
}
