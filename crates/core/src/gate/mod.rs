//! The gate that stands before one app: what it is told, what it answers, and ([`machine`]) how it behaves.
//!
//! A gate is the instance's own proxy, or its slot in the embedded balancer; both run the same machine, and so
//! does the simulation.

mod balancer;
mod door;
pub mod machine;
mod opening;
mod queue;
#[cfg(test)]
mod tests;

use crate::ids::{Fence, HoldId, StartId};
use crate::time::Millis;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A soft hold: new requests wait while the old app still runs and finishes its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// A renewal carries the same one.
    pub id: HoldId,
    /// Who decided it; a gate refuses a lower one.
    pub fence: Fence,
    /// It lapses, into the running app, when it was not renewed for so long.
    pub lapse: Millis,
    /// What one gate may keep waiting.
    pub limits: HoldLimits,
}

/// What a gate may keep waiting, in any state in which requests wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldLimits {
    /// One request waits at most so long, then gets 503 with Retry-After. Shorter than the balancer's idle limit.
    pub wait: Millis,
    /// So many requests at most; the next gets 503 at once.
    pub requests: u32,
    /// So many bytes of their bodies and headers in memory at most.
    pub bytes: u64,
}

impl Default for HoldLimits {
    /// 25 s suits clients with limits of 30 s, and an ALB's idle limit of 60 s. 4,096 requests need as many
    /// sockets, far below the descriptor limit that the proxy sets for itself.
    fn default() -> Self {
        Self { wait: Millis::from_secs(25), requests: 4_096, bytes: 64 << 20 }
    }
}

/// How to let go of a running app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// What is in flight has so long, then it is ended: WebSockets with 1001, streams with a last chunk, the rest cut.
    pub within: Millis,
    /// The gate shuts when nothing is in flight and nothing arrived for so long: balancers go on sending for a
    /// while after they said that they do not. 0 on the embedded balancer, which is the gate itself.
    pub quiet: Millis,
    /// What may wait once it is shut.
    pub limits: HoldLimits,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// WebSockets and streams that were ended cleanly at the deadline.
    pub ended: u32,
    /// Requests that had to be cut at the deadline.
    pub cut: u32,
}

/// Whether a gate became idle in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Idle {
    /// Nothing is in flight.
    Yes,
    /// So many requests still are.
    No(u32),
}

/// A seal was asked of a gate whose hold had lapsed or never was: the old app may be serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("the gate does not hold any more")]
pub struct NotHolding;

/// Where a gate sends what passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// The app's own address; a gate accepts only addresses of its own machine.
    pub address: SocketAddr,
    /// The start that it belongs to.
    pub start: StartId,
}

/// What a gate is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passing {
    /// Requests pass to the upstream.
    Open,
    /// They pass, connections are being closed after each answer, and it will shut.
    Draining,
    /// Soft hold: new ones wait, the app still runs; lapses by itself.
    Held,
    /// The app may be stopped; new ones wait, until the instance opens it.
    Shut,
    /// As shut, and only an order of the record opens it.
    Sealed,
}

/// What a gate sees now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// What it is doing.
    pub passing: Passing,
    /// The start of the app that it sends to while it passes, if it was ever told one.
    #[serde(default)]
    pub upstream: Option<StartId>,
    /// Requests inside the app.
    pub in_flight: u32,
    /// Of those, the ones inside upstreams before the present one: after a switch, what the old app still does.
    #[serde(default)]
    pub former: u32,
    /// Of those in flight, streams and upgraded connections.
    pub streams: u32,
    /// Requests that wait.
    pub waiting: u32,
}
